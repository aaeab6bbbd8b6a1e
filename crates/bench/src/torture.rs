//! Verified writers that see the daemon killed, again and again.
//!
//! Each writer owns every n-th block of an area and writes versions 1, 2, 3 … of its blocks, at most one
//! unanswered write to a block at a time, with the times of sending and of the answer kept. After `kill -9`:
//!
//! * the local directory is kept: every block holds its last answered version, or the one that was on its way;
//! * the local directory is lost: the versions found are a prefix of the history (no write that is there was
//!   sent after an answer to one that is missing), and, where writers pause so that the store keeps up, nothing is
//!   missing whose answer is older than N.
//!
//! Where snapshots are asked for ([`album`]), they are made, read, forked, deleted and gone back to all the while, with
//! rounds of reclaim beside it.

mod album;
pub(crate) mod writer;

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};

use crate::daemon::Daemon;
use album::Album;
use writer::{History, Random, Target, Writer, join, verify_answered};

const WRITERS: u64 = 4;
/// Blocks that are written: small enough that blocks are overwritten often.
const AREA_BLOCKS: u64 = 4_096;
/// What the sealing thread may be late on a busy machine.
const SLACK: Duration = Duration::from_millis(500);

/// What to run.
#[derive(Debug, Clone)]
pub struct Config {
    /// The built program.
    pub esker: PathBuf,
    /// The pool's URL; none for the default below the data directory.
    pub pool: Option<String>,
    /// What the daemon needs to reach the pool.
    pub environment: Vec<(String, String)>,
    /// How many times the daemon is killed.
    pub rounds: u32,
    /// Whether the local directory is lost with each kill.
    pub lose_local: bool,
    /// N of `bounded(N)`, in seconds.
    pub bound_seconds: u32,
    /// How long each writer rests after each batch.
    pub pause: Duration,
    /// Whether snapshots are made meanwhile.
    pub snapshots: bool,
    /// Seed of the times and addresses.
    pub seed: u64,
}

/// What was seen.
#[derive(Debug, Clone, Copy, Default)]
pub struct Outcome {
    /// Rounds done.
    pub rounds: u32,
    /// Writes answered.
    pub writes: u64,
    /// Flushes answered.
    pub flushes: u64,
    /// Answered writes that were lost with the local directory, all younger than N.
    pub lost: u64,
    /// The oldest of them, in milliseconds before the kill.
    pub oldest_lost_ms: u64,
    /// Snapshots that were compared with what was written when they were made.
    pub snapshots: u64,
    /// Of these, snapshots of which the daemon was killed before it said that they are made.
    pub unanswered: u64,
    /// How often the volume went back to one.
    pub rewinds: u64,
    /// Rounds of reclaim that were asked for and answered.
    pub reclaims: u64,
}

/// Runs the rounds in `directory`, which is empty. `progress` gets the rounds done.
///
/// # Errors
/// The first block that is not as promised, with its round.
pub fn run(config: &Config, directory: &Path, progress: impl Fn(u32)) -> Result<Outcome> {
    let mut random = Random(config.seed | 1);
    let mut histories = vec![History::default(); AREA_BLOCKS as usize];
    let mut outcome = Outcome::default();
    let mut album = Album::new(config, directory);
    let mut killed = None;
    for round in 0..config.rounds {
        let daemon = start(config, directory)?;
        let check = Check { config, killed };
        check.verify(&daemon, &mut album, &mut histories, &mut outcome).with_context(|| {
            format!("round {round} of {} with seed {}: {}", config.rounds, config.seed, daemon.log_tail())
        })?;
        // Some lives are longer than N, or no write could be lost that is older.
        let life = Duration::from_millis(200 + random.below(u64::from(config.bound_seconds) * 1_600));
        let work = (&mut histories[..], &mut album);
        killed = Some(write_until_killed(
            daemon,
            work,
            (life, config.pause),
            random.below(u64::MAX),
            &mut outcome,
        )?);
        if config.lose_local {
            std::fs::remove_dir_all(directory.join("local"))?;
        }
        outcome.rounds += 1;
        progress(outcome.rounds);
    }
    let daemon = start(config, directory)?;
    Check { config, killed }.verify(&daemon, &mut album, &mut histories, &mut outcome)?;
    ensure!(daemon.terminate()? == 0, "the daemon drains and ends with 0");
    Ok(outcome)
}

const VOLUME: &str = "torture";

fn target(socket: &Path) -> Target<'_> {
    Target { socket, volume: VOLUME, number: 0 }
}

fn start(config: &Config, directory: &Path) -> Result<Daemon> {
    // What is dead is to go within a run.
    let mut args = vec!["--volume", "torture=256M", "--grace", "1s"];
    if let Some(pool) = &config.pool {
        args.extend(["--pool", pool]);
    }
    let bound = format!("bounded({}s)", config.bound_seconds);
    if !directory.join("created").exists() {
        std::fs::write(directory.join("created"), "")?;
        create_volume(config, directory, &bound)?;
    }
    Daemon::start(&config.esker, directory, &args, &config.environment)
}

/// Makes the pool and the volume with its durability.
fn create_volume(config: &Config, directory: &Path, bound: &str) -> Result<()> {
    let mut args = Vec::new();
    if let Some(pool) = &config.pool {
        args.extend(["--pool", pool]);
    }
    let daemon = Daemon::start(&config.esker, directory, &args, &config.environment)?;
    let created = std::process::Command::new(&config.esker)
        .args(["volume", "create", VOLUME, "256M", "--history", "1s", "--durability", bound, "--data"])
        .arg(directory)
        .output()?;
    ensure!(created.status.success(), "volume create: {}", String::from_utf8_lossy(&created.stderr));
    ensure!(daemon.terminate()? == 0, "the daemon drains and ends with 0");
    Ok(())
}

