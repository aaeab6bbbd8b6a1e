//! What is written is what is read.

use proptest::prelude::*;

use super::samples;
use crate::chunk::{RECORD_ALIGN, RECORD_BLOCKS_MAX, decode_record, encode_record, record_crc, seeded_crc};
use crate::page::{PackWriter, decode_page, encode_page};
use crate::segment::{Run, RunKind, SegmentIndex, SegmentWriter, Trailer, open_frame};
use crate::*;

fn addresses() -> impl Strategy<Value = Address> {
    let segments = (1..SegmentId::WRITERS, 0..SegmentId::COUNTERS, any::<u16>());
    prop_oneof![
        Just(Address::HOLE),
        Just(Address::ZERO),
        (0..LogPosition::END).prop_map(|position| Address::log(LogPosition(position))),
        segments.prop_map(|(writer, counter, slot)| Address::segment(
            SegmentId::new(writer, counter).unwrap(),
            slot
        )),
    ]
}

fn properties() -> impl Strategy<Value = Properties> {
    let durability = prop_oneof![
        Just(Durability::Ephemeral),
        Just(Durability::Sync),
        (1u32..=86_400).prop_map(|seconds| Durability::Bounded { seconds })
    ];
    let on_lag = prop_oneof![Just(OnLag::Alarm), Just(OnLag::Stall)];
    let compression =
        prop_oneof![Just(Compression::Off), Just(Compression::Lz4), (1i8..=19).prop_map(Compression::Zstd)];
    let history = (0u32..=3_650 * 86_400).prop_map(|seconds| History::of_seconds(seconds).unwrap());
    let all = (
        prop::option::of(durability),
        prop::option::of(compression),
        prop::option::of(on_lag),
        prop::option::of(history),
    );
    all.prop_map(|(durability, compression, on_lag, history)| Properties {
        durability,
        compression,
        on_lag,
        history,
    })
}

fn heads() -> impl Strategy<Value = Head> {
    let tail = prop::collection::vec((1u64..1000, any::<[u8; 32]>()), 0..=64);
    let root = prop::option::of((any::<[u8; 16]>(), 0u64..1 << 40, 24u32..60_000, any::<[u8; 32]>()));
    let numbers = (2u64..=1 << 62, 1u64..1 << 40, 0u64..1 << 60);
    (numbers, tail, root, properties(), any::<[u8; 16]>()).prop_map(
        |(numbers, tail, root, properties, id)| {
            let (number, blocks, root_sequence) = numbers;
            let mut head = samples::head();
            let mut sequence = root_sequence;
            head.tail.clear();
            for (counter, (records, hash)) in tail.into_iter().enumerate() {
                head.tail.push(TailSegment {
                    id: SegmentId::new(1, counter as u32).unwrap(),
                    first_sequence: sequence + 1,
                    last_sequence: sequence + records,
                    object_bytes: 1 << 20,
                    index_hash: Hash(hash),
                });
                sequence += records;
            }
            let root = root.map(|(pack, offset, bytes, hash)| PageRef {
                pack: PackId(pack),
                offset,
                bytes,
                hash: Hash(hash),
            });
            let (size_bytes, log) = (blocks * BLOCK_BYTES as u64, LogId(id));
            let previous = head.previous.map(|previous| Previous { number: number - 1, ..previous });
            Head {
                number,
                epoch: number - 1,
                size_bytes,
                sequence,
                root_sequence,
                root,
                log,
                properties,
                previous,
                ..head
            }
        },
    )
}

