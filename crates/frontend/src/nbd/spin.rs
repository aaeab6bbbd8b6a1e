//! Looking for the next request for a moment before sleeping.
//!
//! A thread that sleeps in a receive is woken some microseconds after its request came, which is a third of what a
//! guest with one request at a time waits for. So the thread looks again and again first, but only where that pays:
//!
//! - the batch before was small: a client with many requests out is served better by the ones that gather meanwhile;
//! - the client's last pauses were short; one long pause, and the thread sleeps at once until they are short again,
//!   so that an idle connection costs nothing;
//! - at most half of the host's processors spin.

use std::{
    sync::{
        LazyLock,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// How long a thread spins. A wake-up costs 5 to 10 µs; clients of one request at a time come back within 30.
const SPIN_MAX: Duration = Duration::from_micros(40);
/// A pause counts as no more than this, so that a handful of short ones make up for any long one.
const PAUSE_MAX: Duration = Duration::from_micros(160);
/// A batch of more requests than this is followed by sleep.
const BATCH_SMALL: usize = 2;

/// Threads that spin now, of all connections.
static SPINNERS: AtomicUsize = AtomicUsize::new(0);
static SPINNERS_MAX: LazyLock<usize> =
    LazyLock::new(|| thread::available_parallelism().map_or(1, |processors| processors.get()) / 2);

/// One connection's habit.
pub(crate) struct Spin {
    /// The client's pauses, smoothed.
    pause: Duration,
    batch: usize,
}

impl Spin {
    pub(crate) fn new() -> Spin {
        Spin { pause: PAUSE_MAX, batch: usize::MAX }
    }

    /// So many requests came together.
    pub(crate) fn served(&mut self, requests: usize) {
        self.batch = requests;
    }

    /// Calls `look` until it finds something, as long as that may pay; then `sleep`, which waits.
    pub(crate) fn wait<T, E>(
        &mut self,
        mut look: impl FnMut() -> Result<Option<T>, E>,
        sleep: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        if self.batch > BATCH_SMALL {
            return sleep();
        }
        let begun = Instant::now();
        let mut found = None;
        if let Some(_place) = self.place() {
            while found.is_none() && begun.elapsed() < SPIN_MAX {
                found = look()?;
            }
        }
        let found = match found {
            Some(found) => found,
            None => sleep()?,
        };
        self.pause = (self.pause * 3 + begun.elapsed().min(PAUSE_MAX)) / 4;
        Ok(found)
    }

    /// Leave to spin, if it may pay and not too many do.
    fn place(&self) -> Option<Place> {
        if self.pause > SPIN_MAX {
            return None;
        }
        let place = Place;
        (SPINNERS.fetch_add(1, Ordering::Relaxed) < *SPINNERS_MAX).then_some(place)
    }
}

/// One of the threads that spin, or just tried to.
struct Place;

impl Drop for Place {
    fn drop(&mut self) {
        SPINNERS.fetch_sub(1, Ordering::Relaxed);
    }
}
