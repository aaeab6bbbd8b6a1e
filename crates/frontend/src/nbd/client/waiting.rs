//! A request that is out, and what of its reply has come.

use super::{
    super::wire::{self, command, state},
    Answer, ClientError, broken,
};
use crate::{Extent, ExtentState};

/// A request that is out.
pub(super) struct Waiting {
    pub(super) offset: u64,
    pub(super) length: u32,
    pub(super) command: u16,
    pub(super) what: &'static str,
    /// Room for what is read.
    pub(super) data: Vec<u8>,
    pub(super) filled: usize,
    pub(super) extents: Vec<Extent>,
    pub(super) errno: u32,
    pub(super) done: bool,
}

impl Waiting {
    /// Takes the extents of a status.
    pub(super) fn learn(&mut self, payload: &[u8]) -> Result<(), ClientError> {
        let mut left = u64::from(self.length);
        for extent in payload.chunks_exact(8) {
            let (length, flags) = (u64::from(wire::u32_at(extent, 0)), wire::u32_at(extent, 4));
            if length == 0 || left == 0 {
                return Err(broken("extents inside the range", format!("one of {length} bytes")));
            }
            let state = match (flags & state::HOLE != 0, flags & state::ZERO != 0) {
                (true, true) => ExtentState::Hole,
                (false, true) => ExtentState::Zero,
                _ => ExtentState::Data,
            };
            // The last one may reach beyond what was asked for.
            let length = length.min(left);
            left -= length;
            self.extents.push(Extent { length, state });
        }
        Ok(())
    }

    pub(super) fn answer(self) -> Result<Answer, ClientError> {
        let Waiting { offset, length, what, .. } = self;
        if self.errno != 0 {
            let errno = i32::try_from(self.errno).unwrap_or(i32::MAX);
            return Err(ClientError::Failed { what, offset, length, errno });
        }
        match self.command {
            command::READ if self.filled != self.data.len() => {
                let found = format!("{} of {length} bytes", self.filled);
                Err(broken("all that was asked for", found))
            }
            command::READ => Ok(Answer::Data(offset, self.data)),
            command::BLOCK_STATUS if self.extents.is_empty() => Err(broken("extents", "none")),
            command::BLOCK_STATUS => Ok(Answer::Extents(offset, self.extents)),
            _ => Ok(Answer::Done),
        }
    }
}
