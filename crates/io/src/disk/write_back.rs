//! Starting write-back of a part of a file: the one system call that neither `std` nor `rustix` has.

use std::{fs::File, os::fd::AsRawFd};

/// Queues the range's dirty pages for writing and does not wait. Advice: failures are ignored.
pub(super) fn start(file: &File, offset: u64, bytes: u64) {
    let (Ok(offset), Ok(bytes)) = (i64::try_from(offset), i64::try_from(bytes)) else { return };
    if bytes == 0 {
        // To the system call, zero means "to the end".
        return;
    }
    // SAFETY: the call takes no pointers, and the descriptor is open while `file` is borrowed.
    unsafe { libc::sync_file_range(file.as_raw_fd(), offset, bytes, libc::SYNC_FILE_RANGE_WRITE) };
}
