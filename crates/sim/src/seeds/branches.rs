//! Snapshots and forks beside everything else: made, deleted and compared while there are faults, with rounds of reclaim.

use super::History;
use crate::lab::{Outcome, VOLUME};

/// The grace of the rounds.
const GRACE_MS: u64 = 20_000;
/// Snapshots and forks that a history makes.
const MADE_MAX: u64 = 24;

impl History {
    /// Nobody waits for what is begun here: it ends when the faults let it, or with its run.
    pub(super) fn branch(&mut self) -> Outcome {
        let owner = self.lab.owner();
        if self.lab.has_stopped(owner) {
            return Ok(());
        }
        let engine = self.lab.engine(owner);
        let number = self.made.len() as u64;
        match self.branches.below(10) {
            0..4 if number < MADE_MAX => {
                drop(self.lab.begin_snapshot(owner, &format!("s{number}")));
                self.made.push(format!("{VOLUME}@s{number}"));
            }
            4 | 5 if number < MADE_MAX => {
                let from_one = !self.made.is_empty() && self.branches.chance(500_000);
                let source =
                    if from_one { self.branches.pick(&self.made).clone() } else { VOLUME.to_owned() };
                let name = format!("f{number}");
                drop(self.lab.begin_fork(owner, &engine, &source, &name));
                self.made.push(name);
            }
            6 if !self.made.is_empty() => {
                let name = self.branches.pick(&self.made).clone();
                drop(self.lab.begin_delete(owner, &engine, &name));
            }
            7 => drop(self.lab.begin_reclaim(owner, GRACE_MS)),
            _ => drop(self.lab.check_kept()?),
        }
        Ok(())
    }
}