/// What was done to the daemon since the histories began.
struct Check<'a> {
    config: &'a Config,
    killed: Option<Instant>,
}

impl Check<'_> {
    /// Reads the area; checks what is found against the histories, and makes it their base.
    fn verify(
        &self,
        daemon: &Daemon,
        album: &mut Album<'_>,
        histories: &mut [History],
        outcome: &mut Outcome,
    ) -> Result<()> {
        let found = target(&daemon.socket()).versions(AREA_BLOCKS)?;
        if self.config.lose_local {
            let oldest_missing = verify_prefix(histories, &found, outcome)?;
            if let (Some(killed), Some(answered)) = (self.killed, oldest_missing) {
                self.note_age(killed.saturating_duration_since(answered), outcome)?;
            }
        } else {
            verify_answered(histories, &found)?;
        }
        album.verify(histories, outcome)?;
        let found = album.go_back(outcome)?.unwrap_or(found);
        for (history, version) in histories.iter_mut().zip(found) {
            *history = History { base: version, writes: Vec::new() };
        }
        Ok(())
    }

    /// Nothing older than N is lost, as long as the store takes what is written. Writers that do not pause are faster
    /// than any store: then N is not promised, and the age is only reported.
    fn note_age(&self, age: Duration, outcome: &mut Outcome) -> Result<()> {
        outcome.oldest_lost_ms = outcome.oldest_lost_ms.max(age.as_millis() as u64);
        let bound = Duration::from_secs(u64::from(self.config.bound_seconds));
        if self.config.pause.is_zero() {
            return Ok(());
        }
        ensure!(
            age <= bound + SLACK,
            "a write acknowledged {age:?} before the kill is lost, the bound is {bound:?}"
        );
        Ok(())
    }
}

/// Where the writes that are there end, and those that are missing begin.
#[derive(Default)]
struct Seam {
    /// When the newest that is there was sent, and its block.
    newest_there: Option<(Instant, usize)>,
    /// When the oldest was answered that is missing, and its block.
    oldest_missing: Option<(Instant, usize)>,
    /// Answered writes that are missing.
    missing: u64,
}

impl Seam {
    /// Checks that no write which is there was sent after the answer to one that is missing.
    fn of(histories: &[History], found: &[u64]) -> Result<Seam> {
        let mut seam = Seam::default();
        for (lba, (history, version)) in histories.iter().zip(found).enumerate() {
            let there = version
                .checked_sub(history.base)
                .filter(|there| *there <= history.writes.len() as u64)
                .with_context(|| {
                    format!("block {lba}: found version {version}, expected {} or later", history.base)
                })?;
            let (present, missing) = history.writes.split_at(there as usize);
            if let Some(sent) = present.last() {
                seam.newest_there = seam.newest_there.max(Some((sent.at, lba)));
            }
            for answered in missing.iter().filter_map(|sent| sent.answered) {
                seam.missing += 1;
                let oldest = seam.oldest_missing.unwrap_or((answered, lba));
                seam.oldest_missing = Some(oldest.min((answered, lba)));
            }
        }
        if let (Some(there), Some(missing)) = (seam.newest_there, seam.oldest_missing) {
            ensure!(
                missing.0 >= there.0,
                "not a prefix: a write of block {} is missing, and one of block {} that was sent {:?} after its answer is there",
                missing.1,
                there.1,
                there.0 - missing.0
            );
        }
        Ok(seam)
    }
}

/// Checks that a prefix was found. Returns when the oldest missing write was answered.
fn verify_prefix(histories: &[History], found: &[u64], outcome: &mut Outcome) -> Result<Option<Instant>> {
    let seam = Seam::of(histories, found)?;
    outcome.lost += seam.missing;
    Ok(seam.oldest_missing.map(|(answered, _)| answered))
}

/// Lets the writers run for a while, kills the daemon under them, and returns when that was.
fn write_until_killed(
    daemon: Daemon,
    (histories, album): (&mut [History], &mut Album<'_>),
    (life, pause): (Duration, Duration),
    seed: u64,
    outcome: &mut Outcome,
) -> Result<Instant> {
    let stop = AtomicBool::new(false);
    let socket = daemon.socket();
    let mut owned: Vec<Vec<(u64, &mut History)>> = (0..WRITERS).map(|_| Vec::new()).collect();
    for (lba, history) in histories.iter_mut().enumerate() {
        owned[lba % WRITERS as usize].push((lba as u64, history));
    }
    std::thread::scope(|scope| {
        let writers: Vec<_> = owned
            .into_iter()
            .enumerate()
            .map(|(index, blocks)| {
                let (socket, stop) = (&socket, &stop);
                scope
                    .spawn(move || Writer::new(target(socket), blocks, seed ^ index as u64)?.run(stop, pause))
            })
            .collect();
        let stop = &stop;
        let photographer = scope.spawn(move || album.fill(stop, seed));
        std::thread::sleep(life);
        // From here on a connection may end; the process takes a while to be gone.
        stop.store(true, Ordering::Release);
        let killed = Instant::now();
        daemon.kill()?;
        let (writes, flushes) = join(writers)?;
        outcome.writes += writes;
        outcome.flushes += flushes;
        let Ok(filled) = photographer.join() else { bail!("the thread that makes snapshots panicked") };
        outcome.reclaims += filled?;
        Ok(killed)
    })
}
