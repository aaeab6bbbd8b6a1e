//! What one receive brought, sorted for the device.

use esker_io::emptied;

use super::{
    limits::{PAYLOAD_BYTES_ABSURD, RECEIVE_BYTES},
    request::Facts,
    wire::{Errno, REQUEST_BYTES, Request, command, command_flag},
};
use crate::Change;

/// Who gets the reply to a change.
#[derive(Clone, Copy)]
pub(crate) struct Ticket {
    pub(crate) cookie: u64,
    pub(crate) fua: bool,
}

impl Ticket {
    pub(crate) fn of(request: &Request) -> Ticket {
        Ticket { cookie: request.cookie, fua: request.has(command_flag::FUA) }
    }
}

/// All requests that one receive brought.
#[derive(Default)]
pub(crate) struct Batch<'a> {
    pub(crate) changes: Vec<Change<'a>>,
    /// One for each change.
    pub(crate) tickets: Vec<Ticket>,
    /// Reads and what else changes nothing.
    pub(crate) others: Vec<Request>,
    /// Requests to be answered after the flush.
    pub(crate) flushes: Vec<u64>,
    pub(crate) refused: Vec<(Request, Errno)>,
}

/// What stands in the receive buffer after a batch.
pub(crate) enum Next {
    /// Nothing, or the beginning of a request that fits the buffer.
    More,
    /// The beginning of a write's data that does not.
    Large(Request),
    /// The beginning of a refused write's data.
    Drain {
        request: Request,
        errno: Errno,
    },
    Disconnect,
    Broken(&'static str),
}

impl<'a> Batch<'a> {
    /// The same room without contents, for another receive.
    pub(crate) fn emptied<'b>(mut self) -> Batch<'b> {
        self.tickets.clear();
        self.others.clear();
        self.flushes.clear();
        self.refused.clear();
        Batch {
            changes: emptied(self.changes),
            tickets: self.tickets,
            others: self.others,
            flushes: self.flushes,
            refused: self.refused,
        }
    }

    pub(crate) fn parse(&mut self, input: &'a [u8], facts: &Facts) -> (usize, Next) {
        let mut used = 0;
        loop {
            let rest = &input[used..];
            let Some((header, data)) = rest.split_first_chunk::<REQUEST_BYTES>() else {
                return (used, Next::More);
            };
            let Some(request) = Request::parse(header) else {
                return (used, Next::Broken("a request has a wrong magic number"));
            };
            match request.command {
                command::DISCONNECT => return (used, Next::Disconnect),
                command::WRITE => match self.write(request, data, facts) {
                    Ok(bytes) => used += REQUEST_BYTES + bytes,
                    Err(Next::More) => return (used, Next::More),
                    Err(next) => return (used + REQUEST_BYTES, next),
                },
                _ => {
                    used += REQUEST_BYTES;
                    self.push(request, facts);
                }
            }
        }
    }

    /// A write whose data is here, or what to do about it. Says how many bytes of data were used up.
    fn write(&mut self, request: Request, data: &'a [u8], facts: &Facts) -> Result<usize, Next> {
        let length = request.length as usize;
        if request.length > PAYLOAD_BYTES_ABSURD {
            return Err(Next::Broken("a write claims more than 256 MiB"));
        }
        if let Err(errno) = facts.check(&request) {
            if data.len() < length {
                return Err(Next::Drain { request, errno });
            }
            self.refused.push((request, errno));
            return Ok(length);
        }
        match data.get(..length) {
            Some([]) => self.unchanged(&request),
            Some(data) => self.change(&request, Change::Write { offset: request.offset, data }),
            None if REQUEST_BYTES + length > RECEIVE_BYTES => return Err(Next::Large(request)),
            None => return Err(Next::More),
        }
        Ok(length)
    }

    fn push(&mut self, request: Request, facts: &Facts) {
        if let Err(errno) = facts.check(&request) {
            return self.refused.push((request, errno));
        }
        let (offset, length) = (request.offset, u64::from(request.length));
        match request.command {
            command::FLUSH => self.flushes.push(request.cookie),
            command::TRIM | command::WRITE_ZEROES if length == 0 => self.unchanged(&request),
            command::TRIM => self.change(&request, Change::Trim { offset, length }),
            command::WRITE_ZEROES => {
                // Zeros are one record however long they are, so FAST_ZERO is never refused.
                let may_trim = !request.has(command_flag::NO_HOLE);
                self.change(&request, Change::Zero { offset, length, may_trim });
            }
            _ => self.others.push(request),
        }
    }

    fn change(&mut self, request: &Request, change: Change<'a>) {
        self.changes.push(change);
        self.tickets.push(Ticket::of(request));
    }

    /// A change of nothing succeeds.
    fn unchanged(&mut self, request: &Request) {
        self.refused.push((*request, Errno::NONE));
    }
}
