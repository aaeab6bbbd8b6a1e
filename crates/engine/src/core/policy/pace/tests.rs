use super::*;

const MIB: u64 = 1 << 20;
const MS: u64 = 1_000_000;

/// A volume with a bound, a guest that writes as fast as it may, and a store that gives room back in lumps.
struct Model {
    bound: u64,
    lump: u64,
    drain: u64,
    until: u64,
    dirty: u64,
    now: u64,
    measured_since: Option<u64>,
    /// When the lump that is sealed now comes back.
    lump_left_ns: Option<u64>,
}

/// What a stretch of time looked like.
#[derive(Debug, Default)]
struct Seen {
    written: u64,
    longest_gap_ms: u64,
    dirty_max: u64,
    dirty_min: u64,
}

impl Model {
    fn new(bound: u64, lump: u64) -> Self {
        Self {
            bound,
            lump,
            drain: DRAIN_FIRST,
            until: 0,
            dirty: 0,
            now: 0,
            measured_since: None,
            lump_left_ns: None,
        }
    }

    /// Runs for so long with a store that takes `store` bytes a second, in steps of 50 µs. A guest hands in a batch
    /// as soon as it may, at 500 MB/s at most.
    fn run(&mut self, ms: u64, store: u64, batch: u64) -> Seen {
        let mut seen = Seen { dirty_min: u64::MAX, ..Seen::default() };
        let (end, step) = (self.now + ms * MS, 50_000);
        let (mut last_write, mut free_at) = (self.now, self.now);
        while self.now < end {
            self.give_back(store, step);
            while self.until.max(free_at) <= self.now && self.dirty < self.bound {
                self.dirty += batch;
                seen.written += batch;
                seen.longest_gap_ms = seen.longest_gap_ms.max((self.now - last_write) / MS);
                last_write = self.now;
                // Where it was held up before, it does not make up for it.
                free_at = free_at.max(self.now.saturating_sub(step)) + batch * 2;
                self.pause(batch);
            }
            seen.dirty_max = seen.dirty_max.max(self.dirty);
            seen.dirty_min = seen.dirty_min.min(self.dirty);
            self.now += step;
        }
        seen.longest_gap_ms = seen.longest_gap_ms.max((self.now - last_write) / MS);
        seen
    }

    fn pause(&mut self, batch: u64) {
        if self.dirty >= soft(self.bound) {
            self.measured_since.get_or_insert(self.now);
            let rate = rate(self.dirty, self.bound, self.drain);
            self.until = filled(self.until, self.now, batch, rate);
        }
    }

    fn give_back(&mut self, store: u64, step: u64) {
        if self.lump_left_ns.is_none() && self.dirty >= self.lump {
            self.lump_left_ns = Some(0);
        }
        let Some(done) = &mut self.lump_left_ns else { return };
        // Counted in bytes times nanoseconds, so that the store's speed may change meanwhile.
        *done += store * step;
        if *done >= self.lump * 1_000 * MS {
            self.lump_left_ns = None;
            self.dirty -= self.lump;
            if let Some(since) = self.measured_since.take() {
                self.drain = smoothed(self.drain, self.lump, Duration::from_nanos(self.now - since));
            }
            if self.dirty >= soft(self.bound) {
                self.measured_since = Some(self.now);
            }
        }
    }
}

#[test]
fn full_speed_becomes_the_stores_speed_without_a_stop() {
    for (bound, store) in [(1024, 200), (1024, 40), (256, 200), (256, 100), (256, 40)] {
        for batch in [4 << 10, 128 << 10] {
            // The most that one commit gives back where writers are paced.
            let mut model = Model::new(bound * MIB, bound / 8 * MIB);
            let start = model.run(10_000, store * MIB, batch);
            let then = model.run(20_000, store * MIB, batch);
            let case = format!("bound {bound} MiB, store {store} MiB/s, batch {batch}: {start:?} {then:?}");
            assert!(start.longest_gap_ms < 20 && then.longest_gap_ms < 20, "{case}");
            assert!(start.dirty_max < bound * MIB, "{case}");
            assert!(then.dirty_max < bound * MIB / 16 * 15 + batch, "{case}");
            // Nothing is lost by it: the store is never without work.
            assert!(then.written * 100 >= 20 * store * MIB * 97, "{case}");
        }
    }
}

#[test]
fn a_store_that_becomes_slow_is_followed_without_a_stop() {
    for batch in [4 << 10, 128 << 10] {
        let mut model = Model::new(1024 * MIB, 128 * MIB);
        model.run(20_000, 150 * MIB, batch);
        let slow = model.run(20_000, 50 * MIB, batch);
        let fast = model.run(20_000, 150 * MIB, batch);
        assert!(slow.longest_gap_ms < 20 && slow.dirty_max < 1024 * MIB, "{slow:?}");
        assert!(fast.longest_gap_ms < 20 && fast.dirty_max < 1024 * MIB, "{fast:?}");
        assert!(fast.written >= 20 * 150 * MIB / 100 * 90, "{fast:?}");
    }
}

#[test]
fn a_store_that_is_away_lets_writers_creep_to_the_bound() {
    let mut model = Model::new(256 * MIB, 32 * MIB);
    model.run(20_000, 100 * MIB, 4 << 10);
    // On the way to the bound nobody waits for long.
    let creeping = model.run(500, 0, 4 << 10);
    assert!(creeping.longest_gap_ms < 5, "{creeping:?}");
    let away = model.run(60_000, 0, 4 << 10);
    assert_eq!(away.dirty_max, 256 * MIB);
    // Back again: the first lump takes its time, then nobody waits.
    model.run(400, 100 * MIB, 4 << 10);
    let back = model.run(10_000, 100 * MIB, 4 << 10);
    assert!(back.longest_gap_ms < 20 && back.dirty_max < 256 * MIB, "{back:?}");
    assert!(back.written >= 10 * 100 * MIB / 100 * 75, "{back:?}");
}

#[test]
fn many_lumps_at_once_are_one_observation() {
    let mut drain = 100 * MIB;
    for _ in 0..3 {
        drain = smoothed(drain, 32 * MIB, Duration::from_micros(10));
    }
    assert!(drain < 150 * MIB, "{drain}");
    assert!(smoothed(100 * MIB, 32 * MIB, Duration::from_secs(3_600)) > 10 * MIB);
}

#[test]
fn a_pause_has_a_bound() {
    assert_eq!(filled(0, 5, 1_000, 1_000_000_000), 1_005);
    assert_eq!(filled(1_005, 5, 1_000, 1_000_000_000), 2_005);
    assert_eq!(filled(u64::MAX, 0, u64::MAX, 0), PAUSE_MAX.as_nanos() as u64);
    assert_eq!(rate(u64::MAX, 0, 0), RATE_MIN);
}
