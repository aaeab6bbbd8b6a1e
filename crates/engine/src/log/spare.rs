//! Log files that are not in use, and how they are made warm before they are needed.
//!
//! A file is *warm* when all its blocks were written once and its pages are in the page cache. What the log's next
//! file costs (ext4, kernel time of a 4 KiB record, written alone or in batches of 32):
//!
//! ```text
//! the file                                   alone      of 32        fdatasync
//! warm                                       2-4 us     0.5-0.7 us   0.06 ms
//! new: its space is reserved                 6 us       1-3 us       0.24 ms, the journal learns of each write
//! cold: used by an earlier run, not cached   57-65 us   2.6-3.2 us   0.06 ms, a write begins and ends inside a page
//! ```
//!
//! So the log goes on in a warm file, else in a new one, and in a cold one only when no new one can be made. What a
//! chunk of this run leaves behind is warm. Making a new file needs syncs, which take a tenth of a second on a busy
//! disk, so a few are made ahead in the background, before any is made warm; and warming is left where it is when a
//! log grows so fast that it has used them all: what it needs then is files. After a crash at any step of the
//! preparation, the next opening is right:
//! 1. A new file gets its space; its size and its name are made durable. Cut off: no file, or one of another size
//!    without a header, which a scan removes; or zeros, which a scan takes for a spare.
//! 2. A file that was found gets what it lacks of its space. Its header is overwritten with zeros and synced, before
//!    anything behind it changes. Cut off: the old header (it lies in one sector) before its old records, or zeros before
//!    them: a spare.
//! 3. Zeros are written slice by slice, each slice synced. Cut off: the header is zeros, so it is a spare, whatever lies
//!    behind.
//! 4. The file is put with the spares, a new one after step 1 already. Only there a rotation finds it.
//!
//! The first chunk of an opening takes no space but its header's until something is written, so that 1,000 idle volumes
//! take no 32 GiB. In numbered steps; after a crash at any of them, the next opening is right:
//! 1. The new file gets the space of its header, then its size, sparse; space, size and name are made durable. Cut off:
//!    as in step 1 above.
//! 2. The header is written and synced. Cut off: zeros, a spare that a scan finds; or a chunk without records.
//! 3. The first append reserves the whole chunk, under the lock, before it numbers or writes anything. On a full disk the
//!    files that are not in use are removed first: they are worth less than a write. If it still fails, so does the
//!    write; what space there was is given back, and the next write tries again. Cut off: a chunk without records, of
//!    the right size, whatever part of it has space.
//! 4. The record is written, and a sync of it makes the reservation durable with it. Lost with the power before: so are
//!    the records behind it; nothing is appended to a chunk of an earlier run.
//!
//! So a file that an opening finds may never have got its space: it is reserved before the file is made warm, or used as
//! it is. No byte is written where none was reserved, unless the file system knows no reservations.
//!
//! Nothing that is needed is overwritten:
//! 1. A file that an opening found is a spare if it kept no record of it: all are covered by the newest head, or lie
//!    behind the end of their epoch or of the log. The opening's own chunk says where that end is, and is durable before
//!    the first file is prepared; heads only come to cover more, and the log is replayed over no others (rule H5).
//! 2. No later scan misses the header: the chunk with the first record that is not covered, and those above it, are in use
//!    with theirs, the log's newest epoch and chunk number among them. Every chunk below is unneeded, seen or not.
//! 3. A log that was set aside is no open log's: nobody prepares files there.
//! 4. The file is on the [`Shelf`] meanwhile, and nowhere else: no rotation finds it among the spares. Work on it holds the
//!    shelf's lock, and who takes it off the shelf owns it alone: the work that has finished; a rotation or first append
//!    on a full disk, which waits for a slice rather than fail; the end of the log, after which the next opening in the same
//!    process may use the file. The sync too is under the lock: on a file in use it would take an error that a FLUSH has to
//!    see (I11).
//! 5. A file that cannot be prepared is removed, so that on a full disk its space is free again, and none is
//!    asked for until a chunk has changed hands. A write fails only when no file can be had in any way.

use std::{io::IoSlice, sync::Arc};

