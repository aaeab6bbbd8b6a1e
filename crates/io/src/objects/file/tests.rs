use std::{
    fs,
    process::{Command, Stdio},
    time::{Duration, SystemTime},
};

use bytes::Bytes;

use super::{
    BULK_BYTES, FileObjects,
    temp::{STEP_BYTES, TEMP_DIR},
};
use crate::{Objects, Range, StoreErrorKind};

#[tokio::test]
async fn temporary_files_are_never_listed_and_never_left() {
    let dir = tempfile::tempdir().unwrap();
    let store = FileObjects::open(dir.path()).unwrap();
    fs::write(dir.path().join(TEMP_DIR).join("body"), "x").unwrap();
    store.put_new("a/b", Bytes::from_static(b"1")).await.unwrap();
    store.put_new("a/b", Bytes::from_static(b"2")).await.unwrap_err();
    assert_eq!(store.list("").await.unwrap().len(), 1);
    assert_eq!(fs::read_dir(dir.path().join(TEMP_DIR)).unwrap().count(), 1);
}

#[tokio::test]
async fn bodies_of_any_size_come_back_whole() {
    let dir = tempfile::tempdir().unwrap();
    let store = FileObjects::open(dir.path()).unwrap();
    let sizes =
        [0, BULK_BYTES - 1, BULK_BYTES, STEP_BYTES - 1, STEP_BYTES, STEP_BYTES + 1, 3 * STEP_BYTES + 5];
    for (number, bytes) in sizes.into_iter().enumerate() {
        let body: Vec<u8> = (0..bytes).map(|at| (at / 127 + number) as u8).collect();
        let name = format!("a/{number}");
        store.put_new(&name, body.clone().into()).await.unwrap();
        assert!(store.get(&name, Range::All).await.unwrap() == body, "{bytes} bytes");
        let again = store.put_new(&name, body.into()).await.unwrap_err();
        assert_eq!(again.kind, StoreErrorKind::Exists);
    }
}

#[test]
fn only_stale_temporary_files_are_removed() {
    let dir = tempfile::tempdir().unwrap();
    drop(FileObjects::open(dir.path()).unwrap());
    let hour = Duration::from_secs(3600);
    let now = SystemTime::now();
    for (name, time) in [("old", now - 25 * hour), ("young", now - 23 * hour), ("future", now + 48 * hour)] {
        let file = fs::File::create(dir.path().join(TEMP_DIR).join(name)).unwrap();
        file.set_modified(time).unwrap();
    }
    drop(FileObjects::open(dir.path()).unwrap());
    let mut left: Vec<_> =
        fs::read_dir(dir.path().join(TEMP_DIR)).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["future", "young"]);
}

#[tokio::test]
async fn directories_that_vanish_are_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = FileObjects::open(dir.path()).unwrap();
    store.put_new("a/b/c", Bytes::new()).await.unwrap();
    fs::remove_dir_all(dir.path().join("a")).unwrap();
    fs::remove_dir_all(dir.path().join(TEMP_DIR)).unwrap();
    store.put_new("a/b/c", Bytes::from_static(b"new")).await.unwrap();
    assert_eq!(store.get("a/b/c", Range::All).await.unwrap(), "new");
}

#[tokio::test]
async fn a_name_below_an_object_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = FileObjects::open(dir.path()).unwrap();
    store.put_new("a", Bytes::new()).await.unwrap();
    assert_eq!(store.put_new("a/b", Bytes::new()).await.unwrap_err().kind, StoreErrorKind::Permanent);
    assert_eq!(store.get("a/b", Range::All).await.unwrap_err().kind, StoreErrorKind::NotFound);
    assert_eq!(store.list("a/").await.unwrap(), []);
    store.delete("a/b").await.unwrap();
}

#[tokio::test]
async fn foreign_files_are_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let store = FileObjects::open(dir.path()).unwrap();
    fs::create_dir(dir.path().join("lost+found")).unwrap();
    fs::write(dir.path().join("note ä"), "x").unwrap();
    assert_eq!(store.list("").await.unwrap(), []);
}

/// Set for the children of the test below: the store's directory and the child's name.
const CHILD: &str = "ESKER_TEST_FILE_RACE";
const NAMES: usize = 200;

/// One of several processes that create the same names; prints those it won.
#[test]
fn racing_process() {
    let Ok(child) = std::env::var(CHILD) else { return };
    let (root, me) = child.rsplit_once(':').unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let store = FileObjects::open(root.as_ref()).unwrap();
        for number in 0..NAMES {
            let name = format!("race/{}/{number}", number % 7);
            match store.put_new(&name, Bytes::copy_from_slice(me.as_bytes())).await {
                Ok(()) => println!("won {number}"),
                Err(error) => assert_eq!(error.kind, StoreErrorKind::Exists, "{error}"),
            }
        }
    });
}

#[tokio::test]
async fn of_racing_processes_one_creates_each_name() {
    let dir = tempfile::tempdir().unwrap();
    let program = std::env::current_exe().unwrap();
    let children: Vec<_> = (0..4)
        .map(|me| {
            Command::new(&program)
                .args(["--exact", "objects::file::tests::racing_process", "--nocapture"])
                .env(CHILD, format!("{}:{me}", dir.path().display()))
                .stdout(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    let mut winners = vec![Vec::new(); NAMES];
    for (me, child) in children.into_iter().enumerate() {
        let output = child.wait_with_output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{text}");
        for line in text.lines() {
            // The test harness writes on the first line, before ours.
            if let Some((_, number)) = line.split_once("won ") {
                winners[number.parse::<usize>().unwrap()].push(me.to_string());
            }
        }
    }
    let store = FileObjects::open(dir.path()).unwrap();
    for (number, winners) in winners.iter().enumerate() {
        assert_eq!(winners.len(), 1, "{number}: {winners:?}");
        let body = store.get(&format!("race/{}/{number}", number % 7), Range::All).await.unwrap();
        assert_eq!(body, winners[0]);
    }
}

#[test]
fn what_somebody_has_to_mend_does_not_pass_by_itself() {
    use rustix::io::Errno;
    let kind = |errno: Errno| super::failed("put", "a", &errno.into()).kind;
    for errno in [Errno::NOSPC, Errno::DQUOT, Errno::ROFS, Errno::ACCESS, Errno::ISDIR] {
        assert_eq!(kind(errno), StoreErrorKind::Permanent, "{errno}");
    }
    for errno in [Errno::IO, Errno::AGAIN, Errno::MFILE, Errno::STALE] {
        assert_eq!(kind(errno), StoreErrorKind::Transient, "{errno}");
    }
}
