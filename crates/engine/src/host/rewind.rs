//! Going back in a volume's history.
//!
//! ```text
//! v    … ← v/95 ← … ← v/104 ← v/105 released ← v/106 claim, with the state of v/95 ← v/107 released …
//!            │ 3                  │ 2                  ▲ 5
//! pin        └─▶ P/1 unborn ──────┼────────────────────┘ ← P/2 deleted
//! kept                            └─▶ v@before-rewind-105
//! ```
//! In place, in numbered steps; after a crash at any of them the volume has the state from before or that of v/95, whole:
//! 1. Nobody is connected. The volume is drained, so that no log has anything that the store lacks (rule H5), or it was
//!    released before; one that somebody else has is refused.
//! 2. The state that it has is kept as a snapshot.
//! 3. Pin: the state of v/95 as an unborn volume (rule R8). A segment is written first, of what it holds in pieces, so
//!    that no head names a head of before (rule H7), and of all sequences from there up to one more than v/105 has, in
//!    which nothing happens: so the rewind has a sequence of its own, and equal sequences still mean equal contents.
//! 4. Look: v/95 is still there. From now on the pin holds what it reaches.
//! 5. Use: a claim with the state of v/95. It is a new epoch, and names a fresh log, so that none from before is ever
//!    replayed over it (rule H5). If somebody claimed the volume since 1, nothing is done.
//! 6. The volume is released, the pin is buried, and whoever had the volume open has it open again.
//!
//! As a fork only 3, 4 and a birth are needed; the volume itself is only read, and may be open anywhere.

use std::sync::Arc;

use esker_format::{
    head::{Head, HeadKind, Lineage, Source},
    ids::{LogId, VolumeId},
    names,
};

use esker_io::{Bug, planted};

use super::{Busy, Host, Slot};
use crate::{
    EngineError, Result,
    birth::{Making, Pin, State, check_alive},
    commit::{self, Claim, Intent},
    pool::{Newest, Point, describe, state_at},
    recover::Report,
    volume::Volume,
};

/// Names that are tried for the snapshot of the state before.
const NAMES_MAX: u32 = 100;

/// What to go back to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// The head of this number.
    Head(u64),
    /// The last state at or before a time, in milliseconds since 1970.
    Time(u64),
    /// The snapshot of the volume that has this name.
    Snapshot(String),
}

/// What came of going back.
#[derive(Debug, Clone)]
pub struct Rewound {
    /// The head whose state it is now: one of the volume, or of the snapshot.
    pub target: Head,
    /// The snapshot that keeps the state from before; none of a fork.
    pub kept: Option<String>,
}

impl Host {
    /// The states that a volume can go back to, oldest first; the last one is that which it has.
    pub async fn history(&self, name: &str) -> Result<Vec<Point>> {
        let volume = self.find(name).await?;
        let points = self.pool.history(volume).await?;
        match points.last().map(|point| point.kind) {
            Some(HeadKind::Deleted) => {
                Err(EngineError::NotFound(format!("{} (it was deleted)", describe(name))))
            }
            _ => Ok(points),
        }
    }

    /// Makes a new volume whose first state is one of another's history.
    pub async fn rewind_as(&self, name: &str, to: &Target, new: &str) -> Result<Rewound> {
        names::valid_volume_name(new)?;
        if self.volume(new).is_some() {
            return Err(EngineError::Exists(describe(new)));
        }
        let _busy = self.occupy(new)?;
        let place = self.pool.place(new).await?;
        let target = self.target(name, to).await?;
        let state = self.making().whole(&target).await?;
        let what = (HeadKind::Released, Lineage::default());
        match self.making().make(state, place, what, || 0).await? {
            Some(_) => Ok(Rewound { target, kept: None }),
            None => Err(gone(name, &target)),
        }
    }

