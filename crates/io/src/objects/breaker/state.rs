//! What a breaker knows and decides. Time and chance come from outside.

use std::time::Duration;

use super::BreakerState;

/// So many stretches of a second are looked back on.
const STRETCHES: usize = 10;
const STRETCH: Duration = Duration::from_secs(1);
/// Fewer failures say nothing.
const FAILURES_MIN: u64 = 8;
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
}

impl State {
    pub(super) fn new() -> Self {
        Self {
            gate: Gate::Closed,
            round: 0,
            opened: 0,
            throttled_until: Duration::ZERO,
            recent: [Stretch::default(); STRETCHES],
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
    pub(super) fn admit(&mut self, now: Duration) -> Result<Ticket, Duration> {
        let (from, pause) = match self.gate {
            Gate::Closed => return Ok(Ticket { round: self.round, probe: false }),
            Gate::Open { until, pause } => (until, pause),
            Gate::Probing { since, pause } => (since + PROBE_TIME, pause),
        };
        if now < from {
            return Err(from);
        }
        self.enter(Gate::Probing { since: now, pause });
        Ok(Ticket { round: self.round, probe: true })
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
            (Gate::Closed, _) => self.count(ticket, outcome != Outcome::Answered, now) && self.open(PAUSE_FIRST, now, jitter),
            // However late it comes: the store is there.
            (_, Outcome::Answered) if ticket.probe => {
                self.recent = [Stretch::default(); STRETCHES];
                self.throttled_until = Duration::ZERO;
                self.enter(Gate::Closed)
            }
            (Gate::Probing { pause, .. }, outcome) if ticket.round == self.round => match outcome {
                Outcome::Dropped => self.enter(Gate::Open { until: now, pause }),
                _ => self.open((pause * 2).min(PAUSE_MAX), now, jitter),
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
        failed && failures >= FAILURES_MIN && failures * 2 >= answers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn longest(most: Duration) -> Duration {
        most
    }

    fn answer(state: &mut State, outcome: Outcome, now: Duration) -> bool {
        let ticket = state.admit(now).unwrap();
        state.settle(ticket, outcome, now, longest)
    }

    fn opened(now: Duration) -> State {
        let mut state = State::new();
        for _ in 1..FAILURES_MIN {
            assert!(!answer(&mut state, Outcome::Failed, now));
        }
        assert!(answer(&mut state, Outcome::Failed, now));
        state
    }

    #[test]
    fn few_failures_or_a_small_share_open_nothing() {
        let mut state = State::new();
        for round in 0..100 {
            let outcome = if round % 3 == 0 { Outcome::Failed } else { Outcome::Answered };
            assert!(!answer(&mut state, outcome, SECOND));
        }
        let mut state = State::new();
        for second in 0..100 {
            assert!(!answer(&mut state, Outcome::Failed, SECOND * second * 2), "5 in any 10 s");
        }
    }

    #[test]
    fn many_failures_open_it_and_a_probe_closes_it() {
        let mut state = opened(SECOND);
        assert_eq!(state.admit(SECOND), Err(SECOND + PAUSE_FIRST));
        let now = SECOND + PAUSE_FIRST;
        let probe = state.admit(now).unwrap();
        assert!(probe.is_probe());
        assert_eq!(state.admit(now), Err(now + PROBE_TIME), "one probe at a time");
        assert!(state.settle(probe, Outcome::Answered, now, longest));
        assert_eq!(state.shown(), BreakerState::Closed);
        assert!(!answer(&mut state, Outcome::Failed, now), "it begins to count anew");
    }

    #[test]
    fn each_probe_that_fails_doubles_the_pause_up_to_its_bound() {
        let mut state = opened(SECOND);
        let mut now = SECOND + PAUSE_FIRST;
        let mut pauses = Vec::new();
        for _ in 0..6 {
            let probe = state.admit(now).unwrap();
            state.settle(probe, Outcome::Failed, now, longest);
            let next = state.next_try(now).unwrap();
            pauses.push((next - now).as_secs());
            now = next;
        }
        assert_eq!(pauses, [2, 4, 8, 8, 8, 8]);
        assert_eq!(state.opened(), 1, "it never closed in between");
    }

    #[test]
    fn a_probe_that_is_dropped_makes_room_for_the_next() {
        let mut state = opened(SECOND);
        let now = SECOND + PAUSE_FIRST;
        let probe = state.admit(now).unwrap();
        state.settle(probe, Outcome::Dropped, now, longest);
        assert!(state.admit(now).unwrap().is_probe());
    }

    #[test]
    fn a_probe_without_an_answer_is_followed_by_another_and_its_late_answer_counts() {
        let mut state = opened(SECOND);
        let now = SECOND + PAUSE_FIRST;
        let slow = state.admit(now).unwrap();
        let second = state.admit(now + PROBE_TIME).unwrap();
        assert!(second.is_probe());
        assert!(!state.settle(slow, Outcome::Failed, now + PROBE_TIME, longest), "that of an old probe says nothing");
        assert!(state.settle(slow, Outcome::Answered, now + PROBE_TIME, longest));
        assert_eq!(state.shown(), BreakerState::Closed);
    }

    #[test]
    fn what_was_sent_before_says_nothing_about_now() {
        let mut state = State::new();
        let old = state.admit(SECOND).unwrap();
        for _ in 0..FAILURES_MIN {
            answer(&mut state, Outcome::Failed, SECOND);
        }
        assert!(!state.settle(old, Outcome::Answered, SECOND, longest));
        assert_eq!(state.shown(), BreakerState::Open);
    }

    #[test]
    fn a_store_that_throttles_is_left_alone_for_as_long_as_it_says() {
        let mut state = State::new();
        answer(&mut state, Outcome::Throttled(SECOND * 5), SECOND);
        assert_eq!(state.next_try(SECOND), Some(SECOND * 6));
        assert!(state.admit(SECOND).is_ok(), "first tries go on");
        for _ in 1..FAILURES_MIN {
            answer(&mut state, Outcome::Throttled(SECOND * 3_600), SECOND);
        }
        assert_eq!(state.next_try(SECOND), Some(SECOND + THROTTLE_MAX), "no wish lasts longer");
    }
}
