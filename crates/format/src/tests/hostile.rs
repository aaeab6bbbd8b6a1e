//! Bytes that somebody spoilt: an error, never a panic, never memory that the bytes do not warrant.

use proptest::prelude::*;

use super::golden::fixture;
use super::samples;
use crate::page::{Pack, parse_page};
use crate::segment::{SegmentHeader, SegmentIndex, Trailer, open_frame};
use crate::*;

const FILES: [&str; 19] = [
    "group.v1",
    "pool.v1",
    "name.v1",
    "writer.v1",
    "waiting.v1",
    "waiting.v2",
    "table.v1",
    "round.v1",
    "quarantine.v1",
    "head.v1",
    "head.v2",
    "head.v3",
    "segment-raw.v1",
    "segment-lz4.v1",
    "segment-zstd.v1",
    "segment-raw.v2",
    "pack.v1",
    "chunk.v1",
    "cache.v1",
];

/// Reads bytes as everything that they could be; true when something could be read.
fn read_as_everything(bytes: &[u8]) -> bool {
    let _ = describe("unknown", bytes);
    let _ = parse_page(bytes);
    let _ = bundle::images(bytes);
    let _ = chunk::decode_record(bytes, samples::SALT);
    let small = [
        PoolRecord::parse(bytes).and_then(|record| record.verify()).is_ok(),
        NameRecord::parse(bytes).and_then(|record| record.verify(samples::POOL, "web-1.root", 3)).is_ok(),
        WriterRecord::parse(bytes).and_then(|record| record.verify(samples::POOL, 7)).is_ok(),
        GroupRecord::parse(bytes)
            .and_then(|record| record.verify(samples::POOL, GroupId([0xbb; 16])))
            .is_ok(),
        WaitingList::parse(bytes).and_then(|list| list.verify(samples::POOL)).is_ok(),
        [41, 2].into_iter().any(|number| {
            let head =
                Head::parse(bytes).and_then(|head| head.verify(samples::POOL, samples::VOLUME, number));
            head.is_ok_and(|head| {
                let own = head.pieces.last().filter(|piece| piece.head == head.number);
                own.is_none_or(|own| own.open(samples::POOL, &head.piece).is_ok())
            })
        }),
        TableRecord::parse(bytes).and_then(|record| record.verify(samples::POOL, 70)).is_ok(),
        Quarantine::parse(bytes).and_then(|found| found.verify(samples::POOL, samples::VOLUME)).is_ok(),
        RoundRecord::parse(bytes).and_then(|record| record.verify(samples::POOL, 12)).is_ok(),
        Pack::parse(bytes).and_then(|pack| pack.verify(samples::POOL, samples::PACK)).is_ok(),
        ChunkHeader::parse(bytes).is_ok(),
        CacheCatalogue::parse(bytes).and_then(|catalogue| catalogue.verify(samples::POOL, 64 << 10)).is_ok(),
    ];
    small.contains(&true) || read_segment(bytes).is_ok()
}

fn read_segment(bytes: &[u8]) -> Result<(), FormatError> {
    SegmentHeader::parse(bytes)?;
    let trailer = Trailer::parse(bytes)?;
    let trailer = trailer.verify(samples::POOL, samples::segment_id(), Some(bytes.len() as u64))?;
    let start = trailer.index_offset as usize;
    let index = SegmentIndex::parse(&bytes[start..start + trailer.index_bytes as usize], &trailer)?;
    for frame in &index.frames {
        open_frame(frame, &bytes[frame.offset as usize..frame.end() as usize])?;
    }
    Ok(())
}

/// The part of a file that is checked as a whole: of a chunk only its first sector, before its records.
fn checked_bytes(file: &str, bytes: &[u8]) -> usize {
    if file == "chunk.v1" { 512 } else { bytes.len() }
}

#[test]
fn the_golden_files_are_read() {
    for file in FILES {
        assert!(read_as_everything(&fixture(file)), "{file}");
    }
}

