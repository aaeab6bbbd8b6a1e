//! Groups of snapshots under threads that write to all members in turn.

#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "threads as a front end has them, timed as a guest does"
)]

mod common;

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use esker_engine::{
    EngineError,
    host::Host,
    volume::{Change, Limits, ReadStep, Scratch, Volume, WriteStep},
};
use esker_format::{
    group::GroupFate,
    property::{Durability, Properties},
};
use esker_io::objects;

const BLOCK: usize = 4096;
const MEMBERS: [&str; 4] = ["a", "b", "c", "d"];

async fn host(directory: &Path) -> Host {
    common::host(directory, objects::open("memory://").expect("memory"), 1, Limits::default()).await
}

async fn members(host: &Host) -> Vec<Arc<Volume>> {
    let properties = Properties { durability: Some(Durability::Ephemeral), ..Properties::default() };
    let mut members = Vec::new();
    for name in MEMBERS {
        members.push(host.create(name, 16 << 20, properties).await.unwrap());
    }
    members
}

/// Writes a number to every member, each when the one before was answered; tells the longest that a write took.
fn write_in_turn(members: &[Arc<Volume>], block: u64, stop: &AtomicBool) -> Duration {
    let (mut scratch, mut longest) = (Scratch::default(), Duration::ZERO);
    for number in 1_u64.. {
        for member in members {
            let mut data = [0; BLOCK];
            data[..8].copy_from_slice(&number.to_le_bytes());
            let begun = Instant::now();
            member.change(&[Change::Write { offset: block * BLOCK as u64, data: &data }], &mut scratch);
            longest = longest.max(begun.elapsed());
            assert!(matches!(scratch.steps[..], [WriteStep::Done]), "acknowledged: {:?}", scratch.steps);
            scratch.steps.clear();
        }
        thread::sleep(Duration::from_micros(50));
        if stop.load(Ordering::Relaxed) {
            break;
        }
    }
    longest
}

async fn number(host: &Host, name: &str, block: u64) -> u64 {
    let snapshot = host.visit(name).await.unwrap();
    let mut data = vec![0; BLOCK];
    match snapshot.read(block * BLOCK as u64, &mut data) {
        ReadStep::Done => {}
        ReadStep::Later => data = snapshot.read_later(block * BLOCK as u64, BLOCK).await.unwrap(),
        ReadStep::Failed(error) => panic!("{error}"),
    }
    u64::from_le_bytes(std::array::from_fn(|i| data[i]))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_member_has_what_another_lacks() {
    let directory = tempfile::tempdir().unwrap();
    let host = host(directory.path()).await;
    let members = members(&host).await;
    let names = MEMBERS.map(str::to_owned);
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..2)
        .map(|block| {
            let (members, stop) = (members.clone(), stop.clone());
            thread::spawn(move || write_in_turn(&members, block, &stop))
        })
        .collect();
    for turn in 0..30 {
        host.snapshot_group(&format!("t{turn}"), &names, Vec::new()).await.unwrap();
    }
    stop.store(true, Ordering::Relaxed);
    let longest = writers.into_iter().map(|writer| writer.join().unwrap()).max().unwrap();
    eprintln!("the longest write beside 30 groups of {} took {longest:?}", MEMBERS.len());
    for turn in 0..30 {
        for block in 0..2 {
            let mut before = u64::MAX;
            let mut first = 0;
            for (at, name) in MEMBERS.iter().enumerate() {
                let now = number(&host, &format!("{name}@t{turn}"), block).await;
                assert!(now <= before, "{name} has write {now}, the member before it only {before}");
                if at == 0 {
                    first = now;
                }
                assert!(now + 1 >= first, "{name} has write {now}, and {first} was begun already");
                before = now;
            }
        }
    }
    for member in members {
        member.drain().await.unwrap();
    }
}

#[tokio::test]
async fn a_group_has_open_members_each_once_and_its_names_are_free() {
    let directory = tempfile::tempdir().unwrap();
    let host = host(directory.path()).await;
    let members = members(&host).await;
    let group = async |snapshot: &str, names: &[&str]| {
        let names: Vec<_> = names.iter().map(ToString::to_string).collect();
        host.snapshot_group(snapshot, &names, vec![("k".into(), "v".into())]).await
    };
    let record = group("one", &["b", "a"]).await.unwrap();
    assert!(matches!(&record.fate, GroupFate::True { name, members } if name == "one" && members.len() == 2));
    assert_eq!(host.pool().groups().await.unwrap(), [record]);
    for (names, wanted) in [(&["a", "a"][..], "twice"), (&["a", "x"], "not open"), (&[], "1 to")] {
        let error = group("two", names).await.unwrap_err();
        assert!(matches!(&error, EngineError::Invalid(text) if text.contains(wanted)), "{error}");
    }
    // One name that is taken: nothing is made of the others either.
    assert!(matches!(group("one", &["c", "a"]).await, Err(EngineError::Exists(_))));
    assert_eq!(host.pool().lookup("c@one").await.unwrap(), None);
    host.delete("a@one").await.unwrap();
    group("one", &["a", "c"]).await.unwrap();
    assert_eq!(host.pool().groups().await.unwrap().len(), 2);
    for member in members {
        member.drain().await.unwrap();
    }
}
