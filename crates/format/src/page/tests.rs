use super::*;
use crate::tests::samples;
use crate::{LogPosition, SegmentId};

#[test]
fn heights() {
    let mut covered = LEAF_BLOCKS;
    assert_eq!(height(0), 1);
    for level in 0..4u8 {
        assert_eq!(level_blocks(level), covered);
        assert_eq!(height(covered), level + 1);
        assert_eq!(height(covered + 1), level + 2);
        covered *= FANOUT;
    }
    assert_eq!(height(u64::MAX), 7);
    assert_eq!(level_blocks(200), u64::MAX);
    assert_eq!(height(crate::head::SIZE_BYTES_MAX / crate::BLOCK_BYTES as u64), HEIGHT_MAX);
}

#[test]
fn the_fullest_pages_are_read() {
    let alternate = |i: u16| match i % 2 {
        0 => Address::ZERO,
        _ => Address::segment(SegmentId::new(1 + u32::from(i), u32::from(i) * 997).unwrap(), i ^ 0x5555),
    };
    let runs = (0..LEAF_BLOCKS as u16).map(|i| LeafRun { start: i, blocks: 1, address: alternate(i) });
    let hash = |i: u16| Hash::of(&i.to_le_bytes());
    let child = |i: u16| {
        let reference =
            PageRef { pack: PackId([i as u8; 16]), offset: u64::MAX - 99, bytes: 99, hash: hash(i) };
        (i, Child::Page(reference))
    };
    for (level, page) in
        [(0, Page::Leaf(runs.collect())), (3, Page::Inner((0..FANOUT as u16).map(child).collect()))]
    {
        let bytes = encode_page(level, 1, &page);
        assert!(bytes.len() <= PAGE_BYTES_MAX);
        let reference =
            PageRef { pack: samples::PACK, offset: 0, bytes: bytes.len() as u32, hash: Hash::of(&bytes) };
        assert_eq!(decode_page(&reference, &bytes, level, 1).unwrap(), page);
        assert!(decode_page(&PageRef { hash: Hash([0; 32]), ..reference }, &bytes, level, 1).is_err());
    }
}

fn refused(level: u8, page: Page) -> String {
    body::check(level, &page).unwrap_err().to_string()
}

#[test]
fn pages_that_cannot_be() {
    let run = |start, blocks, address| LeafRun { start, blocks, address };
    let slot = |slot| Address::segment(samples::segment_id(), slot);
    assert!(refused(1, Page::Leaf(vec![])).contains("level"));
    assert!(refused(0, Page::Inner(vec![])).contains("level"));
    assert!(refused(4, Page::Inner(vec![])).contains("level"));
    assert!(refused(0, Page::Leaf(vec![run(0, 0, slot(0))])).contains("0 from 0"));
    assert!(refused(0, Page::Leaf(vec![run(2047, 2, slot(0))])).contains("2 from 2047"));
    assert!(refused(0, Page::Leaf(vec![run(0, 3, slot(0)), run(2, 1, slot(9))])).contains("1 from 2"));
    assert!(refused(0, Page::Leaf(vec![run(0, 2, slot(65_535))])).contains("slots that exist"));
    assert!(refused(0, Page::Leaf(vec![run(0, 1, Address::HOLE)])).contains("hole"));
    assert!(refused(0, Page::Leaf(vec![run(0, 1, Address::log(LogPosition(0)))])).contains("log"));
    assert!(refused(1, Page::Inner(vec![(1024, Child::Zero)])).contains("1024"));
    assert!(refused(1, Page::Inner(vec![(5, Child::Zero), (5, Child::Zero)])).contains("ascending"));
}
