//! What every store must do. The same checks run on memory, on files and, where an address is given, on S3.

use std::collections::BTreeSet;

use bytes::Bytes;
use futures_util::future::join_all;

use super::{Listed, Objects, Range, StoreErrorKind};
use crate::{Random, SystemRandom, sync::Arc};

/// Runs all checks; every object is under one fresh prefix and deleted at the end.
pub(super) async fn all(store: Arc<dyn Objects>) {
    let id: String = SystemRandom.id().iter().map(|byte| format!("{byte:02x}")).collect();
    let root = format!("conformance/{id}");
    created_once(&*store, &root).await;
    ranges(&*store, &root).await;
    large_bodies(&*store, &root).await;
    empty_objects(&*store, &root).await;
    missing_objects(&*store, &root).await;
    lists(&*store, &root).await;
    deletes(&*store, &root).await;
    bad_names(&*store).await;
    for round in 0..5 {
        races(&store, &format!("{root}/race/{round}")).await;
    }
    races_on_new_directories(&store, &root).await;
    for object in store.list(&format!("{root}/")).await.unwrap() {
        store.delete(&object.name).await.unwrap();
    }
    assert_eq!(store.list(&format!("{root}/")).await.unwrap(), []);
}

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

async fn kind(store: &dyn Objects, name: &str, range: Range) -> StoreErrorKind {
    store.get(name, range).await.expect_err(name).kind
}

async fn created_once(store: &dyn Objects, root: &str) {
    let name = format!("{root}/once");
    store.put_new(&name, bytes("first")).await.unwrap();
    let error = store.put_new(&name, bytes("second")).await.unwrap_err();
    assert_eq!((error.kind, error.operation, &error.name), (StoreErrorKind::Exists, "put", &name));
    // The same bytes make no difference: it exists.
    assert_eq!(store.put_new(&name, bytes("first")).await.unwrap_err().kind, StoreErrorKind::Exists);
    assert_eq!(store.get(&name, Range::All).await.unwrap(), "first");
}

async fn ranges(store: &dyn Objects, root: &str) {
    let name = format!("{root}/ranges");
    store.put_new(&name, bytes("0123456789")).await.unwrap();
    let get = |range| store.get(&name, range);
    assert_eq!(get(Range::Bytes { start: 0, end: 10 }).await.unwrap(), "0123456789");
    assert_eq!(get(Range::Bytes { start: 3, end: 4 }).await.unwrap(), "3");
    assert_eq!(get(Range::Bytes { start: 9, end: 10 }).await.unwrap(), "9");
    assert_eq!(get(Range::Bytes { start: 4, end: 4 }).await.unwrap(), "");
    assert_eq!(get(Range::Bytes { start: 10, end: 10 }).await.unwrap(), "");
    assert_eq!(get(Range::Suffix(3)).await.unwrap(), "789");
    assert_eq!(get(Range::Suffix(10)).await.unwrap(), "0123456789");
    assert_eq!(get(Range::Suffix(65_536)).await.unwrap(), "0123456789");
    assert_eq!(get(Range::Suffix(0)).await.unwrap(), "");
    for (start, end) in [(9, 11), (10, 11), (11, 11), (50, 60)] {
        let kind = kind(store, &name, Range::Bytes { start, end }).await;
        assert_eq!(kind, StoreErrorKind::Protocol, "{start}..{end} of ten bytes");
    }
}

async fn large_bodies(store: &dyn Objects, root: &str) {
    let name = format!("{root}/large");
    let body: Vec<u8> = (0..9_000_001_u64).map(|i| ((i * i) >> 7) as u8).collect();
    store.put_new(&name, body.clone().into()).await.unwrap();
    assert!(store.get(&name, Range::All).await.unwrap() == body);
    let part = store.get(&name, Range::Bytes { start: 4_000_000, end: 8_000_000 }).await.unwrap();
    assert!(part == body[4_000_000..8_000_000]);
    assert!(store.get(&name, Range::Suffix(65_536)).await.unwrap() == body[body.len() - 65_536..]);
}

async fn empty_objects(store: &dyn Objects, root: &str) {
    let name = format!("{root}/empty");
    store.put_new(&name, Bytes::new()).await.unwrap();
    assert_eq!(store.put_new(&name, Bytes::new()).await.unwrap_err().kind, StoreErrorKind::Exists);
    assert_eq!(store.get(&name, Range::All).await.unwrap(), "");
    assert_eq!(store.get(&name, Range::Suffix(9)).await.unwrap(), "");
    assert_eq!(kind(store, &name, Range::Bytes { start: 0, end: 1 }).await, StoreErrorKind::Protocol);
}

