//! How a round is asked for, and what it says it did.

use std::time::Duration;

use esker_format::Dead;

use super::plan::Planned;
use crate::core::victims::Limits;

/// How a round is made.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// How long an object has to be dead.
    pub grace: Duration,
    /// Delete however much it is.
    pub force: bool,
    /// Look only.
    pub dry_run: bool,
    /// Leave guests the store and the processors.
    pub gently: bool,
    /// When it rewrites, and how much.
    pub limits: Limits,
}

/// Objects of a kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Class {
    /// How many.
    pub objects: u64,
    /// Their size.
    pub bytes: u64,
}

impl Class {
    pub(crate) fn add(&mut self, bytes: u64) {
        self.objects += 1;
        self.bytes += bytes;
    }

    /// Those of dead objects.
    pub fn of<'a>(dead: impl IntoIterator<Item = &'a Dead>) -> Class {
        let mut class = Class::default();
        dead.into_iter().for_each(|dead| class.add(dead.bytes));
        class
    }
}

/// What a round found and did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Volumes that are not deleted.
    pub volumes: u64,
    /// Heads and readers that were marked from.
    pub roots: u64,
    /// Pages that were read.
    pub pages: u64,
    /// Segments and packs that a root reaches.
    pub live: Class,
    /// Uploaded, and not committed yet.
    pub in_flight: Class,
    /// Dead, and not for the grace yet.
    pub waiting: Class,
    /// How long until the next of them is due.
    pub next_due: Option<Duration>,
    /// Dead for the grace, and still there.
    pub due: Class,
    /// Deleted.
    pub deleted: Class,
    /// Heads that were deleted: of deleted volumes, and of released ones those that are older than the history.
    pub heads_deleted: u64,
    /// How long until a head of a released volume is older than that.
    pub next_expiry: Option<Duration>,
    /// Forks and snapshots that were never finished, and never will be.
    pub buried: u64,
    /// What is to be done about segments that are partly dead.
    pub planned: Planned,
    /// Segments that were rewritten, and what they take now.
    pub rewritten: Class,
    /// Blocks of almost empty segments that their volumes wrote anew.
    pub resealed: u64,
}
