//! Bugs that a simulation plants on purpose, to see its checks catch them.
//!
//! Without the feature `planted` the question is answered by a constant and the branches behind it vanish.

/// A rule that can be broken on purpose. The name says the rule of `docs/protocols.md`, or the habit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Bug {
    /// H1: a claim and the head before it are deleted like any other head.
    ClaimDeleted = 1,
    /// H2: no LIST after the claim.
    ClaimNotListed,
    /// H3: the highest head is believed, whether it chains or not.
    StrayBelieved,
    /// H4: an unclear PUT is taken for done.
    UnclearIsDone,
    /// H5: any local log is replayed.
    AnyLogReplayed,
    /// W1: a record is written after its successor was acknowledged.
    HoleBelowAck,
    /// W2: an older epoch is read past the point where the next one began.
    EpochReadOn,
    /// W3: every gap is a torn tail.
    GapIsTorn,
    /// W4: entries are published in any order.
    PublishedBlindly,
    /// W5: a part of a block is written over whatever came since its base was read.
    BaseNotChecked,
    /// W4: a page that comes late is believed whatever has changed since.
    FilledBlindly,
    /// W6: a seal leaves out what a later, unsealed write has overwritten.
    OverwrittenNotSealed,
    /// W9: a log chunk is used again before its blocks were applied.
    ReleasedEarly,
    /// Writes beyond the old size are accepted before a head says the new one.
    GrownEarly,
    /// FLUSH does not sync.
    SyncSkipped,
    /// A write is acknowledged before it is in the log.
    AckBeforeLog,
    /// Checksums are not compared.
    CrcIgnored,
    /// Replay is one block off.
    OffByOne,
    /// What the disk cache reads is believed: neither its checksum nor the frame's tag is compared.
    CacheUnchecked,
    /// Nor is the pool that a file of the disk cache belongs to.
    CachePoolIgnored,
    /// The disk cache lists entries before it has written them.
    CacheListedEarly,
}

#[cfg(feature = "planted")]
mod switch {
    use std::sync::atomic::{AtomicU8, Ordering};

    use super::Bug;

    /// The bug of this process; a simulation plants one at a time.
    static PLANTED: AtomicU8 = AtomicU8::new(0);

    /// Plants one bug in this process, or none.
    pub fn plant(bug: Option<Bug>) {
        PLANTED.store(bug.map_or(0, |bug| bug as u8), Ordering::Relaxed);
    }

    /// Whether this bug was planted.
    pub fn planted(bug: Bug) -> bool {
        PLANTED.load(Ordering::Relaxed) == bug as u8
    }
}

#[cfg(feature = "planted")]
pub use switch::{plant, planted};

/// Whether this bug was planted: never.
#[cfg(not(feature = "planted"))]
#[inline(always)]
pub const fn planted(_: Bug) -> bool {
    false
}
