use super::*;

const SECOND: Duration = Duration::from_secs(1);
const ONE: Object = Object(1_001);
const OTHER: Object = Object(1_002);

fn longest(most: Duration) -> Duration {
    most
}

fn answer(state: &mut State, outcome: Outcome, now: Duration) -> bool {
    // Each for an object of its own.
    let object = Object(1 + state.recent.iter().map(|stretch| stretch.answers).sum::<u64>());
    let ticket = state.admit(object, now).unwrap();
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
    assert_eq!(state.admit(ONE, SECOND), Err(SECOND + PAUSE_FIRST));
    let now = SECOND + PAUSE_FIRST;
    let probe = state.admit(ONE, now).unwrap();
    assert!(probe.is_probe());
    assert_eq!(state.admit(ONE, now), Err(now + PROBE_TIME), "one probe at a time");
    assert!(state.settle(probe, Outcome::Answered, now, longest));
    assert_eq!(state.shown(), BreakerState::Closed);
    assert!(!answer(&mut state, Outcome::Failed, now), "it begins to count anew");
}

#[test]
fn each_probe_that_fails_doubles_the_pause_up_to_its_bound() {
    let mut state = opened(SECOND);
    let mut now = SECOND + PAUSE_FIRST;
    let mut pauses = Vec::new();
    for round in 0..6 {
        let object = if round % 2 == 0 { ONE } else { OTHER };
        let probe = state.admit(object, now).unwrap();
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
    let probe = state.admit(ONE, now).unwrap();
    state.settle(probe, Outcome::Dropped, now, longest);
    assert!(state.admit(ONE, now).unwrap().is_probe());
}

#[test]
fn a_probe_without_an_answer_is_followed_by_another_and_its_late_answer_counts() {
    let mut state = opened(SECOND);
    let now = SECOND + PAUSE_FIRST;
    let slow = state.admit(ONE, now).unwrap();
    let second = state.admit(ONE, now + PROBE_TIME).unwrap();
    assert!(second.is_probe());
    assert!(
        !state.settle(slow, Outcome::Failed, now + PROBE_TIME, longest),
        "that of an old probe says nothing"
    );
    assert!(state.settle(slow, Outcome::Answered, now + PROBE_TIME, longest));
    assert_eq!(state.shown(), BreakerState::Closed);
}

#[test]
fn what_was_sent_before_says_nothing_about_now() {
    let mut state = State::new();
    let old = state.admit(ONE, SECOND).unwrap();
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
    assert!(state.admit(ONE, SECOND).is_ok(), "first tries go on");
    for _ in 1..FAILURES_MIN {
        answer(&mut state, Outcome::Throttled(SECOND * 3_600), SECOND);
    }
    assert_eq!(state.next_try(SECOND), Some(SECOND + THROTTLE_MAX), "no wish lasts longer");
}

#[test]
fn one_object_that_fails_for_ever_is_not_the_store() {
    let mut state = State::new();
    for second in 0..100 {
        let ticket = state.admit(ONE, SECOND * second / 10).unwrap();
        assert!(!state.settle(ticket, Outcome::Failed, SECOND * second / 10, longest));
    }
}

#[test]
fn an_object_whose_probe_failed_lets_others_go_first() {
    let mut state = opened(SECOND);
    let now = SECOND + PAUSE_FIRST;
    let probe = state.admit(ONE, now).unwrap();
    state.settle(probe, Outcome::Failed, now, longest);
    let next = state.next_try(now).unwrap();
    assert_eq!(state.admit(ONE, next), Err(next + OTHERS_FIRST));
    assert!(state.admit(OTHER, next).unwrap().is_probe());
    // Where there are no others it has its turn.
    let mut state = opened(SECOND);
    let probe = state.admit(ONE, now).unwrap();
    state.settle(probe, Outcome::Failed, now, longest);
    assert!(state.admit(ONE, next + OTHERS_FIRST).unwrap().is_probe());
}
