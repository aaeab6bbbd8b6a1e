//! What a breaker knows and decides. Time and chance come from outside.

use std::time::Duration;

use super::BreakerState;

/// So many stretches of a second are looked back on.
const STRETCHES: usize = 10;
const STRETCH: Duration = Duration::from_secs(1);
/// Fewer failures say nothing.
const FAILURES_MIN: u64 = 8;
/// One object that fails again and again says nothing of the store.
const OBJECTS_MIN: usize = 2;
/// For so long after a pause the next probe is not for the object whose probe has just failed: that object may be what is
/// broken, and others would wait for it.
const OTHERS_FIRST: Duration = Duration::from_secs(1);
/// The first pause; it doubles with each probe that fails.
const PAUSE_FIRST: Duration = Duration::from_secs(1);
/// No pause is longer, so that what waits is under way soon after the store is back.
const PAUSE_MAX: Duration = Duration::from_secs(8);
/// A probe without an answer for so long does not keep the next one from being sent.
const PROBE_TIME: Duration = Duration::from_secs(10);
/// No store's wish to be left alone counts for longer.
const THROTTLE_MAX: Duration = Duration::from_secs(60);

/// A request that was let pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ticket {
    /// The change of state that it followed.
    round: u64,
    probe: bool,
    object: Object,
}

/// A name, as far as it has to be told from others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Object(u64);

impl Object {
    pub(super) fn named(name: &str) -> Self {
        let mix = |sum: u64, byte: u8| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        Self(name.bytes().fold(0xcbf2_9ce4_8422_2325, mix))
    }
}

impl Ticket {
    pub(super) fn is_probe(self) -> bool {
        self.probe
    }
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The store answered, if only to refuse.
    Answered,
    /// It did not, or said that it cannot.
    Failed,
    /// It asks for less, and to be left alone for so long.
    Throttled(Duration),
    /// Nobody waited for it.
    Dropped,
}

#[derive(Debug, Clone, Copy)]
enum Gate {
    Closed,
    Open { until: Duration, pause: Duration },
    Probing { since: Duration, pause: Duration },
}

/// One second's answers.
#[derive(Debug, Clone, Copy, Default)]
struct Stretch {
    number: u64,
    answers: u64,
    failures: u64,
}

#[derive(Debug)]
pub(super) struct State {
    gate: Gate,
    round: u64,
    opened: u64,
    /// The store asked to be left alone until then.
    throttled_until: Duration,
    recent: [Stretch; STRETCHES],
    /// Different objects that failed last, and when.
    failing: [(Object, Duration); OBJECTS_MIN],
    /// Whose probe has just failed.
    probed: Option<Object>,
}

impl State {
    pub(super) fn new() -> Self {
        Self {
            gate: Gate::Closed,
            round: 0,
            opened: 0,
            throttled_until: Duration::ZERO,
            recent: [Stretch::default(); STRETCHES],
            failing: [(Object::default(), Duration::ZERO); OBJECTS_MIN],
            probed: None,
        }
    }

    pub(super) fn shown(&self) -> BreakerState {
        match self.gate {
            Gate::Closed => BreakerState::Closed,
            Gate::Open { .. } => BreakerState::Open,
            Gate::Probing { .. } => BreakerState::Probing,
        }
    }

    pub(super) fn opened(&self) -> u64 {
        self.opened
    }

    /// Lets a request pass, or says when the next one may.
    pub(super) fn admit(&mut self, object: Object, now: Duration) -> Result<Ticket, Duration> {
        let (from, pause) = match self.gate {
            Gate::Closed => return Ok(Ticket { round: self.round, probe: false, object }),
            Gate::Open { until, pause } if self.probed == Some(object) => (until + OTHERS_FIRST, pause),
            Gate::Open { until, pause } => (until, pause),
            Gate::Probing { since, pause } => (since + PROBE_TIME, pause),
        };
        if now < from {
            return Err(from);
        }
        self.enter(Gate::Probing { since: now, pause });
        Ok(Ticket { round: self.round, probe: true, object })
    }

