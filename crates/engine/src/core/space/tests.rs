use std::collections::BTreeSet;

use esker_format::{
    Codec,
    ids::Hash,
    segment::{Frame, Rewrite, SLOTS_MAX},
};
use proptest::prelude::*;

use super::*;

const SEGMENT: SegmentId = SegmentId { writer: 1, counter: 0 };

/// An index of frames with so many blocks and stored bytes.
fn index(frames: &[(u16, u32)]) -> SegmentIndex {
    let (mut slot, mut offset) = (0, 128);
    let mut frame = |&(blocks, stored_bytes): &(u16, u32)| {
        let frame =
            Frame { offset, stored_bytes, first_place: slot, blocks, codec: Codec::Zstd, tag: [0; 16] };
        (slot, offset) = (slot + u32::from(blocks), frame.end());
        frame
    };
    let frames: Vec<Frame> = frames.iter().map(&mut frame).collect();
    let slots = frames.iter().map(|frame| u32::from(frame.blocks)).sum();
    SegmentIndex {
        id: SEGMENT,
        first_sequence: 1,
        last_sequence: 1,
        frames,
        runs: Vec::new(),
        slots,
        rewrite: None,
    }
}

fn frames() -> impl Strategy<Value = Vec<(u16, u32)>> {
    let frame = (1..17u16).prop_flat_map(|blocks| (Just(blocks), 1..=u32::from(blocks) * 4_096));
    let even = (1..17u16, prop::collection::vec(1..=65_536u32, 1..20))
        .prop_map(|(blocks, bytes)| bytes.into_iter().map(|bytes| (blocks, bytes)).collect());
    prop_oneof![prop::collection::vec(frame, 1..20), even]
}

fn holder() -> impl Strategy<Value = Holder> {
    prop_oneof![(0..3u32).prop_map(Holder::Newest), (0..3u32).prop_map(Holder::Older)]
}

/// How a slot is held that these hold.
fn judged(holders: &BTreeSet<Holder>) -> Option<Holder> {
    let volumes: BTreeSet<_> = holders.iter().map(|holder| holder.volume()).collect();
    match volumes.len() {
        0 => None,
        1 => holders.first().copied(),
        _ => Some(Holder::Shared),
    }
}

proptest! {
    #[test]
    fn slots_take_their_part_of_their_frames(frames in frames(), first in any::<u16>(), count in 1..300u32) {
        let index = index(&frames);
        let weights = Weights::of(&index);
        prop_assert_eq!(weights.total(), index.frames.iter().map(|frame| u64::from(frame.stored_bytes)).sum::<u64>());
        prop_assert_eq!(weights.of_slots(0, index.slots), Some(weights.total()));
        // Slot by slot, as it is told.
        let slot_bytes = |slot: u32| {
            let frame = index.frame_of(slot as u16).unwrap();
            let (bytes, blocks) = (frame.stored_bytes, u32::from(frame.blocks));
            u64::from(bytes / blocks + u32::from(slot - frame.first_place < bytes % blocks))
        };
        let first = first % index.slots as u16;
        let end = u32::from(first) + count;
        let expected = (end <= index.slots).then(|| (u32::from(first)..end).map(slot_bytes).sum());
        prop_assert_eq!(weights.of_slots(first, count), expected);
    }

    #[test]
    fn each_slot_is_held_in_one_way(holds in prop::collection::vec((0..120u16, 1..40u32, holder()), 1..40)) {
        let frames: Vec<(u16, u32)> = (0..20).map(|frame| (8, 1_000 + frame * 77)).collect();
        let weights = Weights::of(&index(&frames));
        let mut held = Held::default();
        let mut model: Vec<BTreeSet<Holder>> = vec![BTreeSet::new(); 160];
        for (first, count, by) in holds {
            held.hold(first, count, by);
            let range = usize::from(first)..usize::from(first) + count as usize;
            for holders in &mut model[range] {
                holders.insert(by);
            }
        }
        let mut expected = Sums::default();
        for (slot, holders) in model.iter().enumerate() {
            let bytes = weights.of_slots(slot as u16, 1).unwrap();
            match judged(holders) {
                None => expected.dead += bytes,
                Some(holder) => *expected.held.entry(holder).or_default() += bytes,
            }
        }
        let mut sums = Sums::default();
        sums.add(SEGMENT, &held, &weights).unwrap();
        prop_assert_eq!(sums.live() + sums.dead, weights.total());
        prop_assert_eq!(sums, expected);
    }
}

#[test]
fn slots_that_are_not_there_are_an_error() {
    let weights = Weights::of(&index(&[(8, 100)]));
    let mut held = Held::default();
    held.hold(4, 5, Holder::Shared);
    let error = Sums::default().add(SEGMENT, &held, &weights).unwrap_err();
    assert!(error.contains("5 slots from 4 of segment 000001-000000, which has 8"), "{error}");
}

#[test]
fn of_a_rewrite_the_slots_that_are_left_have_their_bytes() {
    let kept = vec![(2, 3), (10, 2)];
    let rewrite = Some(Rewrite::new(1_000, Hash([1; 32]), kept));
    let weights = Weights::of(&SegmentIndex { rewrite, slots: 16, ..index(&[(4, 103), (1, 50)]) });
    let of = |first, count| weights.of_slots(first, count);
    assert_eq!((of(2, 3), of(10, 1), of(11, 1), of(10, 2)), (Some(78), Some(25), Some(50), Some(75)));
    assert_eq!((of(1, 1), of(2, 4), of(4, 7), of(12, 1)), (None, None, None, None));
    assert_eq!((weights.slots(), weights.total()), (5, 153));
}

#[test]
fn a_tebibyte_takes_what_the_documents_say() {
    let frames: Vec<(u16, u32)> = (0..1_024).map(|_| (8, 32_768)).collect();
    let weights = Weights::of(&index(&frames));
    let mut held = Held::default();
    held.hold(0, 8_192, Holder::Newest(3));
    let segment = weights.memory_bytes() + held.memory_bytes();
    // 32,768 of them.
    assert!(segment <= 2_048 + 400, "{segment} bytes a segment");
    for slot in (0..SLOTS_MAX / 2).step_by(2) {
        held.hold(slot as u16, 1, Holder::Older(4));
    }
    assert!(held.memory_bytes() < 20_000, "{} bytes", held.memory_bytes());
}
