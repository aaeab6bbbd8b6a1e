//! Snapshots that are read because a client asked for one, and for as long as somebody reads it.
//!
//! They are none of the volumes that this run has open: no list names them, and nothing waits for them at the end. What
//! they read counts as used for as long as a connection holds them, also when the snapshot is deleted meanwhile
//! ([`crate::uses::Uses`]).

use std::{
    collections::BTreeMap,
    sync::{Arc, Weak},
    time::Duration,
};

use esker_io::{Clock, sync::Mutex};

use super::Host;
use crate::{EngineError, Result, permits::Permits, pool::describe, recover, volume::Volume};

/// How often it is looked who still reads: one that nobody reads is closed at the second look.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// Snapshots that are open at once.
const VISITED_MAX: usize = 256;

/// The snapshots that are open.
pub(super) struct Visits {
    open: Arc<Mutex<BTreeMap<String, Visited>>>,
    /// One is opened at a time, so that none is opened twice.
    turn: Permits,
}

struct Visited {
    snapshot: Arc<Volume>,
    /// At how many looks nobody had it.
    idle: u32,
}

impl Default for Visits {
    fn default() -> Self {
        Self { open: Arc::default(), turn: Permits::new(1) }
    }
}

impl Visits {
    pub(super) fn forget(&self, name: &str) {
        self.open.lock().remove(name);
    }

    fn find(&self, name: &str) -> Option<Arc<Volume>> {
        let mut open = self.open.lock();
        let visited = open.get_mut(name)?;
        visited.idle = 0;
        Some(visited.snapshot.clone())
    }
}

impl Host {
    /// A snapshot to read, opened now unless it is open.
    ///
    /// # Errors
    /// [`EngineError::NotFound`] when there is none of that name.
    pub async fn visit(&self, name: &str) -> Result<Arc<Volume>> {
        if let Some(snapshot) = self.visits.find(name) {
            return Ok(snapshot);
        }
        let _turn = self.visits.turn.acquire().await;
        if let Some(snapshot) = self.visits.find(name) {
            return Ok(snapshot);
        }
        let snapshot = recover::open_read_only(self.pool.clone(), name, self.find(name).await?).await?;
        let mut open = self.visits.open.lock();
        if open.len() >= VISITED_MAX {
            return Err(EngineError::Invalid(format!(
                "{} is not opened: {VISITED_MAX} snapshots are open already",
                describe(name)
            )));
        }
        if open.is_empty() {
            let clock = self.pool.world().clock.clone();
            (self.spawn)(Box::pin(close_unread(Arc::downgrade(&self.visits.open), clock)));
        }
        open.insert(name.to_owned(), Visited { snapshot: snapshot.clone(), idle: 0 });
        Ok(snapshot)
    }
}

/// Closes what nobody reads, until nothing is open.
async fn close_unread(open: Weak<Mutex<BTreeMap<String, Visited>>>, clock: Arc<dyn Clock>) {
    loop {
        clock.sleep(LOOK_EVERY).await;
        let Some(open) = open.upgrade() else { return };
        let mut open = open.lock();
        open.retain(|_, visited| {
            // This table holds one; who gets another asks under its lock.
            visited.idle = if Arc::strong_count(&visited.snapshot) > 1 { 0 } else { visited.idle + 1 };
            visited.idle < 2
        });
        if open.is_empty() {
            return;
        }
    }
}
