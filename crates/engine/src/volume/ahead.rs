//! Reading ahead of a volume's guests: reads are followed, and what will be wanted next is fetched.

use std::{
    ops::Range,
    sync::{Arc, OnceLock, Weak},
};

use esker_format::address::AddressKind;
use esker_io::{
    BoxFuture,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use super::Volume;
use crate::{
    Result,
    ahead::Foresees,
    core::ahead::{Detector, STREAMS},
    fetch::{Fetcher, Part, Tally},
};

/// What is known of a volume's reads.
pub(crate) struct Ahead {
    detector: Mutex<Detector>,
    /// Blocks whose reading asks for more: a look at these is all that a read costs which finds its data in memory.
    marks: [AtomicU64; STREAMS],
    tally: Arc<Tally>,
    /// The volume, from its first fault on.
    volume: OnceLock<Weak<Volume>>,
}

impl Ahead {
    pub(super) fn new(fetcher: &Fetcher) -> Self {
        Self {
            detector: Mutex::new(Detector::new(fetcher.ahead_blocks_max())),
            marks: std::array::from_fn(|_| AtomicU64::new(u64::MAX)),
            tally: Arc::new(Tally::new(fetcher.ahead_totals().clone())),
            volume: OnceLock::new(),
        }
    }

    /// Whether a read of these blocks touches a mark.
    #[inline]
    pub(super) fn is_marked(&self, lba: u64, blocks: u64) -> bool {
        self.marks.iter().any(|mark| mark.load(Ordering::Relaxed).wrapping_sub(lba) < blocks)
    }
}

impl Foresees for Volume {
    fn read_ahead(self: Arc<Self>, blocks: Range<u64>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            if let Err(error) = self.try_read_ahead(blocks).await {
                // Whoever reads there will be told.
                tracing::debug!(volume = %self.name, %error, "reading ahead fails");
            }
        })
    }
}

impl Volume {
    /// A read has to wait.
    pub(super) fn faulted(self: &Arc<Self>, lba: u64, blocks: u64) {
        self.ahead.volume.get_or_init(|| Arc::downgrade(self));
        self.look_ahead(|detector| detector.fault(lba, blocks, self.ahead.tally.seen()));
    }

    /// A read has touched a mark.
    #[cold]
    pub(super) fn reached_mark(&self, lba: u64, blocks: u64) {
        self.look_ahead(|detector| detector.reached(lba, blocks));
    }

    fn look_ahead(&self, look: impl FnOnce(&mut Detector) -> Option<Range<u64>>) {
        let asked = {
            let mut detector = self.ahead.detector.lock();
            let asked = look(&mut detector);
            for (mark, block) in self.ahead.marks.iter().zip(detector.marks()) {
                mark.store(block, Ordering::Relaxed);
            }
            asked
        };
        if let (Some(blocks), Some(volume)) = (asked, self.ahead.volume.get()) {
            self.pool.ahead().ask(volume.clone(), blocks);
        }
    }

    async fn try_read_ahead(&self, blocks: Range<u64>) -> Result<()> {
        let Range { start, end } = blocks;
        let pin = self.pin(start, end - start);
        loop {
            let end = end.min(self.map.read().blocks());
            if start >= end {
                return Ok(());
            }
            match self.segment_parts(start, end - start) {
                Some(parts) => return self.pool.fetcher().read_ahead(&parts, &self.ahead.tally).await,
                // Nobody asked for it yet: it is not worth what others need.
                None if self.maps_are_full() => return Ok(()),
                None => self.load_map(&pin).await?,
            }
        }
    }

    /// What of these blocks lies in segments; none if the map is not loaded. The log is here anyway.
    fn segment_parts(&self, lba: u64, blocks: u64) -> Option<Vec<Part>> {
        let map = self.map.read();
        if lba + blocks > map.blocks() {
            return Some(Vec::new());
        }
        let mut extents = Vec::new();
        map.resolve(lba, blocks, &mut extents);
        drop(map);
        let mut parts = Vec::new();
        for extent in extents {
            match extent.address.kind() {
                AddressKind::Unloaded => return None,
                AddressKind::Segment(..) => {
                    parts.push(Part { address: extent.address, blocks: extent.blocks, offset: 0 });
                }
                AddressKind::Hole | AddressKind::Zero | AddressKind::Log(_) => {}
            }
        }
        Some(parts)
    }
}
