use super::*;

#[test]
fn every_latency_lies_in_its_bucket() {
    for micros in [5_u64, 7, 8, 999, 1_000, 20_000, 1_000_000, 200_000_000] {
        let at = bucket(Duration::from_micros(micros));
        let (from, to) = (end(at - 1), end(at));
        assert!((from..to).contains(&Duration::from_micros(micros)), "{micros} in {from:?}..{to:?}");
    }
    bucket(Duration::ZERO);
    bucket(Duration::MAX);
}

#[test]
fn quantiles_are_those_of_what_came() {
    let mut latencies = Latencies::new();
    for ms in 1..=100 {
        latencies.record(Duration::from_millis(ms));
    }
    for percent in [50, 95, 99] {
        let (found, exact) = (latencies.within(percent).as_millis() as u64, percent);
        assert!((exact..exact + exact / 4 + 1).contains(&found), "{percent} %: {found} ms");
    }
}

#[test]
fn old_answers_are_forgotten() {
    let mut latencies = Latencies::new();
    (0..10_000).for_each(|_| latencies.record(Duration::from_millis(5)));
    (0..10_000).for_each(|_| latencies.record(Duration::from_millis(500)));
    assert!(latencies.within(50) >= Duration::from_millis(500));
    assert!(latencies.answers() < ANSWERS_MAX);
}