fn runs() -> impl Strategy<Value = Vec<Run>> {
    let kinds = prop_oneof![
        (0u16..8).prop_map(|first_slot| RunKind::Data { first_slot }),
        Just(RunKind::Hole),
        Just(RunKind::Zero),
        (addresses()
            .prop_filter("in a segment", |address| address.is_segment() && address.raw() as u16 <= 65_000))
        .prop_map(RunKind::Reference),
    ];
    prop::collection::vec((0u64..1 << 40, 1u64..=8, 1u64..100, kinds), 0..60).prop_map(|parts| {
        let mut lba = 0;
        let mut place = |(gap, blocks, sequence, kind)| {
            let run = Run { lba: lba + gap, blocks, sequence, kind };
            lba = run.lba + blocks;
            run
        };
        parts.into_iter().map(&mut place).collect()
    })
}

fn leaves() -> impl Strategy<Value = Page> {
    let runs = prop::collection::vec((0u16..40, 1u16..40, addresses()), 0..50);
    runs.prop_map(|parts| {
        let mut end = 0;
        let mut runs = Vec::new();
        for (gap, blocks, address) in parts {
            let stored = address == Address::ZERO || (address.is_segment() && address.raw() as u16 <= 65_000);
            if stored && end + gap + blocks <= 2048 {
                runs.push(LeafRun { start: end + gap, blocks, address });
                end += gap + blocks;
            }
        }
        Page::Leaf(runs)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn address_words(address in addresses()) {
        prop_assert_eq!(Address::parse(address.raw()).unwrap(), address);
        let again = match address.kind() {
            AddressKind::Hole => Address::HOLE,
            AddressKind::Zero => Address::ZERO,
            AddressKind::Unloaded => unreachable!("not stored"),
            AddressKind::Log(position) => Address::log(position),
            AddressKind::Segment(id, slot) => Address::segment(id, slot),
        };
        prop_assert_eq!(again, address);
        prop_assert_eq!(address.plus(0), address);
    }

    #[test]
    fn any_word_is_parsed_or_refused(word in any::<u64>()) {
        if let Ok(address) = Address::parse(word) {
            prop_assert_eq!(address.raw(), word);
            let _ = (address.kind(), address.plus(word));
        }
        let _ = format!("{}", Address::from_raw(word));
    }

    #[test]
    fn volume_heads(head in heads()) {
        let bytes = head.encode();
        prop_assert_eq!(Head::parse(&bytes).unwrap().verify(head.pool, head.volume, head.number).unwrap(), head);
    }

    #[test]
    fn object_names(id in any::<[u8; 16]>(), n in any::<u64>(), writer in 1..SegmentId::WRITERS, counter in 0..SegmentId::COUNTERS) {
        let made = [
            ObjectName::Name { name: "a-1.x".into(), number: n },
            ObjectName::Head { volume: VolumeId(id), number: n },
            ObjectName::Writer(writer),
            ObjectName::Group(GroupId(id)),
            ObjectName::Segment(SegmentId::new(writer, counter).unwrap()),
            ObjectName::Pack(PackId(id)),
            ObjectName::Bundle(BundleId(id)),
            ObjectName::Table(n),
            ObjectName::Round(n),
            ObjectName::Quarantine(VolumeId(id)),
        ];
        for name in made {
            prop_assert_eq!(names::parse(&name.made().unwrap()), Some(name));
        }
    }

    #[test]
    fn any_text_as_a_name(text in "[a-z/0-9-]{0,60}") {
        if let Some(name) = names::parse(&text) && let Some(made) = name.made() {
            prop_assert_eq!(made, text);
        }
    }

    #[test]
    fn property_texts(properties in properties()) {
        if let Some(durability) = properties.durability {
            prop_assert_eq!(durability.to_string().parse::<Durability>().unwrap(), durability);
        }
        if let Some(compression) = properties.compression {
            prop_assert_eq!(compression.to_string().parse::<Compression>().unwrap(), compression);
        }
    }

    #[test]
    fn segments(
        runs in runs(),
        extra in prop::collection::vec(any::<u8>(), BLOCK_BYTES),
        zstd in any::<bool>(),
    ) {
        let compression = if zstd { Compression::Zstd(1) } else { Compression::Lz4 };
        let mut writer = SegmentWriter::new(samples::header(), compression);
        let frames = [samples::blocks(1, 10), extra, samples::blocks(20, 16)];
        frames.iter().for_each(|frame| writer.push_frame(frame));
        prop_assert_eq!(writer.slots(), 27);
        let encoded = writer.finish(runs, 1, 100);
        let trailer = Trailer::parse(&encoded.bytes[encoded.bytes.len() - 256..]).unwrap();
        let trailer = trailer.verify(samples::POOL, samples::segment_id(), None).unwrap();
        prop_assert_eq!(trailer.index_hash, encoded.index_hash);
        let start = trailer.index_offset as usize;
        let index = SegmentIndex::parse(&encoded.bytes[start..][..trailer.index_bytes as usize], &trailer).unwrap();
        prop_assert_eq!(&index, &encoded.index);
        for (frame, raw) in index.frames.iter().zip(&frames) {
            let stored = &encoded.bytes[frame.offset as usize..frame.end() as usize];
            prop_assert_eq!(&open_frame(frame, stored).unwrap(), raw);
        }
        for slot in 0..27u16 {
            let frame = index.frame_of(slot).unwrap();
            prop_assert!(u32::from(slot).wrapping_sub(frame.first_place) < u32::from(frame.blocks));
        }
        prop_assert!(index.frame_of(27).is_none());
    }

    #[test]
    fn leaf_pages(page in leaves(), index in any::<u64>()) {
        let bytes = encode_page(0, index, &page);
        let mut writer = PackWriter::new(samples::POOL, samples::PACK, samples::ATTEMPT);
        let reference = writer.add(0, index, &page);
        prop_assert_eq!(decode_page(&reference, &bytes, 0, index).unwrap(), page);
        prop_assert!(decode_page(&reference, &bytes, 0, index ^ 1).is_err());
    }

    #[test]
    fn inner_pages(children in prop::collection::btree_map(0u16..1024, any::<[u8; 32]>(), 0..1024)) {
        let child = |hash: [u8; 32]| match hash[0] {
            0..100 => Child::Zero,
            _ => Child::Page(PageRef { pack: samples::PACK, offset: u64::from(hash[1]), bytes: 99, hash: Hash(hash) }),
        };
        let page = Page::Inner(children.into_iter().map(|(number, hash)| (number, child(hash))).collect());
        let mut writer = PackWriter::new(samples::POOL, samples::PACK, samples::ATTEMPT);
        let reference = writer.add(3, 5, &page);
        let bytes = encode_page(3, 5, &page);
        prop_assert_eq!(decode_page(&reference, &bytes, 3, 5).unwrap(), page);
    }

    #[test]
    fn log_records(
        sequence in any::<u64>(),
        lba in 0u64..1 << 51,
        crcs in prop::collection::vec(any::<u32>(), 1..=RECORD_BLOCKS_MAX as usize),
        salt in any::<u64>(),
        place in any::<prop::sample::Index>(),
        flip in 1u8..,
    ) {
        let record = Record { sequence, lba, blocks: crcs.len() as u64, kind: RecordKind::Write, synced_sequence: lba };
        let mut bytes = Vec::new();
        encode_record(&record, salt, &crcs, &mut bytes);
        let header_bytes = bytes.len();
        prop_assert!(header_bytes.is_multiple_of(RECORD_ALIGN));
        bytes.extend_from_slice(&[9; 100]);
        prop_assert_eq!(decode_record(&bytes, salt), Some((record, header_bytes)));
        for (i, &crc) in crcs.iter().enumerate() {
            prop_assert_eq!(seeded_crc(record_crc(&bytes, i), salt, sequence, lba + i as u64), crc);
        }
        prop_assert_eq!(decode_record(&bytes, !salt), None);
        prop_assert_eq!(decode_record(&bytes[..header_bytes - 1], salt), None);
        bytes[place.index(header_bytes)] ^= flip;
        prop_assert_eq!(decode_record(&bytes, salt), None);
    }
}
