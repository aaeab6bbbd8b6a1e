//! Paces writers to what comes free: the state beside [`policy::pace`].

use std::time::Duration;

use esker_io::sync::{
    Mutex,
    atomic::{AtomicU64, Ordering},
};

use crate::core::policy::pace;

/// A bound, how fast room below it comes back, and until when writers have used it up. One for each bound: a volume's
/// and the daemon's.
#[derive(Debug)]
pub(crate) struct Pacer {
    bound: u64,
    soft: u64,
    /// Bytes a second that come back, smoothed.
    drain: AtomicU64,
    /// Monotonic nanoseconds.
    until: AtomicU64,
    /// Since when room was wanted and none came: only that time says how fast it comes.
    since: Mutex<Option<Duration>>,
}

impl Pacer {
    pub(crate) fn new(bound: u64) -> Self {
        Self {
            bound,
            soft: pace::soft(bound),
            drain: AtomicU64::new(pace::DRAIN_FIRST),
            until: AtomicU64::new(0),
            since: Mutex::new(None),
        }
    }

    /// The bound.
    pub(crate) fn bound(&self) -> u64 {
        self.bound
    }

    /// Whether writers are paced.
    pub(crate) fn paces(&self, dirty: u64) -> bool {
        dirty >= self.soft
    }

    /// How long to pause after `bytes` more, when `dirty` are out in all.
    pub(crate) fn pause(&self, bytes: u64, dirty: u64, now: Duration) -> Duration {
        if !self.paces(dirty) {
            return Duration::ZERO;
        }
        self.since.lock().get_or_insert(now);
        let rate = pace::rate(dirty, self.bound, self.drain.load(Ordering::Relaxed));
        let now = now.as_nanos() as u64;
        let fill = |until| Some(pace::filled(until, now, bytes, rate));
        let before = self.until.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fill);
        let until = pace::filled(before.expect("it is always filled"), now, bytes, rate);
        Duration::from_nanos(until - now)
    }

    /// Learns that `bytes` came back, and `dirty` are still out.
    pub(crate) fn came_back(&self, bytes: u64, dirty: u64, now: Duration) {
        let mut since = self.since.lock();
        if let Some(since) = *since {
            let drain = self.drain.load(Ordering::Relaxed);
            let drain = pace::smoothed(drain, bytes, now.saturating_sub(since));
            self.drain.store(drain, Ordering::Relaxed);
        }
        *since = self.paces(dirty).then_some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn all_connections_share_one_rate() {
        let pacer = Pacer::new(1024 * MIB);
        assert_eq!(pacer.pause(MIB, 600 * MIB, Duration::ZERO), Duration::ZERO);
        let first = pacer.pause(MIB, 700 * MIB, Duration::from_secs(1));
        let second = pacer.pause(MIB, 700 * MIB, Duration::from_secs(1));
        assert!(first > Duration::from_millis(5) && second == 2 * first, "{first:?}, {second:?}");
        let later = pacer.pause(0, 700 * MIB, Duration::from_secs(1) + first);
        assert_eq!(later, first, "what is left of the pause");
    }

    #[test]
    fn only_time_under_pressure_is_measured() {
        let pacer = Pacer::new(1024 * MIB);
        pacer.came_back(32 * MIB, 100 * MIB, Duration::from_secs(100));
        assert_eq!(pacer.drain.load(Ordering::Relaxed), pace::DRAIN_FIRST);
        pacer.pause(MIB, 700 * MIB, Duration::from_secs(200));
        pacer.came_back(32 * MIB, 690 * MIB, Duration::from_millis(200_100));
        let faster = pacer.drain.load(Ordering::Relaxed);
        assert!(faster > pace::DRAIN_FIRST);
        pacer.came_back(32 * MIB, 600 * MIB, Duration::from_millis(200_200));
        assert!(pacer.drain.load(Ordering::Relaxed) > faster);
        pacer.came_back(32 * MIB, 100 * MIB, Duration::from_secs(300));
        pacer.came_back(32 * MIB, 100 * MIB, Duration::from_secs(400));
        assert!(pacer.drain.load(Ordering::Relaxed) > faster, "an idle minute is no slow store");
    }
}
