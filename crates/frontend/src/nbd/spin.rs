//! Looking for the next request for a moment before sleeping.
//!
//! A thread that sleeps in a receive is woken some microseconds after its request came, which is a third of what a
//! guest with one request at a time waits for. So the thread looks again and again first, but only where that pays:
//!
//! - the batch before was small: a client with many requests out is served better by the ones that gather meanwhile;
//! - the client's last pauses were short; one long pause, and the thread sleeps at once until they are short again,
//!   so that an idle connection costs nothing;
//! - at most half of the host's processors spin;
//! - nobody else wants the processor: a thread that spins away its turn is not the first any more when its request
//!   comes. Between two looks lies less than a microsecond; where more time is gone, somebody else had the processor,
//!   and the thread sleeps for the next thousand requests.

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

/// So much time between two looks was somebody else's.
const STOLEN_MIN: Duration = Duration::from_micros(15);
/// So many waits without a spin follow.
const WAITS_AFTER_STOLEN: u32 = 1_000;

/// Threads that spin now, of all connections.
static SPINNERS: AtomicUsize = AtomicUsize::new(0);
static SPINNERS_MAX: LazyLock<usize> =
    LazyLock::new(|| thread::available_parallelism().map_or(1, |processors| processors.get()) / 2);

/// One connection's habit.
pub(crate) struct Spin {
    /// The client's pauses, smoothed.
    pause: Duration,
    batch: usize,
    /// Waits until it may spin again.
    sleeps: u32,
    now: fn() -> Instant,
}

impl Spin {
    pub(crate) fn new() -> Spin {
        Spin { pause: PAUSE_MAX, batch: usize::MAX, sleeps: 0, now: Instant::now }
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
        let begun = (self.now)();
        let found = if self.may_spin() { self.spin(begun, &mut look)? } else { None };
        let found = match found {
            Some(found) => found,
            None => sleep()?,
        };
        self.pause = (self.pause * 3 + ((self.now)() - begun).min(PAUSE_MAX)) / 4;
        Ok(found)
    }

    fn may_spin(&mut self) -> bool {
        if self.sleeps > 0 {
            self.sleeps -= 1;
            return false;
        }
        self.pause <= SPIN_MAX
    }

    fn spin<T, E>(
        &mut self,
        begun: Instant,
        look: &mut impl FnMut() -> Result<Option<T>, E>,
    ) -> Result<Option<T>, E> {
        let Some(_place) = Place::free() else { return Ok(None) };
        let mut last = begun;
        loop {
            let found = look()?;
            let now = (self.now)();
            if now - last > STOLEN_MIN {
                self.sleeps = WAITS_AFTER_STOLEN;
            }
            if found.is_some() || now - begun > SPIN_MAX {
                return Ok(found);
            }
            last = now;
        }
    }
}

/// One of the threads that spin, or just tried to.
struct Place;

impl Place {
    fn free() -> Option<Place> {
        let place = Place;
        (SPINNERS.fetch_add(1, Ordering::Relaxed) < *SPINNERS_MAX).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        SPINNERS.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, convert::Infallible};

    use super::*;

    thread_local! {
        static NOW: Cell<Instant> = Cell::new(Instant::now());
    }

    fn pass(time: Duration) {
        NOW.set(NOW.get() + time);
    }

    /// One wait in which a request is there after so many looks, each of which takes so long; says how often was
    /// looked and whether it slept.
    fn wait(spin: &mut Spin, after: usize, each: Duration) -> (usize, bool) {
        let (looks, slept) = (Cell::new(0), Cell::new(false));
        let look = || {
            pass(each);
            looks.set(looks.get() + 1);
            Ok::<_, Infallible>((looks.get() > after).then_some(()))
        };
        let Ok(()) = spin.wait(look, || {
            slept.set(true);
            Ok(())
        });
        (looks.get(), slept.get())
    }

    const LOOK: Duration = Duration::from_nanos(300);

    fn quick() -> Spin {
        Spin { pause: Duration::from_micros(5), batch: 1, sleeps: 0, now: || NOW.get() }
    }

    #[test]
    fn a_quick_client_is_spun_for() {
        let mut spin = quick();
        assert_eq!(wait(&mut spin, 1, LOOK), (2, false));
        assert_eq!(wait(&mut spin, 1_000, LOOK), (134, true), "for 40 microseconds");
        spin.served(32);
        assert_eq!(wait(&mut spin, 0, LOOK), (0, true), "not after a large batch");
    }

    #[test]
    fn pauses_have_to_be_short() {
        let mut spin = Spin { now: || NOW.get(), ..Spin::new() };
        spin.served(1);
        for _ in 0..5 {
            assert_eq!(wait(&mut spin, 0, LOOK), (0, true), "not for a client whose pauses are not known");
        }
        assert_eq!(wait(&mut spin, 0, LOOK), (1, false));
        let Ok(()) = spin.wait(
            || {
                pass(LOOK);
                Ok::<_, Infallible>(None)
            },
            || {
                pass(Duration::from_secs(1));
                Ok(())
            },
        );
        assert_eq!(wait(&mut spin, 0, LOOK), (0, true), "nor after a long one");
    }

    #[test]
    fn a_thread_whose_time_is_stolen_sleeps() {
        let mut spin = quick();
        assert_eq!(wait(&mut spin, 0, STOLEN_MIN * 2), (1, false));
        for _ in 0..WAITS_AFTER_STOLEN {
            assert_eq!(wait(&mut spin, 0, LOOK), (0, true));
        }
        assert_eq!(wait(&mut spin, 0, LOOK), (1, false));
    }
}
