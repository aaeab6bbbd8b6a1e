//! Bytes that must be readable for ever, under `fixtures/`. A change here is a change of a format: it needs a new
//! version, and the old file stays. `ESKER_BLESS=1` writes the files anew.

use std::fs;
use std::path::PathBuf;

use super::samples;
use crate::page::{Pack, decode_page};
use crate::segment::{SegmentHeader, SegmentIndex, Trailer, open_frame};
use crate::*;

pub(super) fn fixture(name: &str) -> Vec<u8> {
    let path = path(name);
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn path(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "fixtures", name].iter().collect()
}

fn same_as_fixture(name: &str, encoded: &[u8]) {
    if std::env::var_os("ESKER_BLESS").is_some() {
        fs::write(path(name), encoded).unwrap();
    }
    assert!(fixture(name) == encoded, "{name} is no longer what this code writes");
}

#[test]
fn small_objects() {
    same_as_fixture("pool.v1", &samples::pool().encode());
    assert_eq!(PoolRecord::parse(&fixture("pool.v1")).unwrap().verify().unwrap(), samples::pool());

    same_as_fixture("name.v1", &samples::name().encode());
    let name = NameRecord::parse(&fixture("name.v1")).unwrap();
    assert_eq!(name.verify(samples::POOL, "web-1.root", 3).unwrap(), samples::name());

    same_as_fixture("writer.v1", &samples::writer().encode());
    let writer = WriterRecord::parse(&fixture("writer.v1")).unwrap();
    assert_eq!(writer.verify(samples::POOL, 7).unwrap(), samples::writer());

    same_as_fixture("group.v1", &samples::group().encode());
    let group = GroupRecord::parse(&fixture("group.v1")).unwrap();
    assert_eq!(group.verify(samples::POOL, GroupId([0xbb; 16])).unwrap(), samples::group());

    let waiting = WaitingList::parse(&fixture("waiting.v1")).unwrap();
    assert_eq!(waiting.verify(samples::POOL).unwrap(), samples::waiting_without_bundles());
    same_as_fixture("waiting.v2", &samples::waiting().encode());
    let waiting = WaitingList::parse(&fixture("waiting.v2")).unwrap();
    assert_eq!(waiting.verify(samples::POOL).unwrap(), samples::waiting());

    same_as_fixture("table.v1", &samples::table().encode());
    let table = TableRecord::parse(&fixture("table.v1")).unwrap();
    assert_eq!(table.verify(samples::POOL, 70).unwrap(), samples::table());

    same_as_fixture("quarantine.v1", &samples::quarantine().encode());
    let quarantine = Quarantine::parse(&fixture("quarantine.v1")).unwrap();
    let quarantine = quarantine.verify(samples::POOL, samples::VOLUME).unwrap();
    assert_eq!(quarantine, samples::quarantine());
    let keeps = |writer, counter| quarantine.keeps(&Bulk::Segment(SegmentId::new(writer, counter).unwrap()));
    assert!(keeps(7, 0) && keeps(7, 9) && keeps(9, 0));
    assert!(!keeps(7, 10) && !keeps(8, 0) && !keeps(9, 1));

    same_as_fixture("round.v1", &samples::round().encode());
    let round = RoundRecord::parse(&fixture("round.v1")).unwrap();
    assert_eq!(round.verify(samples::POOL, 12).unwrap(), samples::round());

    let head = Head::parse(&fixture("head.v1")).unwrap();
    assert_eq!(head.verify(samples::POOL, samples::VOLUME, 41).unwrap(), samples::head());

    same_as_fixture("head.v3", &samples::frozen_head().encode());
    let head = Head::parse(&fixture("head.v3")).unwrap();
    assert_eq!(head.verify(samples::POOL, samples::VOLUME, 2).unwrap(), samples::frozen_head());

    let head = Head::parse(&fixture("head.v2")).unwrap();
    let head = head.verify(samples::POOL, samples::VOLUME, 41).unwrap();
    assert_eq!(head, samples::head_with_pieces());
    let piece = head.pieces[1].open(samples::POOL, &head.piece).unwrap();
    assert_eq!(piece.blocks, samples::blocks(7, 1));
    assert_eq!(piece.index.runs.len(), 3);
}