    /// When somebody may try again, if that is not now.
    pub(super) fn next_try(&self, now: Duration) -> Option<Duration> {
        let at = match self.gate {
            Gate::Closed => self.throttled_until,
            Gate::Open { until, .. } => until,
            Gate::Probing { since, .. } => since + PROBE_TIME,
        };
        (now < at).then_some(at)
    }

    /// Takes the outcome of a request. `jitter` draws a time up to the longest. True when the gate has moved.
    pub(super) fn settle(
        &mut self,
        ticket: Ticket,
        outcome: Outcome,
        now: Duration,
        jitter: impl Fn(Duration) -> Duration,
    ) -> bool {
        if let Outcome::Throttled(pause) = outcome {
            self.throttled_until = self.throttled_until.max(now + pause.min(THROTTLE_MAX));
        }
        match (self.gate, outcome) {
            (Gate::Closed, Outcome::Dropped) => false,
            (Gate::Closed, _) => {
                self.count(ticket, outcome != Outcome::Answered, now) && self.open(PAUSE_FIRST, now, jitter)
            }
            // However late it comes: the store is there.
            (_, Outcome::Answered) if ticket.probe => {
                self.recent = [Stretch::default(); STRETCHES];
                self.failing = [(Object::default(), Duration::ZERO); OBJECTS_MIN];
                self.probed = None;
                self.throttled_until = Duration::ZERO;
                self.enter(Gate::Closed)
            }
            (Gate::Probing { pause, .. }, outcome) if ticket.round == self.round => match outcome {
                Outcome::Dropped => self.enter(Gate::Open { until: now, pause }),
                _ => {
                    self.probed = Some(ticket.object);
                    self.open((pause * 2).min(PAUSE_MAX), now, jitter)
                }
            },
            // Sent before the gate moved: it says nothing about now.
            _ => false,
        }
    }

    fn enter(&mut self, gate: Gate) -> bool {
        self.gate = gate;
        self.round += 1;
        true
    }

    fn open(&mut self, pause: Duration, now: Duration, jitter: impl Fn(Duration) -> Duration) -> bool {
        if matches!(self.gate, Gate::Closed) {
            self.opened += 1;
        }
        let until = now + pause / 2 + jitter(pause / 2);
        self.enter(Gate::Open { until: until.max(self.throttled_until), pause })
    }

    /// Counts an answer; true when there were too many failures of late.
    fn count(&mut self, ticket: Ticket, failed: bool, now: Duration) -> bool {
        if ticket.round != self.round {
            return false;
        }
        let number = (now.as_micros() / STRETCH.as_micros()) as u64;
        let stretch = &mut self.recent[(number % STRETCHES as u64) as usize];
        if stretch.number != number {
            *stretch = Stretch { number, ..Stretch::default() };
        }
        stretch.answers += 1;
        stretch.failures += u64::from(failed);
        let recent = self.recent.iter().filter(|stretch| stretch.number + STRETCHES as u64 > number);
        let (answers, failures) = recent.fold((0, 0), |(answers, failures), stretch| {
            (answers + stretch.answers, failures + stretch.failures)
        });
        if failed {
            self.note(ticket.object, now);
        }
        failed && failures >= FAILURES_MIN && failures * 2 >= answers && self.several(now)
    }

    /// Remembers which objects failed last, each once, the latest first.
    fn note(&mut self, object: Object, now: Duration) {
        let known = self.failing.iter().position(|(known, _)| *known == object);
        let place = known.unwrap_or(OBJECTS_MIN - 1);
        self.failing[..=place].rotate_right(1);
        self.failing[0] = (object, now);
    }

    /// Whether several objects have failed of late.
    fn several(&self, now: Duration) -> bool {
        let late = STRETCH * STRETCHES as u32;
        self.failing.iter().all(|(object, at)| *object != Object::default() && now.saturating_sub(*at) < late)
    }
}

#[cfg(test)]
mod tests;
