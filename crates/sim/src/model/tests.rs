use bytes::Bytes;

use super::{Loss, Model, Operation};
use crate::Stamp;

fn write(lba: u64, number: u64) -> Operation {
    let block = Stamp { volume: 1, lba, write: number, epoch: 2 }.block();
    Operation::Write { offset: lba * 4096, data: Bytes::copy_from_slice(&block) }
}

/// Appends a change and acknowledges it.
fn append(model: &mut Model, operation: &Operation) {
    let effects = operation.effects();
    model.begin(&effects);
    let last = model.last() + effects.len() as u64;
    model.grown(last, false).unwrap();
    model.acknowledged(last);
}

fn three_writes() -> Model {
    let mut model = Model::new(1 << 20);
    for number in 1..=3 {
        append(&mut model, &write(number, number));
    }
    model
}

#[test]
fn what_was_acknowledged_survives_a_kill_and_nothing_else_does_more() {
    let mut model = three_writes();
    model.flushed(1);
    model.lose(Loss::Process);
    assert!(model.clone().reopened(2).is_err());
    assert!(model.clone().reopened(4).is_err());
    model.lose(Loss::Power);
    assert!(model.clone().reopened(0).is_err());
    model.reopened(1).unwrap();
    assert_eq!(model.last(), 1);
}

#[test]
fn without_the_directory_the_last_commit_counts() {
    let mut model = three_writes();
    model.flushed(3);
    model.settled(2).unwrap();
    model.lose(Loss::Directory);
    assert!(model.clone().reopened(1).is_err());
    model.reopened(2).unwrap();
    let image = write(2, 2);
    let Operation::Write { data, .. } = image else { panic!("a write") };
    model.compare(2, &data).unwrap();
    assert!(model.compare(3, &data).is_err());
    model.compare(3, &[0; 4096]).unwrap();
}

#[test]
fn a_failed_try_may_be_there_or_not() {
    let mut model = three_writes();
    model.begin(&write(9, 9).effects());
    model.grown(3, true).unwrap();
    for (sequence, found) in [(3, false), (4, true)] {
        let mut model = model.clone();
        model.reopened(sequence).unwrap();
        assert_eq!(model.compare(9, &[0; 4096]).is_err(), found);
    }
}

#[test]
fn a_log_that_grows_by_itself_is_noticed() {
    let mut model = three_writes();
    model.begin(&write(9, 9).effects());
    assert!(model.grown(5, false).is_err());
    assert!(model.settled(9).is_err());
}

#[test]
fn parts_of_blocks_become_records_of_their_own() {
    let odd = Operation::Write { offset: 4_000, data: Bytes::from(vec![7; 9_000]) };
    assert_eq!(odd.effects().len(), 3);
    assert_eq!(Operation::Trim { offset: 4_000, length: 9_000 }.effects().len(), 1);
    assert_eq!(Operation::Zero { offset: 10, length: 20, may_trim: true }.effects().len(), 1);
    assert!(Operation::Trim { offset: 10, length: 20 }.effects().is_empty());
    let mut model = Model::new(1 << 20);
    append(&mut model, &odd);
    let mut expected = vec![0; 4_000];
    expected.extend_from_slice(&[7; 9_000]);
    expected.resize(4 * 4_096, 0);
    model.compare(0, &expected).unwrap();
}
