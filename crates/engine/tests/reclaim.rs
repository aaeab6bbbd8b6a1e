//! Rounds of reclaim on real edges: a temporary directory as local disk, objects in memory.

mod common;

use std::{sync::Arc, time::Duration};

use esker_engine::{
    EngineError,
    host::Host,
    reclaim::round::{Options, Report},
    volume::{Change, Limits, Scratch, Volume, WriteStep},
};
use esker_format::{
    head::Head,
    names,
    property::{Durability, History, Properties},
};
use esker_io::{Objects, Range, objects};

async fn newest(host: &Host) -> Head {
    let volume = host.pool().lookup("v").await.unwrap().expect("it has a name");
    host.pool().newest_head(volume).await.unwrap().head
}

/// Writes the same blocks, and has them committed.
async fn overwrite(host: &Host, volume: &Volume, byte: u8) -> Head {
    let (mut scratch, data) = (Scratch::default(), vec![byte; 64 << 10]);
    volume.change(&[Change::Write { offset: 0, data: &data }], &mut scratch);
    assert!(matches!(scratch.steps[..], [WriteStep::Done]), "acknowledged: {:?}", scratch.steps);
    host.snapshot("v", "now", Vec::new()).await.unwrap();
    host.delete("v@now").await.unwrap();
    newest(host).await
}

async fn round(host: &Host) -> Result<Report, EngineError> {
    let grace = Duration::ZERO;
    let options = Options { grace, force: true, dry_run: false, gently: false, limits: Default::default() };
    host.reclaim(options, &|_, _| ()).await
}

async fn is_there(objects: &Arc<dyn Objects>, name: &str) -> bool {
    objects.get(name, Range::All).await.is_ok()
}

/// The PUT of a head may be tried twice, and its first try arrive when the head was removed and what it named deleted.
#[tokio::test]
async fn an_old_head_that_comes_back_stops_no_round() {
    let directory = tempfile::tempdir().unwrap();
    let objects = objects::open("memory://").unwrap();
    let host = common::host(directory.path(), objects.clone(), 1, Limits::default()).await;
    let history = History::of_seconds(0);
    let properties = Properties { durability: Some(Durability::Ephemeral), history, ..Properties::default() };
    let volume = host.create("v", 1 << 20, properties).await.unwrap();
    let old = overwrite(&host, &volume, 1).await;
    let (name, segment) = (names::head(old.volume, old.number), names::segment(old.tail[0].id));
    let late = objects.get(&name, Range::All).await.unwrap();
    for byte in 2..6 {
        overwrite(&host, &volume, byte).await;
        round(&host).await.unwrap();
    }
    assert!(!is_there(&objects, &name).await, "it is older than the history");
    assert!(!is_there(&objects, &segment).await, "nothing names it");

    volume.drain().await.unwrap();
    objects.put_new(&name, late).await.unwrap();
    // A run that has not seen any of it.
    let directory = tempfile::tempdir().unwrap();
    let other = common::host(directory.path(), objects.clone(), 2, Limits::default()).await;
    round(&other).await.unwrap();
    assert!(!is_there(&objects, &name).await, "it goes again");
}
