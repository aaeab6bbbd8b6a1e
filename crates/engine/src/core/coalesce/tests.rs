use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn record(sequence: u64, lba: u64, blocks: u64, kind: RecordKind) -> (Record, u64) {
    (Record { sequence, lba, blocks, kind, synced_sequence: 0 }, sequence * 1_000_000)
}

/// Block → (sequence, kind, position), by writing the records one after the other.
fn model(records: &[(Record, u64)]) -> BTreeMap<u64, (u64, RecordKind, u64)> {
    let mut blocks = BTreeMap::new();
    for (record, position) in records {
        for index in 0..record.blocks {
            let position = if record.kind == RecordKind::Write { position + index * 4096 } else { 0 };
            blocks.insert(record.lba + index, (record.sequence, record.kind, position));
        }
    }
    blocks
}

fn flatten(kept: &[Kept]) -> BTreeMap<u64, (u64, RecordKind, u64)> {
    let mut blocks = BTreeMap::new();
    for stretch in kept {
        for index in 0..stretch.blocks {
            let position =
                if stretch.kind == RecordKind::Write { stretch.position + index * 4096 } else { 0 };
            let before = blocks.insert(stretch.lba + index, (stretch.sequence, stretch.kind, position));
            assert_eq!(before, None, "block {} is kept twice", stretch.lba + index);
        }
    }
    blocks
}

#[test]
fn a_trim_of_everything_leaves_only_itself() {
    let records = [record(1, 5, 3, RecordKind::Write), record(2, 0, 1 << 38, RecordKind::Hole)];
    let kept = coalesce(&records);
    assert_eq!(kept.len(), 1);
    assert_eq!((kept[0].lba, kept[0].blocks, kept[0].kind), (0, 1 << 38, RecordKind::Hole));
}

proptest! {
    #[test]
    fn the_newest_record_of_each_block_is_kept(
        ops in prop::collection::vec((0u64..64, 1u64..20, 0u8..4), 1..60),
    ) {
        let records: Vec<_> = ops
            .iter()
            .enumerate()
            .map(|(index, (lba, blocks, kind))| {
                let kind = match kind {
                    0 => RecordKind::Hole,
                    1 => RecordKind::Zero,
                    _ => RecordKind::Write,
                };
                record(index as u64 + 1, *lba, *blocks, kind)
            })
            .collect();
        let kept = coalesce(&records);
        prop_assert!(kept.windows(2).all(|pair| pair[0].lba + pair[0].blocks <= pair[1].lba));
        prop_assert_eq!(flatten(&kept), model(&records));
    }
}
