//! What this run uses that no head in the store needs to name.
//!
//! Two kinds, both counted as alive by every round:
//! - *in flight*: a segment or a pack from before its PUT until the commit that names it is settled. A reference counts
//!   from when it is decided (rule R2). When the outcome of that commit stays unknown, it counts for as long as the
//!   run: the head may still arrive.
//! - *readers*: the root and the tail of each volume that is open for reading, and of each state that is compared with,
//!   whose head may be thinned meanwhile (rule R11).

use std::{any::Any, collections::BTreeMap, mem, sync::Arc, sync::Weak};

use esker_format::{Bulk, head::Head};
use esker_io::{Bug, planted, sync::Mutex};

/// Whoever reads.
type Reader = dyn Any + Send + Sync;

/// What this run uses.
#[derive(Default)]
pub struct Uses {
    /// How often each is held.
    in_flight: Mutex<BTreeMap<Bulk, u32>>,
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
/// of it counts for as long as the run: the head may have arrived, or still may.
pub(crate) struct Sent(Vec<Arc<InFlight>>);

impl Sent {
    pub(crate) fn new(held: impl IntoIterator<Item = Arc<InFlight>>) -> Self {
        Self(held.into_iter().collect())
    }

    /// The head is there.
    pub(crate) fn settled(mut self) {
        self.0.clear();
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        self.0.drain(..).for_each(mem::forget);
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
        let sent = |pack| Sent::new([Arc::new(uses.hold(Bulk::Pack(esker_format::ids::PackId([pack; 16]))))]);
        sent(1).settled();
        assert!(uses.in_flight().is_empty());
        drop(sent(2));
        assert_eq!(uses.in_flight().len(), 1);
    }
}
