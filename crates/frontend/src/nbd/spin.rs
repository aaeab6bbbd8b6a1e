//! Looking for the next request for a moment before sleeping.
//!
//! A thread that sleeps in a receive is woken 5 to 30 µs after its request came, which is a third or more of what a
//! guest with few requests out waits for. So the thread looks again and again first, but only where that pays:
//!
//! - the client's last pauses were short, as far as a thread that is asleep can tell;
//! - spinning has found something lately: each time it has not, twice as many waits go by without it, so that an idle
//!   connection costs nothing;
//! - at most half of the host's processors spin or do what the device has to do in the background: a guest on the same
//!   host whose processor is taken cannot send what is waited for;
//! - nobody else wants the processor: a thread that spins away its turn is not the first any more when its request
//!   comes. Between two looks lies less than a microsecond; where very much more is gone, another thread had its turn,
//!   and the thread sleeps for the next thousand requests.

use std::{
    sync::{
        LazyLock,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// How long a thread spins: clients with one request at a time come back within 30 µs.
const SPIN_MAX: Duration = Duration::from_micros(50);
/// Longer pauses are not spun for. A pause that was slept through holds the time that waking took.
const PAUSE_SHORT: Duration = Duration::from_micros(90);
/// A pause counts as no more than this, so that a handful of short ones make up for any long one.
const PAUSE_MAX: Duration = Duration::from_micros(250);
/// So many waits without a spin follow one that found nothing, at least and at most.
const SLEEPS: (u32, u32) = (4, 1_024);

/// So much time between two looks was another thread's; interrupts and hypervisors take less.
const STOLEN_MIN: Duration = Duration::from_micros(500);
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
    /// Waits until it may spin again.
    sleeps: u32,
    /// How many it will be after the next spin that finds nothing.
    penalty: u32,
    /// When the last wait found something.
    found: Instant,
    now: fn() -> Instant,
}

impl Spin {
    pub(crate) fn new() -> Spin {
        let now = Instant::now;
        Spin { pause: PAUSE_MAX, sleeps: 0, penalty: SLEEPS.0, found: now(), now }
    }

    /// When the last wait found something.
    pub(crate) fn found(&self) -> Instant {
        self.found
    }

    /// Calls `look` until it finds something, as long as that may pay; then `sleep`, which waits. `begun` is now;
    /// `busy` processors are taken by other work of the device.
    pub(crate) fn wait<T, E>(
        &mut self,
        (begun, busy): (Instant, usize),
        mut look: impl FnMut() -> Result<Option<T>, E>,
        sleep: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        let found = if self.may_spin() { self.spin(begun, busy, &mut look)? } else { None };
        let found = match found {
            Some(found) => found,
            None => sleep()?,
        };
        self.found = (self.now)();
        self.pause = (self.pause * 3 + (self.found - begun).min(PAUSE_MAX)) / 4;
        Ok(found)
    }

    fn may_spin(&mut self) -> bool {
        if self.sleeps > 0 {
            self.sleeps -= 1;
            return false;
        }
        self.pause <= PAUSE_SHORT
    }

    fn spin<T, E>(
        &mut self,
        begun: Instant,
        busy: usize,
        look: &mut impl FnMut() -> Result<Option<T>, E>,
    ) -> Result<Option<T>, E> {
        let Some(_place) = Place::free(busy) else { return Ok(None) };
        let mut last = begun;
        loop {
            let found = look()?;
            let now = (self.now)();
            if found.is_some() {
                self.penalty = (self.penalty / 2).max(SLEEPS.0);
            } else if now - begun > SPIN_MAX {
                self.sleeps = self.penalty;
                self.penalty = (self.penalty * 2).min(SLEEPS.1);
            }
            if now - last > STOLEN_MIN {
                self.sleeps = WAITS_AFTER_STOLEN;
            }
            if found.is_some() || self.sleeps > 0 {
                return Ok(found);
            }
            last = now;
        }
    }
}

/// One of the threads that spin, or just tried to.
struct Place;

impl Place {
    fn free(busy: usize) -> Option<Place> {
        let place = Place;
        (SPINNERS.fetch_add(1, Ordering::Relaxed) + busy < *SPINNERS_MAX).then_some(place)
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
        wait_beside(spin, 0, after, each)
    }

    /// The same while other work of the device takes processors.
    fn wait_beside(spin: &mut Spin, busy: usize, after: usize, each: Duration) -> (usize, bool) {
        let (looks, slept) = (Cell::new(0), Cell::new(false));
        let look = || {
            pass(each);
            looks.set(looks.get() + 1);
            Ok::<_, Infallible>((looks.get() > after).then_some(()))
        };
        let Ok(()) = spin.wait((NOW.get(), busy), look, || {
            slept.set(true);
            Ok(())
        });
        (looks.get(), slept.get())
    }

    const LOOK: Duration = Duration::from_nanos(300);

    fn quick() -> Spin {
        Spin { pause: Duration::from_micros(5), now: || NOW.get(), ..Spin::new() }
    }

    #[test]
    fn a_quick_client_is_spun_for() {
        let mut spin = quick();
        assert_eq!(wait(&mut spin, 1, LOOK), (2, false));
        assert_eq!(wait(&mut spin, 1_000, LOOK), (167, true), "for 50 microseconds");
    }

    #[test]
    fn a_device_that_is_busy_is_not_spun_for() {
        let mut spin = quick();
        assert_eq!(wait_beside(&mut spin, *SPINNERS_MAX, 1, LOOK), (0, true));
        assert_eq!(wait(&mut spin, 1, LOOK), (2, false));
    }

    #[test]
    fn pauses_have_to_be_short() {
        let mut spin = Spin { now: || NOW.get(), ..Spin::new() };
        for _ in 0..4 {
            assert_eq!(wait(&mut spin, 0, LOOK), (0, true), "not for a client whose pauses are not known");
        }
        assert_eq!(wait(&mut spin, 0, LOOK), (1, false));
    }

    #[test]
    fn spins_that_find_nothing_get_rare() {
        let mut spin = quick();
        for sleeps in [4, 8, 16, 32] {
            spin.pause = Duration::from_micros(5);
            assert_eq!(wait(&mut spin, 1_000, LOOK), (167, true));
            for _ in 0..sleeps {
                assert_eq!(wait(&mut spin, 0, LOOK), (0, true));
            }
        }
        assert_eq!(wait(&mut spin, 0, LOOK), (1, false));
        assert_eq!(spin.penalty, 32, "one that finds something makes up for one that did not");
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
