//! A batch's changes, and the pauses between batches that fill the device faster than it empties.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use super::{End, Transmission};
use crate::{
    Change, Owned, Step,
    nbd::{
        batch::Ticket,
        limits::BATCH_CHANGES_MAX,
        socket,
        traffic::{Kind, Timed},
        wire::Errno,
    },
};

/// A shorter pause is left to add up: sleeping is not that exact.
const PAUSE_MIN: Duration = Duration::from_micros(200);

impl Transmission<'_> {
    pub(super) fn changes(
        &mut self,
        changes: &[Change<'_>],
        tickets: &[Ticket],
        flushes: &mut Vec<u64>,
    ) -> Result<(), End> {
        for (changes, tickets) in changes.chunks(BATCH_CHANGES_MAX).zip(tickets.chunks(BATCH_CHANGES_MAX)) {
            let mut steps = std::mem::take(&mut self.steps);
            steps.clear();
            self.device.change(changes, &mut steps);
            assert_eq!(steps.len(), changes.len(), "a device must answer every change");
            for ((change, ticket), step) in changes.iter().zip(tickets).zip(&steps) {
                self.count(change, *ticket, *step);
                match step {
                    Step::Done if ticket.fua => flushes.push(ticket.cookie),
                    Step::Done => self.replies.simple(ticket.cookie, Errno::NONE),
                    Step::Failed(failure) => self.replies.simple(ticket.cookie, (*failure).into()),
                    Step::Later => self.change_later(change.to_owned(), *ticket)?,
                }
            }
            self.steps = steps;
            self.send()?;
        }
        Ok(())
    }

    /// A change with FUA that was made is timed with the flush.
    pub(super) fn count(&mut self, change: &Change<'_>, ticket: Ticket, step: Step) {
        let (kind, bytes) = match change {
            Change::Write { data, .. } => (Kind::Write, data.len() as u64),
            Change::Trim { length, .. } => (Kind::Trim, *length),
            Change::Zero { length, .. } => (Kind::Zero, *length),
        };
        self.tally.request(kind, bytes);
        let now = match step {
            Step::Done => !ticket.fua,
            Step::Failed(_) => true,
            Step::Later => false,
        };
        if now {
            self.tally.answered(Timed::Write, 1);
        }
    }

    pub(super) fn change_later(&mut self, change: Owned, ticket: Ticket) -> Result<(), End> {
        self.make_room(change.data_bytes())?;
        let came = self.tally.came;
        self.later.change(self.device.clone(), ticket.cookie, change, ticket.fua, came);
        Ok(())
    }

    /// Whether changes need not wait now.
    pub(super) fn may_change(&self) -> bool {
        self.resume.is_none_or(|resume| Instant::now() >= resume)
    }

    /// Waits until changes may be made again; replies of tasks that finish meanwhile are sent.
    pub(super) fn wait_out(&mut self) -> Result<(), End> {
        while let Some(resume) = self.resume {
            let left = resume.saturating_duration_since(Instant::now());
            if left.is_zero() || self.orders.abandon.load(Ordering::Acquire) {
                break;
            }
            if socket::wait_for_bell(self.later.bell(), left)? {
                self.send_finished()?;
            }
        }
        Ok(())
    }

    /// Learns from the device when the next changes may be made.
    pub(super) fn pause(&mut self, changes: &[Change<'_>]) {
        if changes.is_empty() {
            return;
        }
        let bytes = changes.iter().map(change_bytes).sum();
        let pause = self.device.pause_after(bytes);
        self.resume = (pause >= PAUSE_MIN).then(|| Instant::now() + pause);
    }
}

/// What a change adds to what the device has to empty: one without data adds a little.
fn change_bytes(change: &Change<'_>) -> u64 {
    match change {
        Change::Write { data, .. } => data.len() as u64,
        Change::Trim { .. } | Change::Zero { .. } => 4096,
    }
}
