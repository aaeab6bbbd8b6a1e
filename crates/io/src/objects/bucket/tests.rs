use super::*;

#[test]
fn a_bucket_is_emptied_and_refilled_by_time_and_by_work() {
    let mut bucket = Bucket::new(3, 2);
    let second = Duration::from_secs(1);
    for _ in 0..3 {
        assert_eq!(bucket.take(second), Ok(()));
    }
    let wait = bucket.take(second).unwrap_err();
    assert!(wait > Duration::from_millis(499) && wait < Duration::from_millis(502), "{wait:?}");
    assert_eq!(bucket.take(second + wait), Ok(()));
    bucket.earn(1_000);
    assert_eq!(bucket.take(second + wait), Ok(()));
    bucket.take(second + wait).unwrap_err();
    // Never more than it holds.
    for _ in 0..3 {
        assert_eq!(bucket.take(Duration::from_secs(3_600)), Ok(()));
    }
    bucket.take(Duration::from_secs(3_600)).unwrap_err();
}

#[test]
fn without_a_gain_of_its_own_only_work_refills_it() {
    let mut bucket = Bucket::new(1, 0);
    bucket.take(Duration::ZERO).unwrap();
    assert_eq!(bucket.take(Duration::from_secs(9)), Err(Duration::MAX));
    (0..20).for_each(|_| bucket.earn(50));
    bucket.take(Duration::from_secs(9)).unwrap();
}

#[test]
fn a_clock_that_is_asked_often_loses_no_time() {
    let mut bucket = Bucket::new(1, 1);
    bucket.take(Duration::ZERO).unwrap();
    let taken = (0..=10_000_u64).filter(|step| bucket.take(Duration::from_micros(step * 100)).is_ok());
    assert_eq!(taken.count(), 1);
}