use esker_format::chunk::CHUNK_HEADER_BYTES;
use esker_io::{BoxFuture, File, World, sync::Mutex};

use super::Log;
use crate::Result;

/// Written at once: it makes small folios, in which later small writes cost least (1 MiB makes them cost twice as much).
const PIECE_BYTES: u64 = 128 << 10;
/// Of a chunk in one go: 4 MiB are some milliseconds; other work has its turn in between.
pub(super) const SLICES: u64 = 8;

static ZEROS: [u8; PIECE_BYTES as usize] = [0; PIECE_BYTES as usize];

/// A file that is not in use now.
pub(crate) struct Spare {
    pub(crate) path: String,
    pub(crate) file: Arc<dyn File>,
    pub(super) warmth: Warmth,
}

/// What a file would cost the log's writes, most first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Warmth {
    /// An opening found it.
    Cold,
    /// It was never written, or only with zeros.
    New,
    /// All of it was written and is in the page cache.
    Warm,
}

impl Spare {
    /// One that an opening found.
    pub(super) fn cold(path: String, file: Arc<dyn File>) -> Self {
        Self { path, file, warmth: Warmth::Cold }
    }

    /// Creates a file: the space of its first `reserved` bytes, its size and its name are durable.
    pub(super) fn create(
        world: &World,
        dir: &str,
        number: u64,
        chunk_bytes: u64,
        reserved: u64,
    ) -> Result<Self> {
        let path = format!("{dir}/{number:08}.chunk");
        let file = world.disk.create(&path)?;
        let sized = file.allocate(reserved).and_then(|()| match reserved < chunk_bytes {
            true => file.set_size(chunk_bytes),
            false => Ok(()),
        });
        let made = sized.and_then(|()| file.sync()).and_then(|()| world.disk.sync_dir(dir));
        if let Err(error) = made {
            // A file without its space would only be in the way; the first error is the one that counts.
            let _ = world.disk.remove(&path);
            return Err(error.into());
        }
        Ok(Self { path, file, warmth: Warmth::New })
    }
}

/// Where the one file lies that is being prepared.
#[derive(Default)]
pub(super) struct Shelf(Mutex<Place>);

#[derive(Default)]
enum Place {
    #[default]
    Empty,
    Taken(Spare),
    /// The log has ended: nothing is prepared any more.
    Closed,
}

impl Shelf {
    /// Puts what `make` makes on the shelf; false when the log has ended.
    pub(super) fn put(&self, make: impl FnOnce() -> Result<Spare>) -> Result<bool> {
        let mut place = self.0.lock();
        assert!(!matches!(*place, Place::Taken(_)), "one file is prepared at a time");
        if matches!(*place, Place::Closed) {
            return Ok(false);
        }
        *place = Place::Taken(make()?);
        Ok(true)
    }

    /// Takes the file, if it is still there.
    pub(super) fn take(&self) -> Option<Spare> {
        let mut place = self.0.lock();
        match std::mem::take(&mut *place) {
            Place::Taken(spare) => Some(spare),
            Place::Closed => {
                *place = Place::Closed;
                None
            }
            Place::Empty => None,
        }
    }

    /// The path of the file, while it is there.
    #[cfg(test)]
    pub(super) fn path(&self) -> Option<String> {
        match &*self.0.lock() {
            Place::Taken(spare) => Some(spare.path.clone()),
            Place::Empty | Place::Closed => None,
        }
    }

    /// From here on no file is touched by whoever prepares one.
    pub(super) fn close(&self) {
        *self.0.lock() = Place::Closed;
    }

    /// Works on the file; false when it is not there any more. One on which the work fails is removed.
    fn work_on(&self, world: &World, work: impl FnOnce(&dyn File) -> Result<()>) -> Result<bool> {
        let mut place = self.0.lock();
        let Place::Taken(spare) = &*place else {
            return Ok(false);
        };
        if let Err(error) = work(&*spare.file) {
            let _ = world.disk.remove(&spare.path);
            *place = Place::Empty;
            return Err(error);
        }
        Ok(true)
    }
}

/// A file that is to be made, or to be made warm.
pub(crate) struct FileRequest {
    pub(super) shelf: Arc<Shelf>,
    pub(super) dir: String,
    pub(super) chunk_bytes: u64,
    pub(super) next: Next,
}

