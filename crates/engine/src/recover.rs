//! THE way from disk and store to a running volume. Every opening goes through here.
//!
//! Opening for writing, in numbered steps; after a crash at any of them, opening again is right:
//! 1. Find the newest head. Find the local log whose id the last head that is not a fence carries; no other
//!    log is ever replayed (rule H5).
//! 2. Scan that log from the head's sequence on. Damage refuses the volume here, before anything has changed.
//! 3. Sync what was found, so that it cannot be lost by a later power loss.
//! 4. Have what the local disk must give: the directory of a fresh log, the file of the first chunk. A full disk fails
//!    here, however often it is tried, and nothing was put: a claim stays as long as its volume (rule H1).
//! 5. Claim: the next head, with the id of this log (or of a fresh one). Lost: start again at 1.
//! 6. Build the map: the top page, the tail's segments over it in order, a segment that is made of the tail's pieces
//!    (told in `pieces.rs`), then the log's records. The other pages come when somebody asks for what they say.
//! 7. Start a fresh chunk of the new epoch; its header says where the older epoch ended.
//! 8. Logs that were not replayed are moved aside, and reported.

mod room;

use std::sync::Arc;

use esker_format::{
    address::Address,
    chunk::RecordKind,
    head::{Head, HeadKind},
    ids::{LogId, LogPosition, VolumeId},
    page::Page,
    property::Properties,
    segment::SegmentIndex,
};
use esker_io::{BoxFuture, Bug, planted};
use futures_util::future::{try_join, try_join_all};

use self::room::Room;
use crate::{
    EngineError, Result,
    birth::check_alive,
    budget::Budget,
    checkpoint,
    commit::{self, Chain, Claim, Intent, Owner},
    core::{
        fold::{Place, check_runs},
        heads::{HeadFacts, Keep},
        map::Map,
    },
    log::{
        Log, LogDirectory, LogIdentity, LogStart, Pending,
        scan::{self, Scan},
    },
    pieces::{Pieces, Reader},
    pool::{Newest, Pool, describe},
    reclaim::Heads,
    segment_ids::SegmentIds,
    volume::{
        Committed, Effective, Identity, Limits, Pipeline, PipelineStart, StoredMap, Volume, Writer,
        blocks_of, seal_pieces,
    },
};

pub use crate::log::scan::Torn;

/// What a head names may rightly go while it is read, once a newer one does without. In how many newer ones it is looked
/// for: what is damaged is so in all of them.
pub(crate) const NEWER_HEADS_MAX: usize = 16;

/// How to open a volume for writing.
#[derive(Clone)]
pub struct Opening {
    /// The pool.
    pub pool: Arc<Pool>,
    /// Segment ids of this run.
    pub ids: Arc<SegmentIds>,
    /// This run.
    pub owner: Owner,
    /// The volume's name, for messages.
    pub name: String,
    /// The volume.
    pub volume: VolumeId,
    /// Bounds.
    pub limits: Limits,
    /// What all volumes of the daemon may hold in logs.
    pub(crate) budget: Arc<Budget>,
    /// The operator's way out of a damaged log: drop everything at and behind this position.
    pub discard_after: Option<u64>,
}

impl Opening {
    fn directory(&self) -> LogDirectory {
        LogDirectory { volume: self.volume, chunk_bytes: self.limits.chunk_bytes }
    }

    fn heads(&self, newest: &Newest) -> Heads {
        let history = effective(&newest.head.properties, &self.pool.record().properties).history;
        let keep = Keep { heads: self.limits.heads_kept, history };
        Heads::new(&newest.numbers, &newest.strays, keep)
    }
}

/// An open volume, and the work that must run beside it.
pub struct Opened {
    /// The volume.
    pub volume: Arc<Volume>,
    /// Runs until the volume is drained or has stopped.
    pub work: BoxFuture<'static, ()>,
    /// What was found.
    pub report: Report,
}

