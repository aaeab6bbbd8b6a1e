//! Single rules: what is refused, and why.

use super::samples;
use crate::chunk::{block_crc, decode_record, encode_record};
use crate::*;

fn refused(head: Head) -> String {
    let (pool, volume, number) = (head.pool, head.volume, head.number);
    Head::parse(&head.encode()).unwrap().verify(pool, volume, number).unwrap_err().to_string()
}

#[test]
fn heads_that_contradict_themselves() {
    let head = samples::head;
    let previous = |number| head().previous.map(|previous| Previous { number, ..previous });
    assert!(refused(Head { previous: None, ..head() }).contains("previous"));
    assert!(refused(Head { previous: previous(41), ..head() }).contains("previous number"));
    assert!(refused(Head { previous: previous(0), ..head() }).contains("previous number"));
    assert!(refused(Head { number: 1, epoch: 1, ..head() }).contains("previous"));
    assert!(refused(Head { epoch: 0, ..head() }).contains("epoch"));
    assert!(refused(Head { epoch: 41, ..head() }).contains("epoch"));
    assert!(refused(Head { kind: HeadKind::Claim, ..head() }).contains("epoch"));
    assert!(refused(Head { number: u64::MAX, ..head() }).contains("number"));
    assert!(refused(Head { size_bytes: 4095, ..head() }).contains("size"));
    assert!(refused(Head { size_bytes: 0, ..head() }).contains("size"));
    assert!(refused(Head { size_bytes: 1 << 54, ..head() }).contains("size"));
}

#[test]
fn what_is_unborn_or_frozen() {
    let head = samples::frozen_head;
    let source = head().lineage.source;
    let none = Lineage::default;
    assert!(refused(Head { kind: HeadKind::Unborn, ..head() }).contains("unborn, of head 1 only"));
    let first = || Head { number: 1, previous: None, kind: HeadKind::Unborn, ..head() };
    assert!(refused(Head { lineage: none(), ..first() }).contains("source"));
    assert!(refused(Head { kind: HeadKind::Frozen, ..first() }).contains("frozen, above head 1"));
    let unborn = Head { lineage: Lineage { source, ..none() }, ..first() };
    assert!(Head::parse(&unborn.encode()).unwrap().verify(samples::POOL, samples::VOLUME, 1).is_ok());
    let with_pieces = samples::head_with_pieces();
    let pieces = with_pieces.pieces[..1].to_vec();
    let carried = Head { kind: HeadKind::Frozen, pieces, sequence: 950, piece: vec![], ..with_pieces };
    assert!(refused(carried).contains("rule H7"));
}

#[test]
fn labels_are_short_plain_text() {
    use crate::head::valid_label;
    assert!(valid_label("team/disk.v-1_a", "anything ü").is_ok());
    for key in ["", "A", "a b", "ä", &"k".repeat(65)] {
        assert!(valid_label(key, "").is_err(), "{key}");
    }
    assert!(valid_label("k", "two\nlines").is_err() && valid_label("k", &"v".repeat(257)).is_err());
}

#[test]
fn tails_with_gaps_or_overlaps() {
    let with = |first, last, sequence| {
        let mut head = samples::head();
        head.tail[1].first_sequence = first;
        head.tail[1].last_sequence = last;
        Head { sequence, ..head }
    };
    assert!(refused(with(600, 900, 900)).contains("a range that follows sequence 600"));
    assert!(refused(with(602, 900, 900)).contains("a range that follows sequence 600"));
    assert!(refused(with(601, 600, 600)).contains("a range that follows sequence 600"));
    assert!(refused(with(601, 900, 901)).contains("end of the tail: expected 901, found 900"));
    assert!(refused(Head { root_sequence: 499, ..samples::head() }).contains("follows sequence 499"));
    assert!(refused(Head { tail: vec![], ..samples::head() }).contains("end of the tail"));
}

#[test]
fn pieces_that_do_not_follow_each_other() {
    let with = |change: fn(&mut Head)| {
        let mut head = samples::head_with_pieces();
        change(&mut head);
        refused(head)
    };
    // A gap behind the segments, one between pieces, an overlap, and one that the segments cover.
    assert!(with(|head| head.pieces[0].first_sequence = 902).contains("a range that follows sequence 900"));
    assert!(with(|head| head.pieces[1].first_sequence = 952).contains("a range that follows sequence 950"));
    assert!(with(|head| head.pieces[1].first_sequence = 950).contains("a range that follows sequence 950"));
    assert!(with(|head| head.pieces[0].last_sequence = 900).contains("beyond 900"));
    assert!(with(|head| head.sequence = 991).contains("end of the tail: expected 991, found 990"));
    assert!(with(|head| head.pieces[0].head = 41).contains("piece head"));
    assert!(with(|head| head.pieces[1].head = 42).contains("piece head"));
    assert!(with(|head| head.pieces[0].bytes = 5 << 20).contains("piece bytes"));
    assert!(with(|head| head.pieces[1].hash = Hash([0; 32])).contains("piece hash"));
    assert!(with(|head| head.piece.truncate(9)).contains("piece length"));
    assert!(with(|head| head.pieces[1].head = 40).contains("names no own piece"));
}

