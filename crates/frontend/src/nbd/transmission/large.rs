//! Writes whose payload is larger than the receive buffer.

use bytes::Bytes;

use super::{End, Transmission};
use crate::{
    Change, Owned, Step,
    nbd::{
        batch::Ticket,
        receive::Receive,
        wire::{Errno, Request},
    },
};

impl Transmission<'_> {
    /// A write that does not fit the receive buffer. Memory is taken as its data arrives, not as its header
    /// claims.
    pub(super) fn large_write(&mut self, request: Request, receive: &mut Receive) -> Result<(), End> {
        let length = request.length as usize;
        let mut data = receive.arrived().to_vec();
        receive.consume(data.len());
        let mut filled = data.len();
        while filled < length {
            if filled == data.len() {
                data.resize(length.min(2 * filled.max(256 << 10)), 0);
            }
            match self.receive(&mut data[filled..])? {
                0 => return Err(self.cut_short()),
                bytes => filled += bytes,
            }
        }
        let ticket = Ticket::of(&request);
        self.wait_out()?;
        let change = Change::Write { offset: request.offset, data: &data };
        let mut steps = Vec::new();
        self.device.change(&[change], &mut steps);
        self.pause(&[change]);
        assert_eq!(steps.len(), 1, "a device must answer every change");
        self.count(&change, ticket, steps[0]);
        match steps[0] {
            Step::Done if ticket.fua => self.flush(&[ticket.cookie])?,
            Step::Done => self.replies.simple(ticket.cookie, Errno::NONE),
            Step::Failed(failure) => self.replies.simple(ticket.cookie, failure.into()),
            Step::Later => {
                let data = Bytes::from(data);
                self.change_later(Owned::Write { offset: request.offset, data }, ticket)?;
            }
        }
        self.send()
    }

    /// Throws a refused write's data away, then answers it.
    pub(super) fn drain(&mut self, request: Request, errno: Errno, receive: &mut Receive) -> Result<(), End> {
        let mut left = request.length as usize - receive.arrived().len();
        receive.consume(receive.arrived().len());
        while left > 0 {
            let room = receive.room();
            let most = left.min(room.len());
            match self.receive(&mut room[..most])? {
                0 => return Err(self.cut_short()),
                bytes => left -= bytes,
            }
        }
        self.refuse(&request, errno);
        self.send()
    }

    /// The stream ended inside a request; what was asked before it is still answered.
    pub(super) fn cut_short(&mut self) -> End {
        match self.finish() {
            Ok(_) => End::Broken("the client left inside a request"),
            Err(end) => end,
        }
    }
}
