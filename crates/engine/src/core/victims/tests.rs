use super::*;

const MIB: u64 = 1 << 20;

fn id(counter: u32) -> SegmentId {
    SegmentId { writer: 1, counter }
}

fn part(counter: u32, live: u32) -> Part {
    Part {
        segment: id(counter),
        sealed: 1_000,
        slots: 1_000,
        live,
        tail: false,
        whole: false,
        in_flight: false,
        open: false,
    }
}

fn object(parts: impl IntoIterator<Item = Part>) -> Object {
    let parts: Vec<Part> = parts.into_iter().collect();
    Object { bytes: 4 * MIB * parts.len() as u64, parts }
}

fn limits() -> Limits {
    Limits { start_percent: 70, stop_percent: 75, bytes_max: u64::MAX, bundle_bytes: 4 * MIB }
}

fn reasons(plan: &Plan) -> Vec<Reason> {
    plan.verdicts.iter().map(|verdict| verdict.reason).collect()
}

#[test]
fn nothing_is_done_while_enough_lives() {
    let plan = plan(&[object([part(1, 401)]), object([part(2, 1_000)])], &limits());
    assert_eq!((plan.now.percent(), reasons(&plan)), (70, vec![Reason::Enough, Reason::Full]));
    assert!(plan.bundles.is_empty() && plan.now == plan.then);
}

#[test]
fn the_best_goes_first_and_then_it_is_enough() {
    let objects: Vec<Object> =
        [500, 200, 900, 800, 860].into_iter().zip(1..).map(|(live, at)| object([part(at, live)])).collect();
    let plan = plan(&objects, &limits());
    assert_eq!(plan.now.percent(), 65);
    use Reason::{Enough, Full, Rewrite};
    assert_eq!(reasons(&plan), [Enough, Rewrite, Full, Enough, Enough]);
    assert_eq!(plan.bundles, [vec![id(2)]]);
    assert!(plan.then.percent() >= 75);
}

#[test]
fn what_is_in_flight_in_a_tail_or_dead_is_left_alone() {
    let flying = Part { in_flight: true, ..part(1, 0) };
    let tail = Part { tail: true, whole: true, ..part(2, 10) };
    let plan =
        plan(&[object([flying]), object([tail]), object([part(3, 0)]), object([part(4, 300)])], &limits());
    assert_eq!(reasons(&plan), [Reason::InFlight, Reason::Tail, Reason::Dead, Reason::Rewrite]);
    // The first and the third are not counted.
    assert_eq!((plan.now.live_bytes, plan.now.stored_bytes), (1_300_234, 8 * MIB));
}

#[test]
fn almost_empty_segments_are_written_again_by_their_owner() {
    let open = |part| Part { open: true, ..part };
    let objects = [
        object([open(part(1, 62))]),
        object([open(part(2, 63))]),
        object([part(3, 62)]),
        // A remnant: it is the segment that is almost empty, not its object.
        object([Part { slots: 60, ..open(part(4, 40)) }]),
    ];
    let plan = plan(&objects, &limits());
    assert_eq!(reasons(&plan), [Reason::Reseal, Reason::Rewrite, Reason::Rewrite, Reason::Reseal]);
    assert_eq!(plan.reseals, [id(1), id(4)]);
    assert_eq!(plan.bundles, [vec![id(2), id(3)]]);
}

#[test]
fn a_bundle_is_rewritten_whole() {
    let bundle = object([part(7, 0), part(8, 900), part(9, 100)]);
    let plan = plan(&[bundle], &limits());
    assert_eq!(reasons(&plan), [Reason::Dead, Reason::Rewrite, Reason::Rewrite]);
    assert_eq!((plan.now.percent(), plan.then.percent()), (33, 100));
    assert_eq!(plan.bundles, [vec![id(8), id(9)]]);
}

#[test]
fn a_round_has_a_bound() {
    let objects: Vec<Object> = (1..=4).map(|at| object([part(at, 500)])).collect();
    let plan = plan(&objects, &Limits { bytes_max: 3 * MIB, ..limits() });
    assert_eq!(plan.verdicts.iter().filter(|verdict| verdict.reason == Reason::Bound).count(), 3);
    // Of equals the oldest.
    assert_eq!(plan.bundles, [vec![id(1)]]);
}

#[test]
fn bundles_are_filled_with_neighbours_in_age() {
    let objects: Vec<Object> = (1..=8).rev().map(|at| object([part(at, 400)])).collect();
    let plan = plan(&objects, &limits());
    let all: Vec<SegmentId> = plan.bundles.concat();
    assert!(all.is_sorted() && plan.bundles.iter().all(|bundle| bundle.len() <= 2), "{:?}", plan.bundles);
    assert!(plan.then.percent() >= 75);
}

/// Whoever opens the head reads its index, so it stays; what it holds need not.
#[test]
fn what_a_tail_hides_is_rewritten_though_nothing_of_it_shows() {
    let named = |counter, live| Part { tail: true, ..part(counter, live) };
    let bundle = object([named(3, 0), part(4, 0)]);
    let plan = plan(&[object([named(1, 0)]), object([named(2, 300)]), bundle], &limits());
    assert_eq!(reasons(&plan), [Reason::Rewrite, Reason::Rewrite, Reason::Rewrite, Reason::Dead]);
    // A rewrite of which nothing is left has nothing to lose.
    let left = Part { slots: 0, ..named(5, 0) };
    let plan = super::plan(&[object([left]), object([part(6, 100)])], &limits());
    assert_eq!(reasons(&plan), [Reason::Full, Reason::Rewrite]);
}

#[test]
fn segments_without_slots_divide_nothing() {
    let empty = Part { sealed: 0, slots: 0, tail: true, ..part(1, 0) };
    let plan = plan(&[object([empty]), Object { bytes: 0, parts: Vec::new() }], &limits());
    assert_eq!(reasons(&plan), [Reason::Full]);
    assert_eq!((plan.now.percent(), plan.verdicts[0].dead_bytes()), (0, 4 * MIB));
}
