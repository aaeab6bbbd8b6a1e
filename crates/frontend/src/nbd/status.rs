//! What a BLOCK_STATUS request is answered with: neighbouring extents of one state as one.

use std::sync::Arc;

use super::{
    limits::{EXTENT_STEP_BYTES, EXTENTS_MAX},
    wire::{self, Request, command_flag},
};
use crate::{Device, Extent, ExtentState, Failure, Step};

/// An answer in the making.
pub(crate) struct Status {
    /// Up to here it is known.
    offset: u64,
    end: u64,
    extents_max: usize,
    /// (bytes, flags) of each extent.
    extents: Vec<(u32, u32)>,
}

impl Status {
    pub(crate) fn of(request: &Request) -> Status {
        let extents_max = if request.has(command_flag::REQ_ONE) { 1 } else { EXTENTS_MAX };
        let (offset, end) = (request.offset, request.offset + u64::from(request.length));
        Status { offset, end, extents_max, extents: Vec::new() }
    }

    /// What is known so far.
    pub(crate) fn extents(&self) -> &[(u32, u32)] {
        &self.extents
    }

    /// Asks the device for what it knows without waiting; `room` is only for its answers.
    pub(crate) fn ask(&mut self, device: &dyn Device, room: &mut Vec<Extent>) -> Step {
        while self.offset < self.end {
            room.clear();
            match device.extents(self.offset, self.step_bytes(), room) {
                Step::Done => {
                    if let Err(failure) = self.add(room) {
                        return Step::Failed(failure);
                    }
                }
                other => return other,
            }
        }
        Step::Done
    }

    /// Asks the device for all of the rest.
    pub(crate) async fn ask_later(mut self, device: Arc<dyn Device>) -> Result<Status, Failure> {
        while self.offset < self.end {
            let found = device.clone().extents_later(self.offset, self.step_bytes()).await?;
            self.add(&found)?;
        }
        Ok(self)
    }

    fn step_bytes(&self) -> u64 {
        EXTENT_STEP_BYTES.min(self.end - self.offset)
    }

    /// Takes the extents of one step; an answer that is full is complete.
    fn add(&mut self, found: &[Extent]) -> Result<(), Failure> {
        let covered: u64 = found.iter().map(|extent| extent.length).sum();
        if covered != self.step_bytes() {
            // It has shrunk since the request was checked.
            return Err(Failure::Invalid);
        }
        for extent in found {
            let flags = match extent.state {
                ExtentState::Data => 0,
                ExtentState::Hole => wire::state::HOLE | wire::state::ZERO,
                ExtentState::Zero => wire::state::ZERO,
            };
            let full = self.extents.len() == self.extents_max;
            match self.extents.last_mut() {
                Some(last) if last.1 == flags => last.0 += extent.length as u32,
                _ if full => {
                    self.end = self.offset;
                    return Ok(());
                }
                _ => self.extents.push((extent.length as u32, flags)),
            }
        }
        self.offset += covered;
        Ok(())
    }
}