#[test]
fn a_piece_is_bound_to_the_head_that_names_it() {
    let head = samples::head_with_pieces();
    let open = |piece: &TailPiece, bytes: &[u8]| piece.open(samples::POOL, bytes).map(drop);
    open(&head.pieces[1], &head.piece).unwrap();
    let mut flipped = head.piece.clone();
    flipped[200] ^= 1;
    assert!(open(&head.pieces[1], &flipped).is_err());
    assert!(open(&head.pieces[0], &head.piece).is_err());
    let other = TailPiece { last_sequence: 989, ..head.pieces[1].clone() };
    assert!(open(&other, &head.piece).unwrap_err().to_string().contains("last sequence"));
    assert!(head.pieces[1].open(PoolId([0; 16]), &head.piece).is_err());
}

#[test]
fn facts_of_the_caller() {
    let parsed = || Head::parse(&samples::head().encode()).unwrap();
    assert!(parsed().verify(PoolId([0; 16]), samples::VOLUME, 41).is_err());
    assert!(parsed().verify(samples::POOL, VolumeId([0; 16]), 41).is_err());
    assert!(parsed().verify(samples::POOL, samples::VOLUME, 40).is_err());
    let name = || NameRecord::parse(&samples::name().encode()).unwrap();
    assert!(name().verify(samples::POOL, "web-1", 3).is_err());
    assert!(name().verify(samples::POOL, "web-1.root", 2).is_err());
    let unchained = NameRecord { previous: None, ..samples::name() };
    assert!(NameRecord::parse(&unchained.encode()).unwrap().verify(samples::POOL, "web-1.root", 3).is_err());
}

/// Rule W2: a record of an earlier use of the chunk, and data of another record, do not pass.
#[test]
fn salts_and_seeds() {
    let mut bytes = Vec::new();
    encode_record(&samples::record(RecordKind::Hole, 5, 0, 9), 1, &[], &mut bytes);
    assert!(decode_record(&bytes, 1).is_some());
    assert!(decode_record(&bytes, 2).is_none());
    let plain = block_crc(&samples::blocks(1, 1));
    let seeded = chunk::seeded_crc(plain, 1, 2, 3);
    for (salt, sequence, lba) in [(0, 2, 3), (1, 3, 3), (1, 2, 2), (2, 1, 3)] {
        assert_ne!(chunk::seeded_crc(plain, salt, sequence, lba), seeded);
    }
    assert_eq!(chunk::seeded_crc(seeded, 1, 2, 3), plain);
}

#[test]
fn addresses_end_with_their_segment() {
    let last = Address::segment(samples::segment_id(), 65_535);
    assert_eq!(Address::segment(samples::segment_id(), 65_530).plus(5), last);
    assert_eq!(last.plus(1), Address::NOWHERE);
    assert_eq!(last.plus(u64::MAX), Address::NOWHERE);
    assert_eq!(Address::NOWHERE.plus(1), Address::NOWHERE);
    assert_eq!(Address::ZERO.plus(u64::MAX), Address::ZERO);
    assert_eq!(Address::log(LogPosition(64)).plus(3), Address::log(LogPosition(64 + 3 * 4096)));
    assert_eq!(Address::log(LogPosition(LogPosition::END - 1)).plus(1), Address::NOWHERE);
    for word in [2, LogPosition::END - 1, 2 << 62, 3 << 62, u64::MAX] {
        assert!(Address::parse(word).is_err(), "{word:#x}");
    }
    assert!(SegmentId::new(0, 0).is_none() && SegmentId::new(1 << 22, 0).is_none());
    assert!(SegmentId::new(1, 1 << 24).is_none());
}

#[test]
fn property_texts() {
    let bounded = Durability::Bounded { seconds: 5 };
    assert_eq!("bounded(5)".parse::<Durability>().unwrap(), bounded);
    assert_eq!("bounded(5s)".parse::<Durability>().unwrap(), bounded);
    for text in
        ["", "bounded", "bounded()", "bounded(0)", "bounded(86401)", "bounded(+5)", "bounded(5ms)", "sync(5)"]
    {
        assert!(text.parse::<Durability>().is_err(), "{text}");
    }
    assert_eq!("sync".parse::<Durability>().unwrap(), Durability::Sync);
    assert_eq!("stall".parse::<OnLag>().unwrap(), OnLag::Stall);
    assert!("wait".parse::<OnLag>().is_err());
    for (text, seconds) in [("0s", 0), ("90s", 90), ("10m", 600), ("1h", 3_600), ("3650d", 315_360_000)] {
        let history = text.parse::<History>().unwrap();
        assert_eq!((history.seconds(), history.to_string().as_str()), (seconds, text));
    }
    assert_eq!("60m".parse::<History>().unwrap(), History::default());
    for text in ["", "h", "1", "-1h", "+1h", "1.5h", "3651d", "99999999999999999999s", "1w"] {
        assert!(text.parse::<History>().is_err(), "{text}");
    }
    for text in ["", "zstd", "zstd:0", "zstd:20", "zstd:-1", "zstd:+3", "LZ4"] {
        assert!(text.parse::<Compression>().is_err(), "{text}");
    }
    let pool = Properties { durability: Some(Durability::Ephemeral), ..Properties::default() };
    let volume = Properties { compression: Some(Compression::Off), ..Properties::default() };
    let both = volume.over(&pool);
    assert_eq!(
        (both.durability_or_built_in(), both.compression),
        (Durability::Ephemeral, Some(Compression::Off))
    );
    assert_eq!(Properties::default().durability_or_built_in(), bounded);
}