/// What an opening found.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// The epoch that the claim began.
    pub epoch: u64,
    /// Records replayed from the local log.
    pub replayed: usize,
    /// The tail that was cut off, if one was.
    pub torn: Option<Torn>,
    /// Logs that were not replayed, and where they are now.
    pub set_aside: Vec<String>,
}

/// Opens a volume for writing.
pub async fn open(opening: &Opening) -> Result<Opened> {
    for _ in 0..commit::CLAIM_TRIES_MAX {
        let newest = opening.pool.newest_head(opening.volume).await?;
        check_alive(&describe(&opening.name), &newest.head)?;
        if newest.head.kind == HeadKind::Frozen {
            let name = &opening.name;
            return Err(EngineError::Invalid(format!(
                "{name} is a snapshot; fork it: esker fork {name} NEW"
            )));
        }
        if thin_heads(opening, &newest).await? {
            continue;
        }
        let carried = carried_head(opening, &newest.head).await?;
        let room = Room::make(opening, find_log(opening, &newest, &carried)?, newest.head.sequence)?;
        let intent = Intent::Write(room.log);
        // As often as it takes: a claim whose outcome is unknown would leave the volume to nobody.
        let never = || false;
        match commit::try_claim(&opening.pool, &newest, opening.owner, intent, never).await? {
            Claim::Won(chain) => return start(opening, &newest, *chain, room).await,
            Claim::Lost => room.give_up(opening),
        }
    }
    Err(commit::contended(opening.volume))
}

/// Opens a volume's newest committed state for reading. Claims nothing and writes nothing.
pub async fn open_read_only(pool: Arc<Pool>, name: &str, volume: VolumeId) -> Result<Arc<Volume>> {
    let mut seen = pool.fetcher().table().number();
    let mut newest = pool.newest_head(volume).await?;
    let mut tries = 1;
    let (mut map, pieces) = loop {
        check_alive(&describe(name), &newest.head)?;
        let read_pieces = Pieces::read(&pool, &newest.head, Reader::Stays);
        let read = match try_join(committed_map(&pool, &newest.head), read_pieces).await {
            Ok(read) => pool.is_still_there(&newest.head, seen).await.map(|()| read),
            Err(error) => Err(error),
        };
        let error = match read {
            Ok(((map, _), pieces)) => break (map, pieces),
            Err(error) => error,
        };
        seen = pool.fetcher().table().number();
        // Heads go when their pieces are in a segment: then there is a newer one, which says so.
        newest = match pool.newer_head(&newest.head).await? {
            Some(newer) if tries < NEWER_HEADS_MAX => newer,
            _ => return Err(error),
        };
        tries += 1;
    };
    if let Some(pieces) = &pieces {
        pieces.lay_over(&mut map);
    }
    let identity = Identity { pieces, ..identity(&pool, name, &newest.head) };
    let volume = Volume::new(identity, pool.clone(), map, None);
    // The piece is read.
    newest.head.piece = Vec::new();
    pool.uses().reads(&volume, newest.head);
    Ok(volume)
}

/// The settings of a volume after inheritance.
pub fn effective(volume: &Properties, pool: &Properties) -> Effective {
    let inherited = volume.over(pool);
    Effective {
        durability: inherited.durability_or_built_in(),
        compression: inherited.compression_or_built_in(),
        on_lag: inherited.on_lag_or_built_in(),
        history: inherited.history_or_built_in(),
    }
}

/// The head whose log may be replayed: the newest one, fences left aside: they are written by others than the
/// volume's writer and change nothing.
async fn carried_head(opening: &Opening, newest: &Head) -> Result<Head> {
    let mut head = newest.clone();
    while head.kind == HeadKind::Fence {
        let Some(previous) = head.previous else { break };
        match opening.pool.head(opening.volume, previous.number).await? {
            Some(before) => head = before,
            None => break,
        }
    }
    Ok(head)
}

