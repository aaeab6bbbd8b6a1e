use esker_format::ids::SegmentId;

use super::*;

mod ratio;

const SHAPE: Shape = Shape { file_bytes: 64 << 10, files_max: 20 };
const POOL: PoolId = PoolId([1; 16]);
const BYTES: u32 = 10 << 10;

fn key(number: u32) -> CacheKey {
    CacheKey::frame(SegmentId::new(1, number).unwrap(), 0)
}

/// Writes an entry like the disk cache does; returns the uses of files that were emptied.
fn insert(kept: &mut Kept, number: u32, moved: Option<u8>) -> Vec<u64> {
    let mut emptied = Vec::new();
    let queue = match moved {
        Some(_) => CacheQueue::Main,
        None => match kept.queue_of(key(number), BYTES as usize) {
            Some(queue) => queue,
            None => return emptied,
        },
    };
    let room = loop {
        if let Some(room) = kept.room(queue).filter(|room| room.bytes >= u64::from(BYTES)) {
            break room;
        }
        let mut moving = Vec::new();
        let number = match kept.next() {
            Next::Free(number) => number,
            Next::Again(order) => {
                emptied.push(order);
                moving = kept.empty(order, |_| false);
                let Next::Free(number) = kept.next() else { panic!("one was emptied") };
                number
            }
        };
        kept.begin(queue, number, 7);
        for survivor in moving {
            let number = survivor.place.entry.crc;
            emptied.extend(insert(kept, number, Some(survivor.uses)));
        }
    };
    // The checksum says which entry it is.
    kept.add(room.order, CacheEntry { key: key(number), bytes: BYTES, crc: number }, moved.unwrap_or(0));
    emptied
}

fn check(kept: &Kept) {
    assert!(kept.files.len() + kept.free.len() == SHAPE.files_max as usize);
    assert!(kept.bytes() <= SHAPE.file_bytes * u64::from(SHAPE.files_max));
    let mut numbers: Vec<_> =
        kept.files.values().map(|file| file.number).chain(kept.free.iter().copied()).collect();
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(0..SHAPE.files_max), "each number once");
    for (key, (order, at)) in &kept.places {
        assert_eq!(kept.files[order].items[*at as usize].entry.key, *key);
    }
}

#[test]
fn a_cache_has_as_many_files_as_fit_into_its_bound() {
    assert_eq!(Shape::within(0), None);
    assert_eq!(Shape::within(500 << 10), None);
    for bytes in [512 << 10, 1 << 20, 3 << 20, 5_000_000, 1 << 30, 4 << 30, u64::MAX] {
        let shape = Shape::within(bytes).unwrap();
        assert!(shape.file_bytes * u64::from(shape.files_max) <= bytes, "{bytes}");
        assert!(shape.files_max >= FILES_MIN && shape.file_bytes.is_power_of_two());
    }
    assert_eq!(Shape::within(4 << 30), Some(Shape { file_bytes: 8 << 20, files_max: 512 }));
}

#[test]
fn what_is_written_is_found_where_it_lies() {
    let mut kept = Kept::new(SHAPE);
    for number in 0..12 {
        insert(&mut kept, number, None);
        check(&kept);
    }
    for number in 0..12 {
        let place = kept.find(key(number)).unwrap();
        assert_eq!((place.entry.crc, place.entry.key, place.salt), (number, key(number), 7));
    }
    assert_eq!(kept.find(key(12)), None);
    let place = kept.find(key(3)).unwrap();
    assert!(kept.refuse(&place) && !kept.refuse(&place));
    assert_eq!(kept.find(key(3)), None);
    check(&kept);
}

#[test]
fn a_scan_leaves_what_is_used_alone() {
    let mut kept = Kept::new(SHAPE);
    // Used while they are new: they end up in main.
    for number in 0..30 {
        insert(&mut kept, number, None);
        kept.find(key(number));
    }
    for number in 1_000..3_000 {
        insert(&mut kept, number, None);
        check(&kept);
    }
    let left = (0..30).filter(|number| kept.find(key(*number)).is_some()).count();
    assert_eq!(left, 30, "of 30 entries that are used a scan has left {left}");
}

#[test]
fn who_comes_back_soon_goes_to_main() {
    let mut kept = Kept::new(SHAPE);
    let mut number = 0;
    while kept.gone.is_empty() {
        insert(&mut kept, number, None);
        number += 1;
    }
    let back = kept.gone[0];
    assert_eq!(kept.queue_of(back, 1), Some(CacheQueue::Main));
    assert_eq!(kept.queue_of(key(9_999), 1), Some(CacheQueue::Trial));
}

#[test]
fn using_a_file_again_makes_room_even_if_everything_is_used() {
    let mut kept = Kept::new(SHAPE);
    let mut emptied = 0;
    for number in 0..2_000 {
        emptied += insert(&mut kept, number, None).len();
        for _ in 0..3 {
            kept.find(key(number));
        }
        check(&kept);
    }
    // Five entries fit in a file. They move from trial to main, and some of them once more.
    assert!((500..=1_000).contains(&emptied), "{emptied} files were used again for 2,000 entries");
}

#[test]
fn the_memory_above_counts_as_use() {
    let mut kept = Kept::new(SHAPE);
    for number in 0..5 {
        insert(&mut kept, number, None);
    }
    let order = kept.open[0].take().unwrap();
    let moving = kept.empty(order, |there| there == key(2));
    assert_eq!(moving.iter().map(|survivor| survivor.place.entry.crc).collect::<Vec<_>>(), [2]);
    assert_eq!(kept.entries(), 0);
}

#[test]
fn another_run_finds_the_same() {
    let mut kept = Kept::new(SHAPE);
    for number in 0..300 {
        insert(&mut kept, number, None);
        kept.find(key(number / 2));
    }
    let mut next = Kept::new(SHAPE);
    for order in kept.files.keys() {
        let (number, catalogue) = kept.catalogue(*order, POOL);
        next.adopt(number, catalogue);
    }
    assert_eq!((kept.entries(), kept.bytes()), (next.entries(), next.bytes()));
    for number in 0..300 {
        assert_eq!(kept.find(key(number)), next.find(key(number)));
    }
    check(&next);
    insert(&mut next, 301, None);
    assert!(next.next_order > kept.next_order, "no use of a file has the order of an earlier one");
}