#[test]
fn names_have_one_spelling() {
    assert_eq!(
        names::head(samples::VOLUME, 1),
        format!("volumes/{}/heads/18446744073709551614", "22".repeat(16))
    );
    assert_eq!(names::writer(7), "writers/00000007");
    assert!(names::segment(samples::segment_id()).ends_with("/000007-000009"));
    assert!(names::head(samples::VOLUME, 2) < names::head(samples::VOLUME, 1), "newest first");
    for text in [
        "",
        "pool/",
        "writers/7",
        "writers/00000000",
        "names/a",
        "names/A/18446744073709551614",
        "names/a/99999999999999999999",
        "volumes/22/heads/18446744073709551614",
        "segments/00/000007-000009/x",
        "pages/00/55555555555555555555555555555555",
        "probe/1/x",
    ] {
        assert_eq!(names::parse(text), None, "{text}");
    }
    assert_eq!(names::parse(&names::probe(&samples::RUN, "race-1")), Some(ObjectName::Probe));
    for name in ["", ".a", "-a", "a/b", "a@b", "A", "ä", &"a".repeat(129)] {
        assert!(names::valid_volume_name(name).is_err(), "{name}");
    }
    assert!(names::valid_volume_name(&"a".repeat(128)).is_ok());
    for name in ["a@", "@a", "a@b@c", "a@/", "A@b"] {
        assert!(names::valid_name(name).is_err(), "{name}");
    }
    assert!(names::valid_name("a").is_ok() && names::valid_name("a.b@2026-11-21").is_ok());
    assert_eq!(names::snapshot_parts(&names::snapshot_name("a", "b")), Some(("a", "b")));
    assert!(names::name("a@b", 1).starts_with(&names::snapshots_of("a")));
    assert!(names::parse(&names::name("a@b", 1)).is_some());
}

#[test]
fn members_of_a_group() {
    let parsed = |count: u16, members: &[u8]| {
        let bytes = crate::envelope::wrap(&crate::group::KIND, |out| {
            out.extend([0; 16 * 3 + 8]);
            out.extend([1, 1, 0, b'm']);
            out.extend(count.to_le_bytes());
            members.iter().for_each(|member| out.extend([*member; 16]));
        });
        GroupRecord::parse(&bytes).map(|record| record.peek().fate.clone())
    };
    assert_eq!(
        parsed(2, &[1, 2]),
        Ok(GroupFate::True { name: "m".into(), members: vec![VolumeId([1; 16]), VolumeId([2; 16])] })
    );
    for (count, members) in
        [(0, &[][..]), (2, &[2, 1]), (2, &[1, 1]), (2, &[1]), (1, &[1, 2]), (u16::MAX, &[1])]
    {
        assert!(parsed(count, members).is_err(), "{count} of {members:?}");
    }
}

#[test]
fn a_cache_entry_is_bound_to_its_key_and_its_use_of_the_file() {
    use crate::cache::entry_crc;
    let (key, other) =
        (CacheKey::frame(samples::segment_id(), 8), CacheKey::frame(samples::segment_id(), 16));
    let crc = entry_crc(samples::SALT, key, b"bytes");
    assert_ne!(crc, entry_crc(samples::SALT, other, b"bytes"));
    assert_ne!(crc, entry_crc(samples::SALT, CacheKey::index(samples::segment_id()), b"bytes"));
    assert_ne!(crc, entry_crc(samples::SALT + 1, key, b"bytes"));
    assert_ne!(crc, entry_crc(samples::SALT, key, b"bytez"));
}

#[test]
fn only_the_key_of_a_frame_is_taken_for_one() {
    let segment = samples::segment_id();
    assert_eq!(CacheKey::frame(segment, 8).as_frame(), Some((segment, 8)));
    assert_eq!(CacheKey::index(segment).as_frame(), None);
    let image = CacheKey::frame_in(segment, samples::BUNDLE, 8);
    assert_eq!(image.as_frame(), None);
    assert_ne!(image, CacheKey::frame_in(segment, BundleId([0xbc; 16]), 8));
    assert_ne!(image, CacheKey::frame_in(segment, samples::BUNDLE, 9));
    assert_ne!(CacheKey::index_in(segment, samples::BUNDLE), CacheKey::index(segment));
    let mut page = samples::pack().1;
    for byte in 0..=255 {
        page.hash = Hash([byte; 32]);
        assert_eq!(CacheKey::page(&page).as_frame(), None);
    }
}
