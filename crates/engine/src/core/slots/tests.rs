use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

/// What a set of numbers says.
#[derive(Default)]
struct Model(BTreeSet<u32>);

impl Model {
    fn runs(&self) -> Vec<(u16, u32)> {
        let mut found = Vec::new();
        self.0.iter().for_each(|slot| push(&mut found, *slot, 1));
        found
    }

    fn within(&self, first: u16, count: u32) -> Vec<(u16, u32)> {
        let mut found = Vec::new();
        let range = u32::from(first)..u32::from(first) + count;
        self.0.range(range).for_each(|slot| push(&mut found, *slot, 1));
        found
    }
}

/// Slots in some part of a segment, so that both forms are met.
fn spans(slots: u32) -> impl Strategy<Value = Vec<(bool, u16, u32)>> {
    let span = (any::<bool>(), 0..slots, 1..40u32)
        .prop_map(move |(add, first, count)| (add, first as u16, count.min(slots - first)));
    prop::collection::vec(span, 1..120)
}

proptest! {
    #[test]
    fn it_is_a_set(spans in prop_oneof![spans(90), spans(2_000), spans(SLOTS_MAX)], asked in 0..2_000u16) {
        let (mut slots, mut model) = (Slots::default(), Model::default());
        for (add, first, count) in spans {
            let range = u32::from(first)..u32::from(first) + count;
            prop_assert_eq!(slots.overlap(first, count), model.within(first, count));
            if add {
                slots.insert(first, count);
                model.0.extend(range);
            } else {
                slots.remove(first, count);
                model.0.retain(|slot| !range.contains(slot));
            }
            prop_assert_eq!(slots.runs(), model.runs());
            prop_assert_eq!(slots.count() as usize, model.0.len());
            prop_assert_eq!(slots.is_empty(), model.0.is_empty());
            prop_assert_eq!(slots.overlap(asked, 300), model.within(asked, 300));
        }
    }
}

#[test]
fn it_takes_no_more_than_a_bit_a_slot() {
    let mut slots = Slots::default();
    for slot in (0..SLOTS_MAX).step_by(2) {
        slots.insert(slot as u16, 1);
        let most = 8 * (slot as usize / 64 + 1);
        // A vector that grows has room for twice as much.
        assert!(slots.memory_bytes() <= size_of::<Slots>() + 2 * most.max(16), "at slot {slot}");
    }
    assert_eq!(slots.count(), SLOTS_MAX / 2);
    assert!(matches!(slots.0, Set::Bits(_)));
}

#[test]
fn an_ordinary_segment_takes_some_tens_of_bytes() {
    let mut slots = Slots::default();
    for slot in 0..8_192 {
        slots.insert(slot, 1);
    }
    slots.remove(4_000, 30);
    assert_eq!(slots.runs(), [(0, 4_000), (4_030, 4_162)]);
    assert!(slots.memory_bytes() <= 48, "{} bytes", slots.memory_bytes());
}

#[test]
#[should_panic(expected = "slots of a segment")]
fn there_are_no_slots_beyond_the_last() {
    Slots::default().insert(u16::MAX, 2);
}
