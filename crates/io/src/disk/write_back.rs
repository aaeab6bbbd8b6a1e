//! Write-back of a part of a file: the one system call that neither `std` nor `rustix` has.

use std::{
    fs::File,
    io::{self, ErrorKind},
    os::fd::AsRawFd,
};

/// Queues the range's dirty pages for writing and does not wait. Advice: failures are ignored.
pub(crate) fn start(file: &File, offset: u64, bytes: u64) {
    let _ = call(file, offset, bytes, libc::SYNC_FILE_RANGE_WRITE);
}

/// Writes the range's dirty pages and waits for that. It makes nothing durable.
///
/// # Errors
/// When pages could not be written. The system says that once: a sync of this file that follows may succeed.
pub(crate) fn finish(file: &File, offset: u64, bytes: u64) -> io::Result<()> {
    let wait = libc::SYNC_FILE_RANGE_WAIT_BEFORE | libc::SYNC_FILE_RANGE_WAIT_AFTER;
    match call(file, offset, bytes, wait | libc::SYNC_FILE_RANGE_WRITE) {
        // Nothing was asked of the file, so nothing was hidden from a later sync.
        Err(error) if error.kind() == ErrorKind::Unsupported => Ok(()),
        outcome => outcome,
    }
}

fn call(file: &File, offset: u64, bytes: u64, flags: libc::c_uint) -> io::Result<()> {
    let (Ok(offset), Ok(bytes)) = (i64::try_from(offset), i64::try_from(bytes)) else { return Ok(()) };
    if bytes == 0 {
        // To the system call, zero means "to the end".
        return Ok(());
    }
    // SAFETY: the call takes no pointers, and the descriptor is open while `file` is borrowed.
    match unsafe { libc::sync_file_range(file.as_raw_fd(), offset, bytes, flags) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
