//! A set of slots of one segment: those that are alive, or those that somebody holds.
//!
//! ```text
//! runs  │ first u16 │ last u16 │ …      sorted, no two touch; while they take no more than the bits would
//! bits  │ one for each slot up to the highest: 8 KiB for 65,536
//! ```
//! So a set takes at most one bit for each slot of its segment, besides [`Slots`] itself: 32 MiB for a TiB of blocks
//! that are kept and given up one by one. Of an ordinary image most segments are one run.

#[cfg(test)]
mod tests;

use esker_format::segment::SLOTS_MAX;

/// Consecutive slots, the last one included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    first: u16,
    last: u16,
}

/// Some slots of a segment.
#[derive(Debug, Clone)]
pub struct Slots(Set);

#[derive(Debug, Clone)]
enum Set {
    Runs(Vec<Span>),
    Bits(Vec<u64>),
}

impl Default for Slots {
    fn default() -> Self {
        Self(Set::Runs(Vec::new()))
    }
}

impl PartialEq for Slots {
    fn eq(&self, other: &Self) -> bool {
        self.runs() == other.runs()
    }
}

impl Eq for Slots {}

impl Slots {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        match &self.0 {
            Set::Runs(runs) => runs.is_empty(),
            Set::Bits(words) => words.iter().all(|word| *word == 0),
        }
    }

    /// The slots of these stretches: first and count.
    pub fn of(runs: &[(u16, u32)]) -> Slots {
        let mut slots = Slots::default();
        runs.iter().for_each(|(first, count)| slots.insert(*first, *count));
        slots
    }

    /// Whether any of these is in it.
    pub fn touches(&self, first: u16, count: u32) -> bool {
        !self.overlap(first, count).is_empty()
    }

    /// Without those of another set.
    pub fn without(&self, other: &Slots) -> Slots {
        let mut left = self.clone();
        other.runs().into_iter().for_each(|(first, count)| left.remove(first, count));
        left
    }

    /// How many.
    pub fn count(&self) -> u32 {
        match &self.0 {
            Set::Runs(runs) => runs.iter().map(|run| u32::from(run.last - run.first) + 1).sum(),
            Set::Bits(words) => words.iter().map(|word| word.count_ones()).sum(),
        }
    }

    /// All of them: first slot and count, sorted, no two touch.
    pub fn runs(&self) -> Vec<(u16, u32)> {
        self.overlap(0, SLOTS_MAX)
    }

    /// Those among `count` slots from `first`.
    pub fn overlap(&self, first: u16, count: u32) -> Vec<(u16, u32)> {
        let span = Span::new(first, count);
        match &self.0 {
            Set::Runs(runs) => {
                let from = runs.partition_point(|run| run.last < span.first);
                let inside = runs[from..].iter().take_while(|run| run.first <= span.last);
                inside.map(|run| run.clip(span).told()).collect()
            }
            Set::Bits(words) => {
                let mut found: Vec<(u16, u32)> = Vec::new();
                for (at, mask) in span.words() {
                    let mut word = words.get(at).map_or(0, |word| word & mask);
                    while word != 0 {
                        let start = word.trailing_zeros();
                        let length = (word >> start).trailing_ones();
                        push(&mut found, (at * 64) as u32 + start, length);
                        let taken = if length == 64 { u64::MAX } else { ((1 << length) - 1) << start };
                        word &= !taken;
                    }
                }
                found
            }
        }
    }

    /// Adds `count` slots from `first`. Panics beyond the last slot that a segment can have.
    pub fn insert(&mut self, first: u16, count: u32) {
        let span = Span::new(first, count);
        match &mut self.0 {
            Set::Runs(runs) => insert(runs, span),
            Set::Bits(words) => {
                if words.len() <= span.last_word() {
                    words.resize(span.last_word() + 1, 0);
                }
                span.words().for_each(|(at, mask)| words[at] |= mask);
            }
        }
        self.settle();
    }

    /// Takes `count` slots from `first` away, where they are in.
    pub fn remove(&mut self, first: u16, count: u32) {
        let span = Span::new(first, count);
        match &mut self.0 {
            Set::Runs(runs) => remove(runs, span),
            Set::Bits(words) => {
                for (at, mask) in span.words() {
                    words.get_mut(at).into_iter().for_each(|word| *word &= !mask);
                }
            }
        }
        self.settle();
    }

    /// The memory that it takes.
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>()
            + match &self.0 {
                Set::Runs(runs) => runs.capacity() * size_of::<Span>(),
                Set::Bits(words) => words.capacity() * size_of::<u64>(),
            }
    }

    /// Runs become bits as soon as bits take less; what are bits once stays bits.
    fn settle(&mut self) {
        let Set::Runs(runs) = &self.0 else { return };
        let words = runs.last().map_or(0, |last| last.last_word() + 1);
        if size_of_val::<[_]>(runs) <= words * size_of::<u64>() {
            return;
        }
        let mut bits = vec![0; words];
        for run in runs {
            run.words().for_each(|(at, mask)| bits[at] |= mask);
        }
        self.0 = Set::Bits(bits);
    }
}

impl Span {
    fn new(first: u16, count: u32) -> Self {
        let end = u32::from(first) + count;
        assert!(count > 0 && end <= SLOTS_MAX, "{count} slots from {first} are slots of a segment");
        Self { first, last: (end - 1) as u16 }
    }

    fn told(self) -> (u16, u32) {
        (self.first, u32::from(self.last - self.first) + 1)
    }

    fn clip(self, to: Span) -> Span {
        Span { first: self.first.max(to.first), last: self.last.min(to.last) }
    }

    fn last_word(self) -> usize {
        usize::from(self.last) / 64
    }

    /// The words of bits that it touches, and its bits in each.
    fn words(self) -> impl Iterator<Item = (usize, u64)> {
        let (first, last) = (usize::from(self.first), usize::from(self.last));
        (first / 64..=last / 64).map(move |at| {
            let from = first.saturating_sub(at * 64);
            let to = (last - at * 64).min(63);
            (at, (u64::MAX << from) & (u64::MAX >> (63 - to)))
        })
    }
}

fn insert(runs: &mut Vec<Span>, mut span: Span) {
    // The first that touches it or lies behind it; then the first that does not touch it any more.
    let from = runs.partition_point(|run| u32::from(run.last) + 1 < u32::from(span.first));
    let to = from + runs[from..].partition_point(|run| u32::from(run.first) <= u32::from(span.last) + 1);
    if let [first, ..] = &runs[from..to] {
        let last = runs[to - 1];
        span = Span { first: span.first.min(first.first), last: span.last.max(last.last) };
    }
    if to == from + 1 {
        runs[from] = span;
        return;
    }
    runs.splice(from..to, [span]);
}

fn remove(runs: &mut Vec<Span>, span: Span) {
    let from = runs.partition_point(|run| run.last < span.first);
    let to = from + runs[from..].partition_point(|run| run.first <= span.last);
    let [first, ..] = runs[from..to] else { return };
    let last = runs[to - 1];
    let before = (first.first < span.first).then(|| Span { first: first.first, last: span.first - 1 });
    let behind = (last.last > span.last).then(|| Span { first: span.last + 1, last: last.last });
    runs.splice(from..to, before.into_iter().chain(behind));
}

/// Adds slots that lie behind all of `found`.
fn push(found: &mut Vec<(u16, u32)>, first: u32, count: u32) {
    match found.last_mut() {
        Some((start, before)) if u32::from(*start) + *before == first => *before += count,
        _ => found.push((first as u16, count)),
    }
}
