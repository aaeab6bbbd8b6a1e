//! Waiting for tasks, and sending what they came to.

use std::{
    io,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use super::{End, Transmission};
use crate::{
    Failure,
    nbd::{later::Finished, limits::REPLY_BYTES_FULL, replies::ReadPiece, socket},
};

impl Transmission<'_> {
    /// Waits until a task that holds so many bytes may start.
    pub(super) fn make_room(&mut self, bytes: usize) -> Result<(), End> {
        while !self.later.has_room(bytes) {
            self.send()?;
            self.wait_for_one(None)?;
        }
        Ok(())
    }

    /// The client sends nothing more: what is out is still answered, within the patience.
    pub(super) fn finish(&mut self) -> Result<End, End> {
        let deadline = Instant::now() + self.patience;
        while !self.later.is_empty() {
            self.wait_for_one(Some(deadline))?;
        }
        Ok(End::Left)
    }

    /// Waits until at least one task has finished and its reply was sent.
    pub(super) fn wait_for_one(&mut self, deadline: Option<Instant>) -> Result<(), End> {
        loop {
            // The socket is not waited for: half of it may be closed, and then it is always ready.
            if socket::wait_for_bell(self.later.bell(), Duration::from_millis(200))? {
                return self.send_finished();
            }
            let late = deadline.is_some_and(|deadline| Instant::now() >= deadline);
            if late || self.orders.abandon.load(Ordering::Acquire) {
                return Err(End::Lost(io::ErrorKind::ConnectionAborted.into()));
            }
        }
    }

    pub(super) fn send_finished(&mut self) -> Result<(), End> {
        let now = Instant::now();
        for (asked, finished) in self.later.collect() {
            if let Some((timed, came)) = asked {
                self.meter.took(timed, now - came, 1);
            }
            match finished {
                Finished::Status { cookie, result } => self.replies.simple(cookie, result.into()),
                Finished::Extents { cookie, result: Ok(told) } => {
                    for (at, (context, extents)) in told.iter().enumerate() {
                        self.replies.status(cookie, *context, at + 1 == told.len(), extents);
                    }
                }
                Finished::Extents { cookie, result: Err(failure) } => {
                    self.replies.failed_read(cookie, failure.into(), self.structured);
                }
                Finished::Read { cookie, offset, result } => self.read_finished(cookie, offset, result)?,
            }
        }
        self.send()
    }

    pub(super) fn read_finished(
        &mut self,
        cookie: u64,
        offset: u64,
        result: Result<Vec<u8>, Failure>,
    ) -> Result<(), End> {
        let structured = self.structured;
        match result {
            Err(failure) => self.replies.failed_read(cookie, failure.into(), structured),
            Ok(data) => {
                let piece = ReadPiece { cookie, offset, length: data.len(), structured, last: true };
                if self.replies.len() + data.len() > REPLY_BYTES_FULL {
                    self.replies.read_head(piece);
                    self.send()?;
                    self.socket.send_all(&data)?;
                } else {
                    self.replies.read(piece).copy_from_slice(&data);
                }
            }
        }
        Ok(())
    }
}