#[test]
fn every_truncation_is_refused() {
    for file in FILES {
        let bytes = fixture(file);
        let end = checked_bytes(file, &bytes);
        for length in (0..end).step_by(1 + end / 700) {
            assert!(!read_as_everything(&bytes[..length]), "{file} cut to {length}");
        }
    }
}

#[test]
fn newer_versions_are_named() {
    for file in FILES {
        let mut bytes = fixture(file);
        let newest = match file {
            _ if file.starts_with("head") => 3,
            _ if file.starts_with("waiting") => 2,
            _ => 1,
        };
        bytes[8] = newest + 1;
        let result = match file {
            _ if file.starts_with("segment") => SegmentHeader::parse(&bytes).map(drop),
            "cache.v1" => CacheCatalogue::parse(&bytes).map(drop),
            _ => describe("unknown", &bytes).map(drop),
        };
        let error = result.unwrap_err().to_string();
        let expected = format!("version: expected {newest}, found {}, written by a newer Esker", newest + 1);
        assert!(error.contains(&expected), "{file}: {error}");
    }
}

/// Puts the right hash on spoilt bytes, as an attacker would.
fn with_right_hash(bytes: &mut [u8]) {
    let Some((before, hash)) = bytes.split_last_chunk_mut::<32>() else { return };
    *hash = Hash::of(before).0;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn one_spoilt_byte_is_noticed(file in 0..FILES.len(), place in any::<prop::sample::Index>(), flip in 1u8..) {
        let mut bytes = fixture(FILES[file]);
        let end = checked_bytes(FILES[file], &bytes);
        let place = place.index(end);
        bytes[place] ^= flip;
        prop_assert!(!read_as_everything(&bytes), "{} with a flip at {place}", FILES[file]);
    }

    #[test]
    fn spoilt_bytes_with_a_right_hash_do_not_panic(
        file in 0..FILES.len(),
        spoilt in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = fixture(FILES[file]);
        for (place, byte) in spoilt {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        with_right_hash(&mut bytes);
        read_as_everything(&bytes);
        let length = bytes.len();
        if length > 256 {
            with_right_hash(&mut bytes[length - 256..]);
            read_as_everything(&bytes);
        }
    }

    #[test]
    fn a_spoilt_index_with_a_right_hash_does_not_panic(
        spoilt in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        rewritten in any::<bool>(),
    ) {
        let bytes = fixture(if rewritten { "segment-raw.v2" } else { "segment-lz4.v1" });
        let unspoilt = Trailer::parse(&bytes).unwrap();
        let mut trailer = unspoilt.verify(samples::POOL, samples::segment_id(), None).unwrap();
        let start = trailer.index_offset as usize;
        let mut index = bytes[start..start + trailer.index_bytes as usize].to_vec();
        for (place, byte) in spoilt {
            let place = place.index(index.len());
            index[place] = byte;
        }
        trailer.index_hash = Hash::of(&index);
        if let Ok(index) = SegmentIndex::parse(&index, &trailer) {
            prop_assert!(index.memory_bytes() < 4096);
            prop_assert!(index.frame_of(u16::MAX).is_none());
        }
    }

    #[test]
    fn noise_does_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..600), file in 0..FILES.len()) {
        read_as_everything(&bytes);
        let mut with_magic = fixture(FILES[file])[..24].to_vec();
        with_magic.extend_from_slice(&bytes);
        with_right_hash(&mut with_magic);
        read_as_everything(&with_magic);
    }

    #[test]
    fn a_page_of_noise_does_not_panic(
        level in 0u8..6,
        codec in 0u8..4,
        raw in 0u32..100_000,
        entries in any::<u32>(),
        body in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let mut bytes = b"ESPG\x01\x00".to_vec();
        bytes.extend_from_slice(&[level, codec, 0, 0, 0, 0, 0, 0, 0, 0]);
        bytes.extend_from_slice(&raw.to_le_bytes());
        bytes.extend_from_slice(&entries.to_le_bytes());
        bytes.extend_from_slice(&body);
        let _ = parse_page(&bytes);
    }
}
