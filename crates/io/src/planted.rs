//! Bugs that a simulation plants on purpose, to see its checks catch them.
//!
//! Without the feature `planted` the question is answered by a constant and the branches behind it vanish.

macro_rules! bugs {
    ($($(#[$about:meta])* $bug:ident,)*) => {
        /// A rule that can be broken on purpose. The name says the rule of `docs/protocols.md`, or the habit.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Bug {
            $($(#[$about])* $bug,)*
        }

        impl Bug {
            /// All of them.
            pub const ALL: &'static [Bug] = &[$(Bug::$bug,)*];
        }
    };
}

bugs! {
    /// H1: a claim and the head before it are deleted like any other head.
    ClaimDeleted,
    /// H2: no LIST after the claim.
    ClaimNotListed,
    /// H3: the highest head is believed, whether it chains or not.
    StrayBelieved,
    /// H4: an unclear PUT is taken for done.
    UnclearIsDone,
    /// H5: any local log is replayed.
    AnyLogReplayed,
    /// H5: a rewind names the log that the state of before was made from.
    OldLogRewound,
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
    /// A leaf is let go of before a root holds its changes.
    EvictedEarly,
    /// A leaf is let go of while it names the log.
    EvictedInLog,
    /// A leaf is let go of while somebody waits for its page, and the page of an older root is believed.
    FilledFromOlder,
    /// W6: a seal leaves out what a later, unsealed write has overwritten.
    OverwrittenNotSealed,
    /// W9: a log chunk is used again before its blocks were applied.
    ReleasedEarly,
    /// W7: the pieces of a tail are laid over each other in the wrong order.
    PiecesOutOfOrder,
    /// W6: a segment in the place of pieces leaves out what the local log has overwritten.
    PiecesUnderLog,
    /// H7: heads are deleted though the newest one names their pieces.
    PiecesDeleted,
    /// Properties that were set hold in memory only.
    SetNotCommitted,
    /// Properties that were set are committed, and the volume goes on as before.
    SetNotNoticed,
    /// A durability that was set is answered before the store has what it promises.
    SetBeforeStored,
    /// The property `history` is ignored: no head is too old.
    HistoryIgnored,
    /// A head is as old as the time since it was written, the newest too.
    NewestExpired,
    /// H8: a tail may name any number of pieces.
    TailUnbounded,
    /// W11: writes go on however far the store is behind.
    StallIgnored,
    /// A volume is claimed before the local disk has given what its log needs.
    ClaimedWithoutRoom,
    /// A FLUSH of a `sync` volume waits for no store.
    FlushNotStored,
    /// Writes beyond the old size are accepted before a head says the new one.
    GrownEarly,
    /// Reclaim deletes what it finds dead at once.
    GraceIgnored,
    /// R2: what is uploaded and not committed yet counts as dead.
    InFlightNotCounted,
    /// R7: no LIST after the mark.
    MarkNotListed,
    /// R13: a root that cannot be read is passed over.
    UnreadablePassed,
    /// R6: nobody looks whether what was pinned is still there.
    LookSkipped,
    /// R6: an unborn head is no root.
    UnbornNotRoot,
    /// R6: reclaim stops at an unborn head that it cannot read.
    UnbornNotBuried,
    /// H7: a fork leaves out what its source holds in pieces.
    PiecesForgotten,
    /// W6: the log is cut across the point of a snapshot.
    PointNotCut,
    /// W12: the points of a group are taken one after the other, and guests write meanwhile.
    GroupNotHeld,
    /// W12: members of a group are born before its record is made.
    MemberBornAlone,
    /// W12: a member of a group is buried without the others.
    MemberBuriedAlone,
    /// R5: a slot that two roots reach counts as dead.
    SharedSlotDead,
    /// What a tail names and no page does counts as dead.
    TailNotCounted,
    /// W7: of a tail the oldest segment is taken for the newest, where it is counted.
    TailBackwards,
    /// What a head shows is taken for what all heads of the same root show, whatever their tails say.
    TailIgnoredInMemo,
    /// G2: a bundle that no record names is deleted though a record that names it may be on its way.
    LateRewrite,
    /// G2: a number of the segment table that somebody else took is taken for one's own.
    TableOverruled,
    /// G3: a missing object is an error at once.
    TableNotRefreshed,
    /// A rewrite leaves out a slot that lives.
    RewriteDropsLive,
    /// R3: a round does not say what it condemns.
    RoundForgets,
    /// What a rewrite supersedes is deleted with it.
    SupersededAtOnce,
    /// R13: what a volume in quarantine may need goes.
    QuarantineKeepsNothing,
    /// FLUSH does not sync.
    SyncSkipped,
    /// A write is acknowledged before it is in the log.
    AckBeforeLog,
    /// Checksums are not compared.
    CrcIgnored,
    /// Replay is one block off.
    OffByOne,
    /// The breaker does not hear of its probes.
    BreakerStaysOpen,
    /// No GET is sent a second time.
    NeverHedged,
    /// A write that finds no room for a chunk is taken for done.
    NoSpaceIsDone,
    /// A sync that failed is done again, and what that says is believed.
    SyncRetried,
    /// What the disk cache reads is believed: neither its checksum nor the frame's tag is compared.
    CacheUnchecked,
    /// Nor is the pool that a file of the disk cache belongs to.
    CachePoolIgnored,
    /// The disk cache lists entries before it has written them.
    CacheListedEarly,
    /// Volumes that are only read may have any number of pieces in memory.
    PiecesUncounted,
    /// What a head names and is not there is missing, whatever newer heads say.
    OldHeadBelieved,
    /// Frames that are read ahead are kept under their neighbours' addresses.
    AheadMisplaced,
    /// A comparison leaves out what a tail holds and no page does.
    TailNotCompared,
    /// A comparison takes pages of the same place for equal.
    PagesComparedByPlace,
}

#[cfg(feature = "planted")]
mod switch {
    use std::sync::atomic::{AtomicU8, Ordering};

    use super::Bug;

    /// The bug of this process; a simulation plants one at a time.
    static PLANTED: AtomicU8 = AtomicU8::new(0);

    const _: () = assert!(Bug::ALL.len() < u8::MAX as usize);

    /// Zero is no bug.
    fn number(bug: Bug) -> u8 {
        bug as u8 + 1
    }

    /// Plants one bug in this process, or none.
    pub fn plant(bug: Option<Bug>) {
        PLANTED.store(bug.map_or(0, number), Ordering::Relaxed);
    }

    /// Whether this bug was planted.
    pub fn planted(bug: Bug) -> bool {
        PLANTED.load(Ordering::Relaxed) == number(bug)
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