async fn missing_objects(store: &dyn Objects, root: &str) {
    let name = format!("{root}/missing/object");
    let nothing = Range::Bytes { start: 0, end: 0 };
    for range in [Range::All, Range::Bytes { start: 0, end: 5 }, Range::Suffix(5), Range::Suffix(0), nothing]
    {
        assert_eq!(kind(store, &name, range).await, StoreErrorKind::NotFound, "{range:?}");
    }
    // A prefix of names is no object.
    store.put_new(&format!("{root}/dir/object"), bytes("x")).await.unwrap();
    assert_eq!(kind(store, &format!("{root}/dir"), Range::All).await, StoreErrorKind::NotFound);
}

async fn lists(store: &dyn Objects, root: &str) {
    let names =
        ["list/a", "list/a-b", "list/a.b", "list/b/c", "list/b/c0", "list/b/d/e", "list/b0", "listing"];
    for name in names.iter().rev() {
        store.put_new(&format!("{root}/{name}"), bytes(name)).await.unwrap();
    }
    let expected = |below: &str| -> Vec<Listed> {
        let mut below: Vec<_> = names.iter().filter(|name| name.starts_with(below)).collect();
        below.sort();
        below.iter().map(|name| Listed { name: format!("{root}/{name}"), bytes: name.len() as u64 }).collect()
    };
    for prefix in ["list/", "list/b/", "list/b/d/", "list/nothing/", "list/a/"] {
        assert_eq!(store.list(&format!("{root}/{prefix}")).await.unwrap(), expected(prefix), "{prefix}");
    }
    let everything = store.list("").await.unwrap();
    assert!(everything.is_sorted_by(|a, b| a.name < b.name));
    assert!(everything.iter().any(|object| object.name == format!("{root}/list/b/d/e")));
}

async fn deletes(store: &dyn Objects, root: &str) {
    let name = format!("{root}/deleted");
    store.put_new(&name, bytes("first")).await.unwrap();
    store.delete(&name).await.unwrap();
    assert_eq!(kind(store, &name, Range::All).await, StoreErrorKind::NotFound);
    store.delete(&name).await.unwrap();
    store.delete(&format!("{root}/never/was")).await.unwrap();
    store.put_new(&name, bytes("second")).await.unwrap();
    assert_eq!(store.get(&name, Range::All).await.unwrap(), "second");
}

async fn bad_names(store: &dyn Objects) {
    let long = "x".repeat(901);
    for name in [
        "",
        "/",
        "/a",
        "a/",
        "a//b",
        ".",
        "..",
        "a/../b",
        ".tmp/a",
        "a/.hidden",
        "a b",
        "ä",
        "a\0",
        "a%2f",
        &long,
    ] {
        let put = store.put_new(name, Bytes::new()).await.expect_err(name);
        let get = store.get(name, Range::All).await.expect_err(name);
        let delete = store.delete(name).await.expect_err(name);
        assert_eq!([put.kind, get.kind, delete.kind], [StoreErrorKind::Permanent; 3], "{name:?}");
    }
    for prefix in ["a", "/", "../", ".tmp/", "a//"] {
        assert_eq!(store.list(prefix).await.expect_err(prefix).kind, StoreErrorKind::Permanent);
    }
}

/// Eight at once: one wins, the others hear "exists", and the object is the winner's.
async fn races(store: &Arc<dyn Objects>, name: &str) {
    let racers = (0..8).map(|racer| {
        let (store, name) = (store.clone(), name.to_owned());
        tokio::spawn(async move { store.put_new(&name, bytes(&format!("racer {racer}")).clone()).await })
    });
    let answers: Vec<_> = join_all(racers).await.into_iter().map(Result::unwrap).collect();
    let winners: Vec<_> = (0..8).filter(|racer| answers[*racer].is_ok()).collect();
    assert_eq!(winners.len(), 1, "{answers:?}");
    for answer in answers.iter().filter_map(|answer| answer.as_ref().err()) {
        assert_eq!(answer.kind, StoreErrorKind::Exists, "{answer}");
    }
    assert_eq!(store.get(name, Range::All).await.unwrap(), format!("racer {}", winners[0]));
}

/// Many objects at once, in prefixes that none of them finds made.
async fn races_on_new_directories(store: &Arc<dyn Objects>, root: &str) {
    let puts = (0..40).map(|number| {
        let (store, name) = (store.clone(), format!("{root}/many/{}/{}/object", number % 5, number));
        tokio::spawn(async move { store.put_new(&name, bytes(&name)).await.map(|()| name) })
    });
    let names: BTreeSet<String> =
        join_all(puts).await.into_iter().map(|answer| answer.unwrap().unwrap()).collect();
    let listed: BTreeSet<String> =
        store.list(&format!("{root}/many/")).await.unwrap().into_iter().map(|object| object.name).collect();
    assert_eq!(listed, names);
}
