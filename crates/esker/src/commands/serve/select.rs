//! Which volumes a daemon opens.
//!
//! 1. Those that are named. Naming a volume for writing takes it over from whoever has it.
//! 2. Those with a log here: what it holds may be nowhere else.
//! 3. If none is named, all of the pool.
//!
//! What is not named is opened only when that takes nothing from anybody: the volume is released, or this very
//! directory was the last to write it.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use anyhow::Context;
use esker_control::api::{CreateVolume, OpenVolume};
use esker_engine::{
    EngineError,
    pool::{NamedVolume, Pool},
};
use esker_format::{
    head::{Head, HeadKind},
    ids::{DirectoryId, VolumeId},
};
use futures_util::{StreamExt, TryStreamExt, stream};

use super::Started;
use crate::{catalogue, config::VolumeArg, daemon::Daemon, size};

/// Volumes that are looked at or opened at the same time.
const VOLUMES_AT_ONCE: usize = 8;
/// How long after a failure that may pass a volume is tried again, at first and at most.
const AGAIN_FIRST: Duration = Duration::from_secs(5);
const AGAIN_LONGEST: Duration = Duration::from_secs(60);

/// What is to be opened.
#[derive(Debug, Clone, Default)]
pub(crate) struct Selected {
    /// Names, and whether for reading only.
    open: Vec<(String, bool)>,
    /// Every volume of the pool at the start.
    known: Vec<NamedVolume>,
}

impl Selected {
    /// Whether a volume is to be opened for reading only.
    fn reads(&self, name: &str) -> bool {
        self.open.iter().any(|(open, read_only)| open == name && *read_only)
    }

    /// The volumes that are not open, although there is a log of them here.
    pub(crate) fn left_in_logs(&self, started: &Started) -> Vec<String> {
        // What cannot be listed is reported as left.
        let logs = started.data.volumes_with_log();
        let log = |volume: VolumeId| logs.as_ref().map_or(true, |logs| logs.contains(&volume));
        let daemon = &started.daemon;
        let closed: BTreeSet<String> =
            daemon.opening().into_iter().chain(daemon.failures().into_iter().map(|(name, _)| name)).collect();
        let left = self.known.iter().filter(|known| closed.contains(&known.name) && log(known.volume));
        left.map(|known| known.name.clone()).collect()
    }
}

/// Makes what is missing, and says what is to be opened.
pub(crate) async fn select(started: &Started, named: &[VolumeArg]) -> anyhow::Result<Selected> {
    let pool = started.daemon.host.pool();
    let mut selected = Selected { known: pool.names().await?, open: Vec::new() };
    for wanted in named {
        let twice =
            named.iter().any(|other| other.name == wanted.name && other.read_only != wanted.read_only);
        anyhow::ensure!(!twice, "volume {} is named twice, for writing and read-only", wanted.name);
        make_or_compare(pool, &selected.known, wanted).await?;
        selected.open.push((wanted.name.clone(), wanted.read_only));
    }
    let unnamed = unnamed(started, &selected, named.is_empty())?;
    selected.open.extend(
        unclaimed(&started.daemon, started.directory, unnamed).await.into_iter().map(|name| (name, false)),
    );
    Ok(selected)
}

async fn make_or_compare(pool: &Pool, known: &[NamedVolume], wanted: &VolumeArg) -> anyhow::Result<()> {
    let VolumeArg { name, size_bytes, .. } = wanted;
    let Some(size_bytes) = *size_bytes else { return Ok(()) };
    let existing = known.iter().find(|known| known.name == *name);
    let Some(existing) = existing else {
        let new = CreateVolume {
            name: name.clone(),
            size_bytes,
            durability: None,
            compression: None,
            on_lag: None,
        };
        let properties = catalogue::check_new(&new)?;
        return match pool.create_volume(name, size_bytes, properties).await {
            Ok(_) => Ok(()),
            Err(EngineError::Exists(_)) => {
                anyhow::bail!("volume {name} was made by somebody else just now; try again")
            }
            Err(error) => Err(error).with_context(|| format!("volume {name} cannot be made")),
        };
    };
    // A volume whose head cannot be read fails when it is opened, and stops no other.
    let Ok(newest) = pool.newest_head(existing.volume).await else { return Ok(()) };
    let found = newest.head.size_bytes;
    anyhow::ensure!(
        found == size_bytes,
        "volume {name} exists with {} ({found} bytes), not {} ({size_bytes} bytes); serve it with --volume {name}, or change \
         it with esker volume resize",
        size::show(found),
        size::show(size_bytes),
    );
    Ok(())
}

