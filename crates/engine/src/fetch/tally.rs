//! How many frames came before anybody asked for them, and how many of these were used.

use std::sync::Arc;

use esker_io::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::core::ahead::Seen;

/// Frames read ahead, of all volumes.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    pub(crate) fetched: AtomicU64,
    pub(crate) used: AtomicU64,
    pub(crate) wasted: AtomicU64,
}

/// Frames read ahead of one volume.
#[derive(Debug)]
pub(crate) struct Tally {
    fetched: AtomicU64,
    used: AtomicU64,
    totals: Arc<Totals>,
}

impl Tally {
    pub(crate) fn new(totals: Arc<Totals>) -> Self {
        Self { fetched: AtomicU64::new(0), used: AtomicU64::new(0), totals }
    }

    /// What was seen so far.
    pub(crate) fn seen(&self) -> Seen {
        // What was used was fetched before.
        let used = self.used.load(Ordering::Acquire);
        Seen { fetched: self.fetched.load(Ordering::Acquire), used }
    }

    /// A frame has come.
    pub(crate) fn promise(self: &Arc<Self>) -> Promise {
        self.fetched.fetch_add(1, Ordering::AcqRel);
        self.totals.fetched.fetch_add(1, Ordering::Relaxed);
        Promise { tally: self.clone(), kept: AtomicBool::new(false) }
    }
}

/// That a frame which was read ahead will be used.
#[derive(Debug)]
pub(crate) struct Promise {
    tally: Arc<Tally>,
    kept: AtomicBool,
}

impl Promise {
    /// A guest has read the frame.
    pub(crate) fn keep(&self) {
        if !self.kept.load(Ordering::Relaxed) && !self.kept.swap(true, Ordering::Relaxed) {
            self.tally.used.fetch_add(1, Ordering::AcqRel);
            self.tally.totals.used.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        if !*self.kept.get_mut() {
            self.tally.totals.wasted.fetch_add(1, Ordering::Relaxed);
        }
    }
}
