//! One fixed value of each stored thing.

use crate::chunk::{block_crc, encode_record};
use crate::page::PackWriter;
use crate::segment::{EncodedSegment, Rewrite, Run, RunKind, SegmentHeader, SegmentWriter};
use crate::*;

pub(crate) const POOL: PoolId = PoolId([0x11; 16]);
pub(crate) const VOLUME: VolumeId = VolumeId([0x22; 16]);
pub(crate) const RUN: RunId = RunId([0x33; 16]);
pub(crate) const ATTEMPT: AttemptId = AttemptId([0x44; 16]);
pub(crate) const PACK: PackId = PackId([0x55; 16]);
pub(crate) const SALT: u64 = 0x0123_4567_89ab_cdef;
const TIME_MS: u64 = 1_795_305_599_999;

pub(crate) fn segment_id() -> SegmentId {
    SegmentId::new(7, 9).unwrap()
}

/// A catalogue of a file of 64 KiB.
pub(crate) fn catalogue() -> CacheCatalogue {
    let entry = |key, bytes: &[u8]| CacheEntry {
        key,
        bytes: bytes.len() as u32,
        crc: crate::cache::entry_crc(SALT, key, bytes),
    };
    let entries = vec![
        entry(CacheKey::frame(segment_id(), 8), b"a frame"),
        entry(CacheKey::index(segment_id()), b"an index"),
        entry(CacheKey::page(&pack().1), b"a page"),
    ];
    CacheCatalogue { pool: POOL, salt: SALT, order: 12, queue: CacheQueue::Main, entries }
}

pub(crate) fn pool() -> PoolRecord {
    let properties = Properties {
        durability: Some(Durability::Ephemeral),
        compression: Some(Compression::Zstd(3)),
        ..Properties::default()
    };
    PoolRecord { pool: POOL, attempt: ATTEMPT, created_ms: TIME_MS, properties }
}

pub(crate) fn name() -> NameRecord {
    NameRecord {
        pool: POOL,
        name: "web-1.root".into(),
        number: 3,
        attempt: ATTEMPT,
        previous: Some(AttemptId([0x45; 16])),
        written_ms: TIME_MS,
        state: NameState::Bound(VOLUME),
    }
}

pub(crate) fn writer() -> WriterRecord {
    WriterRecord { pool: POOL, number: 7, run: RUN, attempt: ATTEMPT }
}

pub(crate) const BUNDLE: BundleId = BundleId([0xbb; 16]);

pub(crate) fn group() -> GroupRecord {
    let members = vec![VOLUME, VolumeId([0xee; 16])];
    let fate = GroupFate::True { name: "monday".into(), members };
    let group = GroupId([0xbb; 16]);
    GroupRecord { pool: POOL, group, attempt: ATTEMPT, written_ms: TIME_MS, fate }
}

pub(crate) fn waiting() -> WaitingList {
    let bundle = Dead { object: Bulk::Bundle(BUNDLE), for_ms: 60_000, bytes: 9_000 };
    let mut list = waiting_without_bundles();
    list.dead.push(bundle);
    list
}

/// What version 1 could say.
pub(crate) fn waiting_without_bundles() -> WaitingList {
    let segment = Dead { object: Bulk::Segment(segment_id()), for_ms: 7_200_000, bytes: 33_000_000 };
    let pack = Dead { object: Bulk::Pack(PACK), for_ms: 0, bytes: 4_000 };
    WaitingList { pool: POOL, wall_ms: TIME_MS, dead: vec![segment, pack] }
}