/// The volumes that are not named but may have to be opened.
fn unnamed(started: &Started, selected: &Selected, everything: bool) -> anyhow::Result<Vec<NamedVolume>> {
    let logs = started.data.volumes_with_log()?;
    for volume in &logs {
        if !selected.known.iter().any(|known| known.volume == *volume) {
            tracing::warn!(%volume, "there is a log of a volume that has no name in this pool; it was left alone");
        }
    }
    let named = |known: &NamedVolume| selected.open.iter().any(|(name, _)| *name == known.name);
    // Snapshots are opened for those who ask for one.
    let volume = |known: &NamedVolume| !catalogue::is_snapshot(&known.name);
    let wanted =
        |known: &&NamedVolume| volume(known) && !named(known) && (everything || logs.contains(&known.volume));
    Ok(selected.known.iter().filter(wanted).cloned().collect())
}

/// Those of the volumes that can be opened without taking them from anybody. The others are reported.
async fn unclaimed(daemon: &Daemon, directory: DirectoryId, volumes: Vec<NamedVolume>) -> Vec<String> {
    let pool = daemon.host.pool();
    let looks: Vec<_> = volumes
        .into_iter()
        .map(|known| async move {
            let newest = pool.newest_head(known.volume).await;
            (known.name, newest.map(|newest| newest.head))
        })
        .collect();
    let looked: Vec<_> = stream::iter(looks).buffered(VOLUMES_AT_ONCE).collect().await;
    let mut free = Vec::new();
    for (name, head) in looked {
        match head {
            Ok(head) => match check_free(&name, &head, directory) {
                Ok(()) => free.push(name),
                Err(taken) => daemon.failed(&name, &taken),
            },
            Err(error) => daemon.not_opened(&name, &error),
        }
    }
    free
}

/// Whether opening the volume of this head takes nothing from anybody: it was released, or `directory` wrote it last.
///
/// # Errors
/// Who has it.
pub(crate) fn check_free(name: &str, head: &Head, directory: DirectoryId) -> anyhow::Result<()> {
    anyhow::ensure!(head.kind != HeadKind::Frozen, "{name} is a snapshot, which nobody writes; fork it");
    anyhow::ensure!(
        head.kind != HeadKind::Unborn,
        "{name} is a fork that was never finished; delete it, or make it again"
    );
    anyhow::ensure!(
        head.kind == HeadKind::Released || head.directory == directory,
        "it was last written from another data directory (run {}, head {}, not released) and was not named; if that \
         one is gone, take it over with --volume {name}",
        head.run,
        head.number
    );
    Ok(())
}

/// Opens all, a few at a time. Failures are kept in the daemon.
pub(crate) async fn open_all(daemon: Arc<Daemon>, selected: Selected) {
    let opens: Vec<_> = selected
        .open
        .into_iter()
        .map(|(name, read_only)| {
            let daemon = daemon.clone();
            async move {
                let request = OpenVolume { discard_after: None, read_only };
                match daemon.open_volume(&name, &request).await {
                    Ok(opened) => {
                        tracing::info!(volume = %name, epoch = opened.epoch, replayed = opened.replayed, "open");
                    }
                    // The daemon keeps and shows it.
                    Err(_error) => {}
                }
                Ok::<_, std::convert::Infallible>(())
            }
        })
        .collect();
    let Ok(()) = stream::iter(opens).buffer_unordered(VOLUMES_AT_ONCE).try_collect().await;
}

/// Opens those again whose opening failed for a reason that may pass. By then somebody else may have taken one, named or
/// not: that is respected.
pub(crate) async fn open_again(daemon: Arc<Daemon>, directory: DirectoryId, selected: Selected) {
    let mut pause = AGAIN_FIRST;
    loop {
        tokio::time::sleep(pause).await;
        let failed = daemon.worth_another_try();
        let wanted = |name: &String| failed.contains(name);
        let known = selected.known.iter().filter(|known| wanted(&known.name)).cloned().collect();
        let free = unclaimed(&daemon, directory, known).await;
        let read_only = |(name, read_only): &&(String, bool)| *read_only && wanted(name);
        let mut open: Vec<_> = selected.open.iter().filter(read_only).cloned().collect();
        open.extend(free.into_iter().map(|name| (name, false)).filter(|(name, _)| !selected.reads(name)));
        open_all(daemon.clone(), Selected { open, known: Vec::new() }).await;
        pause = if failed.is_empty() { AGAIN_FIRST } else { (pause * 2).min(AGAIN_LONGEST) };
    }
}