    /// Gives a volume the state of one of its heads or snapshots; the state that it has is kept as a snapshot. `clients`
    /// says how many use it now.
    ///
    /// # Errors
    /// [`EngineError::Invalid`] when somebody uses the volume, or has it open elsewhere. It is as it was, then and after
    /// every other error but an unknown outcome.
    pub async fn rewind(
        &self,
        name: &str,
        to: &Target,
        clients: &(dyn Fn() -> u64 + Sync),
    ) -> Result<Rewound> {
        names::valid_volume_name(name)?;
        let busy = self.occupy(name)?;
        check_unused(name, clients())?;
        if busy.volume().is_some_and(|open| open.read_only()) {
            return Err(EngineError::Invalid(format!("volume {name} is open read-only here")));
        }
        let volume = self.find(name).await?;
        self.drained(&busy, name, volume).await?;
        let outcome = self.rewind_closed(name, volume, to, clients).await;
        if busy.volume().is_none() {
            busy.forget();
            return outcome;
        }
        // However it went, guests get the volume back, unless somebody else has it now.
        let opened = match &outcome {
            Ok(_) => self.open_now(name, None).await,
            Err(error) => self.open_ours(name, volume, error).await,
        };
        busy.put(opened.map_or_else(Slot::Failed, |(open, _)| Slot::Open(open)));
        outcome
    }

    /// Opens a volume again that this run gave back, and nobody took since.
    async fn open_ours(
        &self,
        name: &str,
        volume: VolumeId,
        why: &EngineError,
    ) -> Result<(Arc<Volume>, Report)> {
        match self.pool.newest_head(volume).await?.head.directory == self.owner.directory {
            true => self.open_now(name, None).await,
            false => Err(why.clone()),
        }
    }

    async fn rewind_closed(
        &self,
        name: &str,
        volume: VolumeId,
        to: &Target,
        clients: &(dyn Fn() -> u64 + Sync),
    ) -> Result<Rewound> {
        check_unused(name, clients())?;
        let newest = self.pool.newest_head(volume).await?;
        check_released(name, &newest.head)?;
        let target = self.target(name, to).await?;
        if (target.volume, target.number) == (volume, newest.head.number) {
            let number = target.number;
            return Err(EngineError::Invalid(format!("head {number} is the state that volume {name} has")));
        }
        let kept = self.keep_before(name, &newest).await?;
        // No sequence is given twice: that of the rewind itself is behind all that there were.
        let sequence = newest.head.sequence.max(target.sequence) + 1;
        let state = self.making().whole_up_to(&target, sequence).await?;
        let pin = self.pool.pin(state, None, Lineage::default(), self.owner).await?;
        let outcome = self.use_pin(name, &newest, &target, &pin).await;
        if let Err(error) = pin.bury(&self.pool).await {
            tracing::warn!(volume = name, %error, "a pin is left to reclaim");
        }
        outcome.map(|()| Rewound { target, kept: Some(kept) })
    }

    /// Step 1.
    async fn drained(&self, busy: &Busy<'_>, name: &str, volume: VolumeId) -> Result<()> {
        if let Some(open) = busy.volume() {
            return open.drain().await;
        }
        let newest = self.pool.newest_head(volume).await?.head;
        check_alive(&describe(name), &newest)?;
        let written = matches!(newest.kind, HeadKind::Data | HeadKind::Claim | HeadKind::Fence);
        if written && newest.directory == self.owner.directory {
            // A run of this directory did not end in order: what is in its log belongs to the state that is kept.
            return self.open_now(name, None).await?.0.drain().await;
        }
        Ok(())
    }

    /// Step 2. Done twice, it is done once: the snapshot says which head it is of.
    async fn keep_before(&self, name: &str, newest: &Newest) -> Result<String> {
        let number = newest.head.number;
        for further in 0..NAMES_MAX {
            // A volume that had this name before may have left a snapshot of the same name.
            let ending = if further == 0 { String::new() } else { format!("-{further}") };
            let kept = names::snapshot_name(name, &format!("before-rewind-{number}{ending}"));
            let place = match self.pool.place(&kept).await {
                Err(EngineError::Exists(_)) if self.is_of(&kept, &newest.head).await? => return Ok(kept),
                Err(EngineError::Exists(_)) => continue,
                place => place?,
            };
            let what = (HeadKind::Frozen, Lineage::default());
            return match self.making().make(State::of(&newest.head), place, what, || 0).await? {
                Some(_) => Ok(kept),
                None => Err(moved_on(name)),
            };
        }
        let taken = names::snapshot_name(name, &format!("before-rewind-{number}"));
        Err(EngineError::Exists(describe(&taken)))
    }

