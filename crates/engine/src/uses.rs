//! What this run uses that no head in the store needs to name.
//!
//! Two kinds, both counted as alive by every round:
//! - *in flight*: a segment or a pack from before its PUT until the commit that names it is settled. A reference counts
//!   from when it is decided (rule R2). When the outcome of that commit stays unknown, it counts on, for the head may
//!   still arrive: until this run has taken the number of that head, or for as long as the run.
//! - *readers*: the root and the tail of each volume that is open for reading, and of each state that is compared with,
//!   whose head may be thinned meanwhile (rule R11).

use std::{any::Any, collections::BTreeMap, sync::Arc, sync::Weak};

use esker_format::{Bulk, head::Head, ids::VolumeId};
use esker_io::{Bug, planted, sync::Mutex};

/// Whoever reads.
type Reader = dyn Any + Send + Sync;

/// What this run uses.
#[derive(Default)]
pub struct Uses {
    /// How often each is held.
    in_flight: Mutex<BTreeMap<Bulk, u32>>,
    /// What heads name whose outcome nobody waits for any more.
    unsettled: Mutex<BTreeMap<Option<VolumeId>, Vec<Arc<InFlight>>>>,
    readers: Mutex<Vec<(Weak<Reader>, Arc<Head>)>>,
}

/// Holds an object until it is dropped.
pub(crate) struct InFlight {
    uses: Arc<Uses>,
    object: Bulk,
}

impl Uses {
    /// The object will be sent, and named by a commit.
    pub(crate) fn hold(self: &Arc<Self>, object: Bulk) -> InFlight {
        *self.in_flight.lock().entry(object).or_insert(0) += 1;
        InFlight { uses: self.clone(), object }
    }

    /// A claim or a deletion by this run holds the number that every head on its way would need: those that arrived are
    /// below it, and the others never will.
    pub(crate) fn decided(&self, volume: VolumeId) {
        let decided = self.unsettled.lock().remove(&Some(volume));
        drop(decided);
    }

    /// A volume was opened from this head for reading, or a comparison begun; it counts until `reader` is dropped.
    pub(crate) fn reads<R: Any + Send + Sync>(&self, reader: &Arc<R>, head: Head) {
        let mut readers = self.readers.lock();
        readers.retain(|(reader, _)| reader.strong_count() > 0);
        let reader: Arc<Reader> = reader.clone();
        readers.push((Arc::downgrade(&reader), Arc::new(head)));
    }

    /// What is in flight now.
    pub(crate) fn in_flight(&self) -> Vec<Bulk> {
        if planted(Bug::InFlightNotCounted) {
            return Vec::new();
        }
        self.in_flight.lock().keys().copied().collect()
    }

    /// The heads that readers have open now.
    pub(crate) fn read(&self) -> Vec<Arc<Head>> {
        let readers = self.readers.lock();
        readers.iter().filter(|(reader, _)| reader.strong_count() > 0).map(|(_, head)| head.clone()).collect()
    }
}

/// What a head names that is on its way. Dropped before its outcome is known, as when the volume stops meanwhile, all
/// of it counts until that is decided: the head may have arrived, or still may.
pub(crate) struct Sent {
    /// Whose head; none for a record of another chain.
    volume: Option<VolumeId>,
    held: Vec<Arc<InFlight>>,
}

impl Sent {
    pub(crate) fn new(
        volume: impl Into<Option<VolumeId>>,
        held: impl IntoIterator<Item = Arc<InFlight>>,
    ) -> Self {
        Self { volume: volume.into(), held: held.into_iter().collect() }
    }

    /// The head is there.
    pub(crate) fn settled(mut self) {
        self.held.clear();
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        let Some(uses) = self.held.first().map(|first| first.uses.clone()) else { return };
        uses.unsettled.lock().entry(self.volume).or_default().append(&mut self.held);
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let mut in_flight = self.uses.in_flight.lock();
        let count = in_flight.get_mut(&self.object).expect("it was held");
        *count -= 1;
        if *count == 0 {
            in_flight.remove(&self.object);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_counts_until_its_outcome_is_known() {
        let uses = Arc::new(Uses::default());
        let (volume, other) = (VolumeId([1; 16]), VolumeId([2; 16]));
        let sent = |volume, pack| {
            Sent::new(volume, [Arc::new(uses.hold(Bulk::Pack(esker_format::ids::PackId([pack; 16]))))])
        };
        sent(volume, 1).settled();
        assert!(uses.in_flight().is_empty());
        drop(sent(volume, 2));
        drop(sent(other, 3));
        assert_eq!(uses.in_flight().len(), 2);
        uses.decided(volume);
        assert_eq!(uses.in_flight(), [Bulk::Pack(esker_format::ids::PackId([3; 16]))]);
    }
}