/// What is to be done next.
#[derive(Clone, Copy)]
pub(super) enum Next {
    /// A new file of this number.
    Create(u64),
    /// Reserve the space of the file on the shelf, and make its header unreadable.
    Header,
    /// Zeros from this offset on.
    Zeros(u64),
}

/// How far a preparation is.
pub(super) enum Progress {
    More(FileRequest),
    /// Without a file when somebody else has it now.
    Done(Result<Option<Spare>>),
}

impl FileRequest {
    /// Does the next slice.
    pub(super) fn go_on(mut self, world: &World) -> Progress {
        let more = match self.next {
            Next::Create(number) => {
                let make = || Spare::create(world, &self.dir, number, self.chunk_bytes, self.chunk_bytes);
                return Progress::Done(self.shelf.put(make).map(|_| self.shelf.take()));
            }
            Next::Zeros(at) if at >= self.chunk_bytes => {
                let warm = |spare| Spare { warmth: Warmth::Warm, ..spare };
                return Progress::Done(Ok(self.shelf.take().map(warm)));
            }
            Next::Header | Next::Zeros(_) => self.slice(world),
        };
        match more {
            Ok(true) => Progress::More(self),
            Ok(false) => Progress::Done(Ok(None)),
            Err(error) => Progress::Done(Err(error)),
        }
    }

    /// Leaves the file as it is.
    pub(super) fn stop(self) -> Option<Spare> {
        self.shelf.take()
    }

    fn slice(&mut self, world: &World) -> Result<bool> {
        let (from, to) = match self.next {
            Next::Create(_) => unreachable!("a file is made in one go"),
            Next::Header => (0, CHUNK_HEADER_BYTES as u64),
            Next::Zeros(at) => (at, (at + self.chunk_bytes.div_ceil(SLICES)).min(self.chunk_bytes)),
        };
        let found = matches!(self.next, Next::Header);
        self.next = Next::Zeros(if found { 0 } else { to });
        self.shelf.work_on(world, |file| {
            if found {
                file.allocate(self.chunk_bytes)?;
            }
            let mut at = from;
            while at < to {
                let bytes = PIECE_BYTES.min(to - at);
                file.write_at(&[IoSlice::new(&ZEROS[..bytes as usize])], at)?;
                at += bytes;
            }
            Ok(file.sync()?)
        })
    }
}

impl Log {
    /// Begins to prepare a file, if one is wanted. Background work: it yields the processor after each slice.
    pub(crate) fn prepare_file(self: &Arc<Self>) -> Option<BoxFuture<'static, Result<()>>> {
        let mut request = self.wants_file()?;
        let log = self.clone();
        Some(Box::pin(async move {
            let made = loop {
                let world = log.world.clone();
                let job = move || request.go_on(&world);
                match esker_io::run(&*log.world.cpu, job).await {
                    Progress::More(rest) if log.appender.lock().lacks_file() => break Ok(rest.stop()),
                    Progress::More(rest) => request = rest,
                    Progress::Done(made) => break made,
                }
            };
            let (spare, outcome) = match made {
                Ok(spare) => (spare, Ok(())),
                Err(error) => (None, Err(error)),
            };
            log.appender.lock().file_prepared(spare);
            outcome
        }))
    }

    pub(super) fn wants_file(&self) -> Option<FileRequest> {
        if self.is_quiet() {
            return None;
        }
        self.appender.lock().wants_file()
    }

    /// So little was written that there may never be a second chunk.
    fn is_quiet(&self) -> bool {
        let released = self.released.load(std::sync::atomic::Ordering::Acquire);
        let end = self.end_position();
        released / self.chunk_bytes == end / self.chunk_bytes && end % self.chunk_bytes < self.chunk_bytes / 4
    }

    /// The position at which a file may come to be wanted that is not wanted now.
    pub(crate) fn file_wanted_at(&self) -> u64 {
        let end = self.end_position();
        let further = if self.is_quiet() { self.chunk_bytes / 4 } else { self.chunk_bytes };
        end - end % self.chunk_bytes + further
    }
}
