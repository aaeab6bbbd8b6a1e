//! What a BLOCK_STATUS request is answered with: for each context that was selected, neighbouring extents of one state
//! as one.

use std::sync::Arc;

use super::{
    context::Contexts,
    limits::{EXTENT_STEP_BYTES, EXTENTS_MAX},
    wire::{self, Request, command_flag},
};
use crate::{Device, Extent, ExtentState, Failure, Step};

/// What is told in each context: its number, and (bytes, flags) of each extent.
pub(crate) type Told = Vec<(u32, Vec<(u32, u32)>)>;

/// A request where comparisons were selected: whoever answers it may have to wait for each.
pub(crate) struct Question {
    pub(crate) contexts: Contexts,
    pub(crate) request: Request,
    pub(crate) status: Status,
}

impl Question {
    pub(crate) async fn ask(self, device: Arc<dyn Device>) -> Result<Told, Failure> {
        let (offset, length) = (self.request.offset, u64::from(self.request.length));
        let most = self.status.extents_max;
        let mut told = Told::new();
        if self.contexts.allocation {
            told.extend(self.status.ask_later(device).await?.told());
        }
        for (context, since) in self.contexts.since {
            let found = since.changed(offset, length, most).await?;
            let covered: u64 = found.iter().map(|(bytes, _)| bytes).sum();
            if found.is_empty() || found.len() > most || covered > length {
                return Err(Failure::Io);
            }
            let flags = |changed| if changed { wire::state::DIRTY } else { 0 };
            let extents = found.into_iter().map(|(bytes, changed)| (bytes as u32, flags(changed)));
            told.push((context, extents.collect()));
        }
        Ok(told)
    }
}

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

    /// What is known so far, as the only thing that is told.
    pub(crate) fn told(self) -> Told {
        vec![(wire::ALLOCATION_ID, self.extents)]
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
