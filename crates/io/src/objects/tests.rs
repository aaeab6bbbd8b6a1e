use std::future::Future;

use bytes::Bytes;

use super::{Counted, MemoryObjects, Objects, Range, Traffic, conformance, open};
use crate::sync::Arc;

fn threaded(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_all()
        .build()
        .unwrap()
        .block_on(test);
}

#[test]
fn memory_conforms() {
    threaded(conformance::all(Arc::new(MemoryObjects::new())));
}

#[test]
fn files_conform() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&format!("file://{}/not/yet/there", dir.path().display())).unwrap();
    threaded(conformance::all(store));
}

/// Runs when `ESKER_TEST_S3` holds a URL such as `s3://bucket/prefix` (and the `AWS_*` environment fits).
#[test]
fn s3_conforms() {
    if let Ok(url) = std::env::var("ESKER_TEST_S3") {
        threaded(conformance::all(open(&url).unwrap()));
    }
}

/// Runs when `ESKER_TEST_AZURE` holds a URL such as `az://container/prefix` (and the `AZURE_*` environment fits).
#[test]
fn azure_conforms() {
    if let Ok(url) = std::env::var("ESKER_TEST_AZURE") {
        threaded(conformance::all(open(&url).unwrap()));
    }
}

/// Runs when `ESKER_TEST_GCS` holds a URL such as `gs://bucket/prefix` (and the `GOOGLE_*` environment fits).
#[test]
fn gcs_conforms() {
    if let Ok(url) = std::env::var("ESKER_TEST_GCS") {
        threaded(conformance::all(open(&url).unwrap()));
    }
}

#[tokio::test]
async fn one_memory_url_is_one_store_while_somebody_holds_it() {
    let (one, two, other) = ("memory://shared", "memory://shared", "memory://other");
    let (one, two, other) = (open(one).unwrap(), open(two).unwrap(), open(other).unwrap());
    one.put_new("a", Bytes::new()).await.unwrap();
    assert_eq!(two.list("").await.unwrap().len(), 1);
    assert_eq!(other.list("").await.unwrap().len(), 0);
    assert_eq!(one.describe(), "memory://shared");
    drop((one, two));
    assert_eq!(open("memory://shared").unwrap().list("").await.unwrap().len(), 0);
}

#[test]
fn a_url_that_opens_nothing_says_what_would() {
    let error = |url: &str| open(url).err().expect(url).to_string();
    assert!(error("/var/lib/pool").contains("file:///var/lib/pool"));
    assert!(error("file://").contains("no path"));
    assert!(error("s3://").contains("no bucket"));
    assert!(error("gs:///pool").contains("expected gs://BUCKET/PREFIX, found no bucket"));
    assert!(error("az://").contains("expected az://CONTAINER/PREFIX, found no container"));
    assert!(error("ftp://host/pool").contains(super::URLS));
    assert!(error("s3://bucket/a/../b").contains("not an object name"));
    let error = error("http://key:secret@host/pool?token=hidden");
    assert!(!error.contains("secret") && !error.contains("hidden"), "{error}");
}

#[tokio::test]
async fn counts_are_exact() {
    let counted = Counted::new(Arc::new(MemoryObjects::new()));
    counted.put_new("a", Bytes::from_static(b"12345")).await.unwrap();
    counted.put_new("a", Bytes::from_static(b"67")).await.unwrap_err();
    counted.get("a", Range::Suffix(2)).await.unwrap();
    counted.get("b", Range::All).await.unwrap_err();
    counted.get("a", Range::Bytes { start: 0, end: 9 }).await.unwrap_err();
    counted.list("").await.unwrap();
    counted.delete("a").await.unwrap();
    let expected = Traffic { puts: 2, gets: 3, lists: 1, deletes: 1, errors: 1, bytes_up: 7, bytes_down: 2 };
    assert_eq!(counted.snapshot(), expected);
}
