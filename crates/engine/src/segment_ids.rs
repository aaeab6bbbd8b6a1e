//! Ids for the segments of this run: a writer number, won when first needed, and a counter.

use std::sync::Arc;

use esker_format::ids::{RunId, SegmentId};
use esker_io::sync::Mutex;

use crate::{Result, pool::Pool};

/// Hands out segment ids; each is given once.
pub struct SegmentIds {
    pool: Arc<Pool>,
    run: RunId,
    /// The writer number, once there is one, and the next counter.
    state: Mutex<Option<(u32, u32)>>,
}

impl SegmentIds {
    /// For one run of a daemon.
    pub fn new(pool: Arc<Pool>, run: RunId) -> Self {
        Self { pool, run, state: Mutex::new(None) }
    }

    /// The next id. The first call, and one in 16 million, costs requests.
    pub async fn next(&self) -> Result<SegmentId> {
        loop {
            if let Some(id) = self.take() {
                return Ok(id);
            }
            // Two who come here at once win two numbers; one of them is never used.
            let writer = self.pool.writer_number(self.run).await?;
            *self.state.lock() = Some((writer, 0));
        }
    }

    fn take(&self) -> Option<SegmentId> {
        let mut state = self.state.lock();
        let (writer, counter) = (*state)?;
        let Some(id) = SegmentId::new(writer, counter) else {
            *state = None;
            return None;
        };
        *state = Some((writer, counter + 1));
        Some(id)
    }
}