    /// Whether a snapshot is one of this head.
    async fn is_of(&self, snapshot: &str, head: &Head) -> Result<bool> {
        let newest = self.pool.newest_head(self.find(snapshot).await?).await?.head;
        Ok(newest.lineage.source == Some(Source { volume: head.volume, head: head.number }))
    }

    /// Steps 4 to 6.
    async fn use_pin(&self, name: &str, newest: &Newest, target: &Head, pin: &Pin) -> Result<()> {
        if !pin.look(&self.pool, || 0).await? {
            return Err(gone(name, target));
        }
        let fresh = LogId(self.pool.world().random.id());
        let log = if planted(Bug::OldLogRewound) { target.log } else { fresh };
        let intent = Intent::Rewind { log, to: pin.head() };
        // As often as it takes, as for every claim.
        let mut chain = match commit::try_claim(&self.pool, newest, self.owner, intent, || false).await? {
            Claim::Won(chain) => chain,
            Claim::Lost => return Err(moved_on(name)),
        };
        let released = commit::Change::none(HeadKind::Released);
        chain.commit(self.pool.world(), released, || false).await
    }

    /// The head to go back to.
    async fn target(&self, name: &str, to: &Target) -> Result<Head> {
        let (volume, points) = match to {
            Target::Snapshot(snapshot) => {
                let name = names::snapshot_name(name, snapshot);
                let head = self.pool.newest_head(self.find(&name).await?).await?.head;
                check_alive(&describe(&name), &head)?;
                return Ok(head);
            }
            Target::Head(_) | Target::Time(_) => (self.find(name).await?, self.history(name).await?),
        };
        let point = match to {
            Target::Head(number) => points.iter().find(|point| point.number == *number),
            Target::Time(ms) => state_at(&points, *ms),
            Target::Snapshot(_) => None,
        };
        let history = format!("esker volume history {name} shows what there is");
        let Some(point) = point else {
            let head = match to {
                Target::Head(number) => format!("head {number} of volume {name}"),
                _ => format!("a head of volume {name} from then"),
            };
            return Err(EngineError::NotFound(format!("{head} ({history})")));
        };
        if !point.whole {
            let number = point.number;
            return Err(EngineError::Invalid(format!(
                "head {number} of volume {name} names pieces of heads that are gone; {history}"
            )));
        }
        let head = self.pool.head(volume, point.number).await?;
        head.ok_or_else(|| EngineError::NotFound(format!("head {} of volume {name}", point.number)))
    }

    fn making(&self) -> Making<'_> {
        Making { pool: &self.pool, ids: &self.ids, owner: self.owner }
    }
}

fn check_unused(name: &str, clients: u64) -> Result<()> {
    if clients == 0 {
        return Ok(());
    }
    Err(EngineError::Invalid(format!(
        "{clients} clients are connected to volume {name}: a disk must not change beneath a guest; stop them first, or go \
         back in a fork: --as NEW"
    )))
}

fn check_released(name: &str, head: &Head) -> Result<()> {
    match head.kind {
        HeadKind::Released => Ok(()),
        HeadKind::Frozen => {
            Err(EngineError::Invalid(format!("{name} is a snapshot and stays what it is; fork it")))
        }
        HeadKind::Deleted => Err(EngineError::NotFound(format!("volume {name} (it was deleted)"))),
        kind => Err(EngineError::Invalid(format!(
            "volume {name} is open elsewhere: its head {} is a {kind} of run {}; stop that daemon first, or go back in a \
             fork: --as NEW",
            head.number, head.run
        ))),
    }
}

fn moved_on(name: &str) -> EngineError {
    EngineError::Invalid(format!("somebody else opened volume {name} meanwhile; nothing was done"))
}

fn gone(name: &str, target: &Head) -> EngineError {
    EngineError::NotFound(format!(
        "head {} of volume {name}, which was older than its history,",
        target.number
    ))
}