pub(crate) fn head() -> Head {
    let tail = |counter, first_sequence, last_sequence| TailSegment {
        id: SegmentId::new(7, counter).unwrap(),
        first_sequence,
        last_sequence,
        object_bytes: 33_000_000,
        index_hash: Hash([counter as u8; 32]),
    };
    Head {
        pool: POOL,
        volume: VOLUME,
        number: 41,
        epoch: 38,
        attempt: ATTEMPT,
        previous: Some(Previous { number: 39, attempt: AttemptId([0x45; 16]), hash: Hash([0x66; 32]) }),
        kind: HeadKind::Data,
        run: RUN,
        directory: DirectoryId([0x77; 16]),
        log: LogId([0x88; 16]),
        size_bytes: 10 << 30,
        written_ms: TIME_MS,
        sequence: 900,
        root: Some(PageRef { pack: PACK, offset: 128, bytes: 4096, hash: Hash([0x99; 32]) }),
        root_sequence: 500,
        tail: vec![tail(1, 501, 600), tail(2, 601, 900)],
        properties: Properties {
            durability: Some(Durability::Bounded { seconds: 5 }),
            ..Properties::default()
        },
        pieces: vec![],
        lineage: Lineage::default(),
        piece: vec![],
    }
}

/// The bytes of a piece of one block, a trim and zeros.
pub(crate) fn piece(first_sequence: u64, last_sequence: u64) -> Vec<u8> {
    let header = SegmentHeader { id: TailPiece::id(), ..header() };
    let mut writer = SegmentWriter::new(header, Compression::Off);
    writer.push_frame(&blocks(7, 1));
    let run = |lba, blocks, sequence, kind| Run { lba, blocks, sequence, kind };
    let runs = vec![
        run(5, 1, last_sequence, RunKind::Data { first_slot: 0 }),
        run(10, 100, first_sequence, RunKind::Hole),
        run(200, 3, first_sequence, RunKind::Zero),
    ];
    writer.finish(runs, first_sequence, last_sequence).bytes
}

/// A head that names the piece of another, which begins before the end of the tail, and has one of its own.
pub(crate) fn head_with_pieces() -> Head {
    let named = |head, first_sequence, last_sequence| {
        let bytes = piece(first_sequence, last_sequence);
        TailPiece { head, first_sequence, last_sequence, bytes: bytes.len() as u32, hash: Hash::of(&bytes) }
    };
    Head {
        sequence: 990,
        pieces: vec![named(39, 890, 950), named(41, 951, 990)],
        piece: piece(951, 990),
        properties: Properties {
            durability: Some(Durability::Sync),
            on_lag: Some(OnLag::Stall),
            ..Properties::default()
        },
        ..head()
    }
}

/// A snapshot that was born in a group.
pub(crate) fn frozen_head() -> Head {
    Head {
        number: 2,
        epoch: 1,
        previous: Some(Previous { number: 1, attempt: AttemptId([0x45; 16]), hash: Hash([0x66; 32]) }),
        kind: HeadKind::Frozen,
        lineage: Lineage {
            source: Some(Source { volume: VolumeId([0x23; 16]), head: 77 }),
            group: Some(GroupId([0xbb; 16])),
            labels: vec![("team".into(), "früh".into()), ("why".into(), String::new())],
        },
        ..head()
    }
}

pub(crate) fn header() -> SegmentHeader {
    SegmentHeader { pool: POOL, id: segment_id(), attempt: ATTEMPT, key_id: 0, salt: [0xaa; 32] }
}

/// Blocks that compress, and differ from each other.
pub(crate) fn blocks(first: u8, count: u8) -> Vec<u8> {
    (first..first + count).flat_map(|byte| [byte; BLOCK_BYTES]).collect()
}

pub(crate) fn segment(compression: Compression) -> EncodedSegment {
    let mut writer = SegmentWriter::new(header(), compression);
    writer.push_frame(&blocks(1, 2));
    writer.push_frame(&blocks(3, 1));
    let other = Address::segment(SegmentId::new(3, 5).unwrap(), 65_530);
    let run = |lba, blocks, sequence, kind| Run { lba, blocks, sequence, kind };
    let runs = vec![
        run(0, 1, 501, RunKind::Data { first_slot: 2 }),
        run(1, 2, 502, RunKind::Data { first_slot: 0 }),
        run(10, 1 << 40, 503, RunKind::Hole),
        run(10 + (1 << 40), 7, 600, RunKind::Zero),
        run(1 << 50, 6, 555, RunKind::Reference(other)),
    ];
    writer.finish(runs, 501, 600)
}

