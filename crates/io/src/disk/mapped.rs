//! Reading a file through a mapping: no system call and no walk of the page cache for each block.
//!
//! A mapping has one danger: where `read` would fail, a page that cannot be had is a SIGBUS, and the process is gone.
//! Here it is an error of one file:
//!
//! 1. Every mapping has a slot in a table of fixed size that the signal's handler can read without a lock. When
//!    the table is full, a file is not mapped.
//! 2. The handler finds the slot of the address, marks it broken, and puts a page of zeros over the one that cannot
//!    be had; the copy goes on. An address in no slot is none of ours: whoever handled the signal before does.
//! 3. The reader looks at the mark after its copy. Once it is there, the mapping is not read any more, and `pread`
//!    says what is wrong.
//!
//! Nobody writes through a mapping, and none is made of a file that will be made shorter.

use std::{
    ffi::{c_int, c_void},
    fs::File,
    os::fd::AsRawFd,
    ptr::{self, NonNull},
    sync::{
        OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering, fence},
    },
};

/// Files mapped at once; a chunk of a log each, so 128 GiB of them.
const SLOTS: usize = 4096;
/// The smallest page there is. A larger one contains the address all the same, and is met again page by page.
const PAGE_BYTES: usize = 4096;

/// Where a mapping lies.
struct Slot {
    taken: AtomicBool,
    /// The first address; 0 while there is none. Written after `end` and cleared before it.
    start: AtomicUsize,
    end: AtomicUsize,
    /// A page of it could not be had.
    broken: AtomicBool,
}

static TABLE: [Slot; SLOTS] = [const {
    Slot {
        taken: AtomicBool::new(false),
        start: AtomicUsize::new(0),
        end: AtomicUsize::new(0),
        broken: AtomicBool::new(false),
    }
}; SLOTS];

impl Slot {
    fn take() -> Option<&'static Slot> {
        TABLE.iter().find(|slot| !slot.taken.swap(true, Ordering::AcqRel))
    }

    fn holds(&self, address: usize) -> bool {
        let start = self.start.load(Ordering::Acquire);
        let end = self.end.load(Ordering::Acquire);
        // The same start again: the end is of the same mapping.
        start != 0 && (start..end).contains(&address) && self.start.load(Ordering::Acquire) == start
    }
}

/// A file in memory, for reading.
pub(super) struct Mapping {
    start: NonNull<u8>,
    bytes: usize,
    slot: &'static Slot,
}

// SAFETY: the memory is only read, and unmapped by the last owner; the slot is made of atomics.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps the first `bytes` of the file; none where that does not work, and then it is read otherwise.
    pub(super) fn new(file: &File, bytes: u64) -> Option<Mapping> {
        let bytes = usize::try_from(bytes).ok().filter(|bytes| *bytes > 0)?;
        handler_installed()?;
        let slot = Slot::take()?;
        // SAFETY: a fresh mapping at an address of the kernel's choice touches no memory that is in use.
        let at = unsafe {
            libc::mmap(ptr::null_mut(), bytes, libc::PROT_READ, libc::MAP_SHARED, file.as_raw_fd(), 0)
        };
        let start = NonNull::new(at.cast::<u8>()).filter(|_| at != libc::MAP_FAILED);
        let Some(start) = start else {
            slot.taken.store(false, Ordering::Release);
            return None;
        };
        slot.broken.store(false, Ordering::Relaxed);
        slot.end.store(start.as_ptr() as usize + bytes, Ordering::Release);
        slot.start.store(start.as_ptr() as usize, Ordering::Release);
        Some(Mapping { start, bytes, slot })
    }

    /// Copies a part of the file; false when that did not work and `buffer` holds anything.
    pub(super) fn read(&self, buffer: &mut [u8], offset: u64) -> bool {
        let end = usize::try_from(offset).ok().and_then(|offset| offset.checked_add(buffer.len()));
        if end.is_none_or(|end| end > self.bytes) || self.slot.broken.load(Ordering::Relaxed) {
            return false;
        }
        // SAFETY: the range lies in the mapping, which lives as long as `self`, and a page of it that cannot be had
        // is replaced by the handler. `buffer` is ours alone, so the two do not meet. Bytes that the kernel changes
        // meanwhile are torn, as with `pread`, and no reference to them is made.
        unsafe {
            let from = self.start.as_ptr().add(offset as usize);
            ptr::copy_nonoverlapping(from, buffer.as_mut_ptr(), buffer.len());
        }
        // The mark was set before the zeros came: who read zeros sees it.
        fence(Ordering::Acquire);
        !self.slot.broken.load(Ordering::Relaxed)
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        self.slot.start.store(0, Ordering::Release);
        self.slot.end.store(0, Ordering::Release);
        // SAFETY: the mapping is ours, whole, and nobody holds a reference to its memory.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.bytes) };
        self.slot.taken.store(false, Ordering::Release);
    }
}

/// Who handled the signal before us.
static BEFORE: OnceLock<Option<libc::sigaction>> = OnceLock::new();

/// Installs the handler once; none when that failed.
fn handler_installed() -> Option<()> {
    let before = BEFORE.get_or_init(|| {
        // SAFETY: both structures are plain data for which zeros are valid, and live through the calls. The handler
        // is a function of the form that SA_SIGINFO asks for, which does only what a signal's handler may do.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            let handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) = on_bus_error;
            action.sa_sigaction = handler as usize;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
            let mut before: libc::sigaction = std::mem::zeroed();
            (libc::sigaction(libc::SIGBUS, &action, &mut before) == 0).then_some(before)
        }
    });
    before.is_some().then_some(())
}

/// A page could not be had. Runs in the middle of anything: no lock, no allocation, no panic.
extern "C" fn on_bus_error(_signal: c_int, info: *mut libc::siginfo_t, _context: *mut c_void) {
    // SAFETY: the kernel hands over a valid structure, and for SIGBUS the address is the field that is set.
    let address = unsafe { (*info).si_addr() } as usize;
    if let Some(slot) = TABLE.iter().find(|slot| slot.holds(address)) {
        slot.broken.store(true, Ordering::SeqCst);
        let page = (address & !(PAGE_BYTES - 1)) as *mut c_void;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
        // SAFETY: the page lies in a mapping of ours, which the thread that was stopped here keeps alive, and which
        // is read by nothing but copies that allow for any contents.
        let put = unsafe { libc::mmap(page, PAGE_BYTES, libc::PROT_READ, flags, -1, 0) };
        if put != libc::MAP_FAILED {
            return;
        }
    }
    // Not ours, or beyond help: the instruction runs again and meets whoever was there before.
    if let Some(Some(before)) = BEFORE.get() {
        // SAFETY: the structure is the one that the kernel gave when the handler was installed.
        unsafe { libc::sigaction(libc::SIGBUS, before, ptr::null_mut()) };
    }
}