/// What the compressors write may change with their versions, so only the uncompressed segment is compared.
#[test]
fn segments() {
    same_as_fixture("segment-raw.v1", &samples::segment(Compression::Off).bytes);
    for (name, compression) in [
        ("segment-raw.v1", Compression::Off),
        ("segment-lz4.v1", Compression::Lz4),
        ("segment-zstd.v1", Compression::Zstd(3)),
    ] {
        if std::env::var_os("ESKER_BLESS").is_some() {
            fs::write(path(name), samples::segment(compression).bytes).unwrap();
        }
        let bytes = fixture(name);
        assert_eq!(SegmentHeader::parse(&bytes).unwrap(), samples::header());
        let trailer = Trailer::parse(&bytes).unwrap();
        let trailer = trailer.verify(samples::POOL, samples::segment_id(), Some(bytes.len() as u64)).unwrap();
        assert_eq!(trailer.header(), samples::header());
        let start = trailer.index_offset as usize;
        let index =
            SegmentIndex::parse(&bytes[start..start + trailer.index_bytes as usize], &trailer).unwrap();
        assert_eq!(index.runs, samples::segment(compression).index.runs);
        let opened = index.frames.iter().flat_map(|frame| {
            open_frame(frame, &bytes[frame.offset as usize..frame.end() as usize]).unwrap()
        });
        assert!(opened.eq(samples::blocks(1, 3)), "{name}");
    }
}

/// A rewrite says which slots are left; what is left reads as before.
#[test]
fn rewrites() {
    same_as_fixture("segment-raw.v2", &samples::rewritten(Compression::Off).bytes);
    let bytes = fixture("segment-raw.v2");
    assert_eq!(
        bundle::images(&[&bytes[..], &bytes[..]].concat()).unwrap(),
        [0..bytes.len(), bytes.len()..2 * bytes.len()]
    );
    let trailer = Trailer::parse(&bytes).unwrap();
    let trailer = trailer.verify(samples::POOL, samples::segment_id(), Some(bytes.len() as u64)).unwrap();
    let start = trailer.index_offset as usize;
    let index = SegmentIndex::parse(&bytes[start..start + trailer.index_bytes as usize], &trailer).unwrap();
    let sealed = samples::segment(Compression::Off);
    assert_eq!((index.slots, index.kept()), (3, vec![(0, 1), (2, 1)]));
    let rewrite = index.rewrite.clone().unwrap();
    assert_eq!((rewrite.sealed_bytes, rewrite.sealed_hash), (sealed.bytes.len() as u64, sealed.index_hash));
    for (slot, byte) in [(0, 1), (2, 3)] {
        let found = index.find(slot).unwrap();
        let frame = &bytes[found.frame.offset as usize..found.frame.end() as usize];
        let blocks = open_frame(found.frame, frame).unwrap();
        assert_eq!(blocks[found.skip as usize * BLOCK_BYTES], byte);
        assert_eq!(found.blocks, 1);
    }
    assert!(index.find(1).is_none() && index.find(3).is_none());
    // The run of LBAs 1 and 2 had slots 0 and 1.
    let left: Vec<_> = index.runs.iter().map(|run| (run.lba, run.blocks)).collect();
    assert_eq!(left, [(0, 1), (1, 1), (10, 1 << 40), (10 + (1 << 40), 7), (1 << 50, 6)]);
}

#[test]
fn packs() {
    let (encoded, leaf, root) = samples::pack();
    same_as_fixture("pack.v1", &encoded);
    let bytes = fixture("pack.v1");
    let pack = Pack::parse(&bytes).unwrap().verify(samples::POOL, samples::PACK).unwrap();
    let references: Vec<PageRef> = pack.pages.iter().map(|page| page.reference).collect();
    assert_eq!(references, [leaf, root]);
    let part = |reference: &PageRef| &bytes[reference.offset as usize..][..reference.bytes as usize];
    assert_eq!(decode_page(&leaf, part(&leaf), 0, 1025).unwrap(), samples::leaf());
    let children = vec![(0, Child::Zero), (1, Child::Page(leaf))];
    assert_eq!(decode_page(&root, part(&root), 1, 1).unwrap(), Page::Inner(children));
    assert!(decode_page(&root, part(&root), 1, 2).is_err());
    assert!(decode_page(&root, part(&leaf), 0, 1025).is_err());
}

#[test]
fn log_chunks() {
    same_as_fixture("chunk.v1", &samples::chunk());
    assert_eq!(ChunkHeader::parse(&fixture("chunk.v1")).unwrap(), samples::chunk_header());
}

#[test]
fn cache_files() {
    same_as_fixture("cache.v1", &samples::catalogue().encode());
    let catalogue = CacheCatalogue::parse(&fixture("cache.v1")).unwrap();
    assert_eq!(catalogue.clone().verify(samples::POOL, 64 << 10).unwrap(), samples::catalogue());
    assert!(catalogue.clone().verify(PoolId([0; 16]), 64 << 10).is_err(), "another pool's");
    assert!(catalogue.verify(samples::POOL, 4097).is_err(), "entries beyond the end of the file");
}
