//! The point of a snapshot: the volume as it is now, in the store, while guests go on writing.
//!
//! ```text
//! log       … 996 │ 997  998  999 ┃ 1000  1001 …        ┃ the stop: no seal goes across it
//! seals      done │ [997 .. 999]  ┃ [1000 …
//! heads     covered 996 ─────────▶ covered 999 ─────▶ …  a commit ends at the point, one at least
//! ```
//! 1. The last sequence is taken and noted as a stop under the log's own lock. Every write that was acknowledged before
//!    is at or below it. No guest waits for more than that lock.
//! 2. The pipeline hurries until everything up to the stop is cut; no seal takes a record beyond it along (rule W6).
//! 3. Segments are committed in order, and no commit goes past the stop. The head that reaches it is handed out: its root
//!    and segments hold exactly what was written up to the point. Pieces may reach further; they are left out.
//!
//! A volume in which nothing was written since its last commit is at its point already, and costs no request. After a
//! crash between any two steps there was no snapshot, and a head like others.
//!
//! Several volumes at one point (rule W12): hold the exclusive guards of all their maps, take every point with
//! [`Volume::begin_point`], let go. A write holds the shared guard from the log to its answer, so whoever writes after an
//! answer writes behind all of these points.

use std::time::Duration;

use esker_format::head::Head;
use esker_io::sync::atomic::{AtomicU64, Ordering};
use futures_channel::oneshot;

use super::{Volume, Writer};
use crate::{EngineError, Result, birth::State};

/// Somebody waits for a point.
pub(super) struct Request {
    pub(super) sequence: u64,
    pub(super) answer: oneshot::Sender<Head>,
}

/// How long guests were held for points.
#[derive(Default)]
pub struct Holds {
    points: AtomicU64,
    nanos: AtomicU64,
    longest_nanos: AtomicU64,
}

impl Holds {
    /// Of so many points.
    pub(crate) fn count(&self, points: u64, held: Duration) {
        let nanos = held.as_nanos() as u64;
        self.points.fetch_add(points, Ordering::Relaxed);
        self.nanos.fetch_add(nanos, Ordering::Relaxed);
        self.longest_nanos.fetch_max(nanos, Ordering::Relaxed);
    }

    /// How many points were taken.
    pub fn points(&self) -> u64 {
        self.points.load(Ordering::Relaxed)
    }

    /// All of it together.
    pub fn total(&self) -> Duration {
        Duration::from_nanos(self.nanos.load(Ordering::Relaxed))
    }

    /// The longest.
    pub fn longest(&self) -> Duration {
        Duration::from_nanos(self.longest_nanos.load(Ordering::Relaxed))
    }
}

/// A point that was taken.
pub struct Point<'a> {
    volume: &'a Volume,
    answered: oneshot::Receiver<Head>,
}

impl Volume {
    /// What the volume holds now, as soon as the store has it: every write that was acknowledged before this call, and
    /// none that began after it.
    ///
    /// # Errors
    /// When the volume is not written here, or stops before.
    pub async fn point(&self) -> Result<State> {
        let clock = &*self.pool.world().clock;
        let began = clock.monotonic();
        let point = self.begin_point();
        self.pool.holds().count(1, clock.monotonic().saturating_sub(began));
        point?.state().await
    }

    /// Takes the point; does not wait.
    pub fn begin_point(&self) -> Result<Point<'_>> {
        let writer = self.writable()?;
        let (answer, answered) = oneshot::channel();
        {
            // Held while the stop is made: who cuts beyond it finds the request (step 3).
            let mut waiting = writer.points.lock();
            let sequence = writer.log.stop_here();
            waiting.push(Request { sequence, answer });
        }
        // The pipeline takes what waits when it ends, after it has said so.
        if writer.ended_with.lock().is_some() {
            writer.points.lock().clear();
        }
        writer.wake.notify();
        Ok(Point { volume: self, answered })
    }

    /// The newest head that this run has committed.
    pub fn newest_own_head(&self) -> u64 {
        self.writer.as_ref().map_or(0, |writer| writer.committed.lock().number)
    }
}

impl Point<'_> {
    /// Waits for it.
    pub async fn state(self) -> Result<State> {
        match self.answered.await {
            Ok(head) => Ok(State::of(&head)),
            Err(oneshot::Canceled) => {
                self.volume.check_running()?;
                Err(EngineError::Closing(self.volume.name.clone()))
            }
        }
    }
}

impl Writer {
    /// The requests that came since.
    pub(super) fn take_points(&self) -> Vec<Request> {
        std::mem::take(&mut *self.points.lock())
    }
}