/// The local log that may be replayed over `newest`, scanned.
fn find_log(opening: &Opening, newest: &Newest, head: &Head) -> Result<Option<(LogId, Scan)>> {
    let world = opening.pool.world();
    let directory = opening.directory();
    // Rule H5: the only log that may be replayed is the one the newest history was made from.
    let logs = directory.logs(world)?;
    let carried = head.log;
    let carried =
        if planted(Bug::AnyLogReplayed) { logs.first().copied().unwrap_or(carried) } else { carried };
    if !logs.contains(&carried) {
        return Ok(None);
    }
    let request = scan::Request {
        world,
        directory,
        log: carried,
        covered: newest.head.sequence,
        discard_after: opening.discard_after,
    };
    let scan = scan::scan(&request)?;
    // A head with data was committed by a run that had begun a chunk of its epoch here. A directory that lacks it
    // is an older copy, and went on (or would go on) with another history under the same id.
    let committed_here = matches!(head.kind, HeadKind::Data | HeadKind::Released);
    if committed_here && scan.newest_epoch != Some(head.epoch) && !planted(Bug::AnyLogReplayed) {
        return Ok(None);
    }
    directory.sync_names(world, carried)?;
    scan.sync()?;
    Ok(Some((carried, scan)))
}

/// A volume with too many heads can be claimed by nobody (rule H8), and only its owner thins them: so whoever
/// opens one may remove what every owner could.
async fn thin_heads(opening: &Opening, newest: &Newest) -> Result<bool> {
    let mut heads = opening.heads(newest);
    let before = heads.count();
    while heads.count() >= commit::HEADS_MAX && heads.pass(&opening.pool, opening.volume).await? > 0 {}
    Ok(heads.count() < before)
}

/// Steps 6 to 8.
async fn start(opening: &Opening, newest: &Newest, chain: Chain, room: Room) -> Result<Opened> {
    let Room { log, scan, .. } = room;
    let world = opening.pool.world().clone();
    let head = chain.newest().clone();
    // Until they are in the store.
    let _turn = opening.pool.pieces().turn(&newest.head).await;
    let read_pieces = Pieces::read(&opening.pool, &newest.head, Reader::Passes);
    let ((mut map, tail), pieces) = try_join(committed_map(&opening.pool, &head), read_pieces).await?;
    #[cfg(feature = "planted")]
    let pieces = match planted(Bug::PiecesUnderLog) {
        true => pieces.map(|pieces| pieces.without(&scan.records)),
        false => pieces,
    };
    let sealed = match pieces {
        Some(pieces) => {
            let compression = effective(&head.properties, &opening.pool.record().properties).compression;
            let sealed = seal_pieces(&opening.pool, &opening.ids, pieces.intakes(), compression).await?;
            for index in sealed.iter().map(|done| &done.index) {
                index.runs.iter().for_each(|run| map.apply_run(run, index.id));
            }
            sealed
        }
        None => Vec::new(),
    };
    for pending in &scan.records {
        replay(&mut map, &head, pending)?;
    }
    let mut report =
        Report { epoch: head.epoch, replayed: scan.records.len(), torn: scan.torn, set_aside: Vec::new() };
    let log_identity = LogIdentity { volume: opening.volume, log, epoch: head.epoch };
    let log_start = LogStart {
        next_sequence: scan.last_sequence.max(head.sequence) + 1,
        chunks: scan.chunks,
        pending: scan.records.into(),
        next_chunk: scan.next_chunk,
        files: scan.files,
        budget: opening.budget.clone(),
    };
    let started = Log::start(world.clone(), log_identity, log_start)?;
    report.set_aside = set_others_aside(opening, log)?;
    let committed = Committed::of(&head);
    let writer = Writer::new(started, opening.ids.clone(), opening.limits, committed);
    let pool = opening.pool.clone();
    let volume = Volume::new(identity(&pool, &opening.name, &head), pool, map, Some(writer));
    let mut heads = opening.heads(newest);
    heads.written(HeadFacts::of(&head));
    let pipeline = Pipeline::new(volume.clone(), PipelineStart { chain, heads, tail, sealed });
    let directory = opening.directory();
    let work = Box::pin(async move {
        // What is released is in the store to the last record: its log is not needed any more.
        if pipeline.run().await
            && let Err(error) = directory.remove(&world, log)
        {
            tracing::warn!(%error, "the log of a released volume could not be removed");
        }
    });
    Ok(Opened { volume, work, report })
}