/// A rewrite of [`segment`] without its middle slot.
pub(crate) fn rewritten(compression: Compression) -> EncodedSegment {
    let sealed = segment(Compression::Off);
    let mut writer = SegmentWriter::new(SegmentHeader { salt: [0xab; 32], ..header() }, compression);
    writer.push_frame(&[blocks(1, 1), blocks(3, 1)].concat());
    let rewrite = Rewrite::new(sealed.bytes.len() as u64, sealed.index_hash, vec![(0, 1), (2, 1)]);
    writer.finish_rewrite(&sealed.index, rewrite)
}

fn place(number: u64) -> chain::Place {
    let previous = Some(Link { attempt: AttemptId([0x45; 16]), hash: Hash([0x66; 32]) });
    chain::Place { pool: POOL, number, attempt: ATTEMPT, run: RUN, written_ms: TIME_MS, previous }
}

pub(crate) fn table() -> TableRecord {
    let entry = |counter: u32| TableEntry {
        segment: SegmentId::new(7, counter).unwrap(),
        bundle: BUNDLE,
        offset: u64::from(counter) << 20,
        bytes: 1 << 20,
        index_hash: Hash([counter as u8; 32]),
    };
    TableRecord {
        place: place(70),
        round: 12,
        base: 65,
        entries: vec![entry(1), entry(9)],
        removed: vec![SegmentId::new(7, 3).unwrap()],
    }
}

pub(crate) fn quarantine() -> Quarantine {
    Quarantine {
        pool: POOL,
        volume: VOLUME,
        attempt: ATTEMPT,
        written_ms: TIME_MS,
        newest: vec![segment_id(), SegmentId::new(9, 0).unwrap()],
        packs: vec![PACK],
        bundles: vec![BUNDLE],
    }
}

pub(crate) fn round() -> RoundRecord {
    RoundRecord {
        place: place(12),
        condemned: vec![SegmentId::new(7, 2).unwrap(), SegmentId::new(8, 0).unwrap()],
        suspended: vec![Suspended { segment: segment_id(), dropped: vec![(1, 1), (40, 65_496)] }],
    }
}

pub(crate) fn leaf() -> Page {
    let id = segment_id();
    Page::Leaf(vec![
        LeafRun { start: 0, blocks: 3, address: Address::segment(id, 0) },
        LeafRun { start: 3, blocks: 1, address: Address::ZERO },
        LeafRun { start: 2046, blocks: 2, address: Address::segment(id, 65_534) },
    ])
}

/// A pack of a leaf and its parent, and the two references.
pub(crate) fn pack() -> (Vec<u8>, PageRef, PageRef) {
    let mut writer = PackWriter::new(POOL, PACK, ATTEMPT);
    let leaf = writer.add(0, 1025, &leaf());
    let root = writer.add(1, 1, &Page::Inner(vec![(0, Child::Zero), (1, Child::Page(leaf))]));
    (writer.finish(), leaf, root)
}

pub(crate) fn chunk_header() -> ChunkHeader {
    ChunkHeader {
        volume: VOLUME,
        log: LogId([0x88; 16]),
        epoch: 40,
        chunk: 12,
        first_sequence: 901,
        synced_sequence: 899,
        salt: SALT,
    }
}

pub(crate) fn record(kind: RecordKind, sequence: u64, lba: u64, blocks: u64) -> Record {
    Record { sequence, lba, blocks, kind, synced_sequence: 900 }
}

/// The start of a chunk: header, a write of two blocks, a trim, padding up to 4 KiB, a zero.
pub(crate) fn chunk() -> Vec<u8> {
    let mut out = chunk_header().encode().to_vec();
    let data = blocks(1, 2);
    let crcs: Vec<u32> = data.chunks(BLOCK_BYTES).map(block_crc).collect();
    encode_record(&record(RecordKind::Write, 901, 77, 2), SALT, &crcs, &mut out);
    out.extend_from_slice(&data);
    encode_record(&record(RecordKind::Hole, 902, 0, 1 << 40), SALT, &[], &mut out);
    out.resize(out.len().next_multiple_of(4096), 0);
    encode_record(&record(RecordKind::Zero, 903, 5, 1), SALT, &[], &mut out);
    out
}
