use super::*;
use crate::tests::samples;
use crate::{Address, Compression};

fn finish(runs: Vec<Run>) -> EncodedSegment {
    let mut writer = SegmentWriter::new(samples::header(), Compression::Off);
    writer.push_frame(&samples::blocks(1, 4));
    writer.finish(runs, 10, 20)
}

fn run(lba: u64, blocks: u64, kind: RunKind) -> Run {
    Run { lba, blocks, sequence: 15, kind }
}

#[test]
fn an_empty_segment_has_the_least_size() {
    let encoded = SegmentWriter::new(samples::header(), Compression::Lz4).finish(vec![], 1, 1);
    assert_eq!(encoded.bytes.len() as u64, SEGMENT_BYTES_MIN);
    assert!(encoded.index.frame_of(0).is_none());
}

#[test]
fn a_suffix_is_enough_for_the_trailer() {
    let bytes = finish(vec![]).bytes;
    let suffix = &bytes[bytes.len() - TRAILER_BYTES..];
    let trailer = Trailer::parse(suffix).unwrap();
    let (pool, id) = (samples::POOL, samples::segment_id());
    assert!(trailer.clone().verify(pool, id, Some(bytes.len() as u64)).is_ok());
    assert!(trailer.clone().verify(pool, id, Some(bytes.len() as u64 + 1)).is_err());
    assert!(trailer.clone().verify(crate::PoolId([0; 16]), id, None).is_err());
    assert!(trailer.verify(pool, SegmentId::new(7, 10).unwrap(), None).is_err());
    assert!(Trailer::parse(&suffix[1..]).is_err());
}

#[test]
fn runs_may_share_slots_and_refer_to_their_own_segment() {
    let own = Address::segment(samples::segment_id(), 2);
    let encoded = finish(vec![
        run(1, 4, RunKind::Data { first_slot: 0 }),
        run(5, 4, RunKind::Data { first_slot: 0 }),
        run(9, 2, RunKind::Reference(own)),
    ]);
    let address = encoded.index.runs[0].address(encoded.index.id);
    assert_eq!(address, Address::segment(samples::segment_id(), 0));
}

#[test]
#[should_panic(expected = "slots that exist")]
fn slots_that_do_not_exist() {
    finish(vec![run(0, 2, RunKind::Data { first_slot: 3 })]);
}

#[test]
#[should_panic(expected = "ascending LBAs")]
fn runs_that_overlap() {
    finish(vec![run(0, 2, RunKind::Zero), run(1, 1, RunKind::Hole)]);
}

#[test]
#[should_panic(expected = "an address in a segment")]
fn a_reference_into_the_log() {
    finish(vec![run(0, 1, RunKind::Reference(Address::log(crate::LogPosition(0))))]);
}

#[test]
#[should_panic(expected = "one of the segment's")]
fn a_sequence_of_another_segment() {
    finish(vec![Run { sequence: 21, ..run(0, 1, RunKind::Zero) }]);
}
