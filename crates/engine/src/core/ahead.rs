//! What to read ahead of a guest.
//!
//! 1. A fault makes a stream, and the blocks behind it are its first, small window.
//! 2. When the guest reads on to where the newest window begins, the next one is asked for, twice as large. So a window grows
//!    only where the one before was used, and the guest has one window in hand while the next is fetched.
//! 3. Frames that were read ahead are counted, and those of them that were used. When less than a quarter of the last few
//!    was used, faults make no windows for a while; who reads on behind a fault gets one all the same.

use std::ops::Range;

/// Streams of one volume that are followed at a time.
pub const STREAMS: usize = 4;
/// Blocks of the first window.
pub const WINDOW_FIRST: u64 = 16;
/// Blocks of the largest one: 8 MiB.
pub const WINDOW_MAX: u64 = 2048;
/// So many frames are judged together.
const JUDGED_FRAMES: u64 = 64;
/// Faults that make no window once the last ones did not help.
const REST_FAULTS: u32 = 256;
/// Requests of one stream may pass each other by so many blocks.
const DISORDER: u64 = 64;

/// Frames that were read ahead, and those that were used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seen {
    /// Fetched.
    pub fetched: u64,
    /// Of these, read by a guest.
    pub used: u64,
}

#[derive(Debug, Clone, Copy)]
struct Stream {
    /// Behind the last block that was read.
    next: u64,
    /// Behind the newest window.
    ahead: u64,
    /// Where the newest window begins: reading that asks for the next. `u64::MAX` without a window.
    mark: u64,
    window: u64,
}

const NO_STREAM: Stream = Stream { next: u64::MAX, ahead: u64::MAX, mark: u64::MAX, window: WINDOW_FIRST };

/// Follows the reads of one volume.
#[derive(Debug)]
pub struct Detector {
    window_max: u64,
    streams: [Stream; STREAMS],
    /// The stream that gives way next.
    oldest: usize,
    judged: Seen,
    resting: u32,
}

impl Detector {
    /// A detector whose windows have at most so many blocks; with none it asks for nothing.
    pub fn new(window_max: u64) -> Self {
        Self {
            window_max: window_max.min(WINDOW_MAX),
            streams: [NO_STREAM; STREAMS],
            oldest: 0,
            judged: Seen::default(),
            resting: 0,
        }
    }

    /// A read had to wait. Returns the blocks to read ahead.
    pub fn fault(&mut self, lba: u64, blocks: u64, seen: Seen) -> Option<Range<u64>> {
        if self.window_max == 0 {
            return None;
        }
        self.judge(seen);
        let follows = |stream: &Stream| {
            stream.next != u64::MAX
                && lba.saturating_add(DISORDER) >= stream.next
                && lba <= stream.ahead.saturating_add(DISORDER)
        };
        if let Some(stream) = self.streams.iter_mut().find(|stream| follows(stream)) {
            stream.next = stream.next.max(lba + blocks);
            // The guest is in the newest window, or past it.
            let caught_up = stream.mark == u64::MAX || stream.next > stream.mark;
            return caught_up.then(|| stream.extend(self.window_max));
        }
        let next = lba + blocks;
        let mut stream = Stream { next, ahead: next, mark: u64::MAX, window: WINDOW_FIRST / 2 };
        let asked = if self.resting == 0 {
            Some(stream.extend(self.window_max))
        } else {
            self.resting -= 1;
            None
        };
        self.streams[self.oldest] = stream;
        self.oldest = (self.oldest + 1) % STREAMS;
        asked
    }

    /// A read has touched a mark. Returns the blocks to read ahead.
    pub fn reached(&mut self, lba: u64, blocks: u64) -> Option<Range<u64>> {
        let read = lba..lba + blocks;
        let stream = self.streams.iter_mut().find(|stream| read.contains(&stream.mark))?;
        stream.next = read.end;
        Some(stream.extend(self.window_max))
    }

    /// The blocks whose reading is to be told.
    pub fn marks(&self) -> [u64; STREAMS] {
        self.streams.map(|stream| stream.mark)
    }

    fn judge(&mut self, seen: Seen) {
        let fetched = seen.fetched - self.judged.fetched;
        if fetched >= JUDGED_FRAMES {
            let used = seen.used - self.judged.used;
            self.resting = if used * 4 < fetched { REST_FAULTS } else { 0 };
            self.judged = seen;
        }
    }
}

impl Stream {
    fn extend(&mut self, window_max: u64) -> Range<u64> {
        self.window = (self.window * 2).clamp(1, window_max);
        let start = self.ahead.max(self.next);
        self.mark = start;
        self.ahead = start.saturating_add(self.window);
        start..self.ahead
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sequential_reader_is_always_a_window_behind() {
        let mut detector = Detector::new(WINDOW_MAX);
        let mut ahead = 0;
        let mut faults = 0;
        for lba in 0..100_000 {
            let asked = if lba >= ahead {
                faults += 1;
                detector.fault(lba, 1, Seen::default())
            } else if detector.marks().contains(&lba) {
                detector.reached(lba, 1)
            } else {
                None
            };
            if let Some(asked) = asked {
                assert!(asked.start >= ahead.max(lba + 1) && asked.end - asked.start <= WINDOW_MAX);
                ahead = asked.end;
            }
        }
        assert_eq!(faults, 1, "and only its first read waits");
    }

    #[test]
    fn what_does_not_help_stops_and_is_tried_again() {
        let mut detector = Detector::new(WINDOW_MAX);
        let mut seen = Seen::default();
        let mut asked = 0;
        for fault in 0..10_000_u64 {
            if let Some(range) = detector.fault(fault * 7_919 % 1_000_003 * 500, 1, seen) {
                seen.fetched += (range.end - range.start) / 8;
                asked += 1;
            }
        }
        assert!((500..2_000).contains(&asked), "{asked} windows for 10,000 random reads");
        detector.fault(1 << 40, 1, seen);
        assert!(detector.fault((1 << 40) + 1, 1, seen).is_some(), "who reads on is followed");
    }

    #[test]
    fn what_helps_goes_on() {
        let mut detector = Detector::new(WINDOW_MAX);
        let mut seen = Seen::default();
        for fault in 0..10_000_u64 {
            let range = detector.fault(fault * 1_000, 1, seen).expect("half of it is used");
            seen.fetched += (range.end - range.start) / 8;
            seen.used += (range.end - range.start) / 16;
        }
    }

    #[test]
    fn without_memory_nothing_is_asked_for() {
        let mut detector = Detector::new(0);
        assert_eq!(detector.fault(5, 1, Seen::default()), None);
        assert_eq!(detector.marks(), [u64::MAX; STREAMS]);
    }
}