/// The map as of a head, of which only the top page is loaded, and the indexes of its tail.
pub(crate) async fn committed_map(pool: &Pool, head: &Head) -> Result<(Map, Vec<Arc<SegmentIndex>>)> {
    let blocks = blocks_of(head.size_bytes);
    let fetcher = pool.fetcher();
    let indexes = try_join_all(head.tail.iter().map(|segment| fetcher.index(segment.id, Some(segment))));
    let (mut map, tail) = match head.root {
        None => (Map::new(blocks), indexes.await?),
        Some(root) => {
            let mut map = Map::unloaded(blocks);
            let fill = |place: Place, page: &Page| map.fill(place.level, place.index, page, &(0..blocks));
            let top = checkpoint::load(fetcher, root, blocks, &(0..0), fill);
            let ((), tail) = try_join(top, indexes).await?;
            (map, tail)
        }
    };
    for index in &tail {
        check_runs(index.id, &index.runs, blocks)?;
        for run in &index.runs {
            map.apply_run(run, index.id);
        }
    }
    Ok((map, tail))
}

fn replay(map: &mut Map, head: &Head, pending: &Pending) -> Result<()> {
    let record = &pending.record;
    let blocks = blocks_of(head.size_bytes);
    if record.lba.checked_add(record.blocks).is_none_or(|end| end > blocks) {
        return Err(EngineError::Damaged {
            object: format!("record {} of the log of volume {}", record.sequence, head.volume),
            message: format!(
                "expected a range inside {blocks} blocks, found {} blocks at {}",
                record.blocks, record.lba
            ),
        });
    }
    match record.kind {
        RecordKind::Write if planted(Bug::OffByOne) && record.lba > 0 => {
            map.replay_write(record.lba - 1, record.blocks, LogPosition(pending.position()));
        }
        RecordKind::Write => map.replay_write(record.lba, record.blocks, LogPosition(pending.position())),
        RecordKind::Hole => drop(map.set_range(record.lba, record.blocks, Address::HOLE)),
        RecordKind::Zero => drop(map.set_range(record.lba, record.blocks, Address::ZERO)),
    }
    Ok(())
}

/// Moves every other log of the volume out of the way; one that holds no record is removed.
fn set_others_aside(opening: &Opening, log: LogId) -> Result<Vec<String>> {
    let world = opening.pool.world();
    let directory = opening.directory();
    let mut moved = Vec::new();
    for other in directory.logs(world)? {
        if other == log {
            continue;
        }
        let request = scan::Request { world, directory, log: other, covered: 0, discard_after: None };
        let empty = scan::scan(&request).is_ok_and(|scan| scan.records() == 0 && scan.torn.is_none());
        if empty {
            directory.remove(world, other)?;
        } else {
            let path = directory.set_aside(world, other)?;
            tracing::warn!(
                volume = %opening.name, %path,
                "a local log was not replayed, because the volume's history went on without it; it is kept there"
            );
            moved.push(path);
        }
    }
    Ok(moved)
}

fn identity(pool: &Pool, name: &str, head: &Head) -> Identity {
    Identity {
        name: name.to_owned(),
        id: head.volume,
        stored: StoredMap::of(head),
        sequence: head.sequence,
        effective: effective(&head.properties, &pool.record().properties),
        pieces: None,
    }
}
