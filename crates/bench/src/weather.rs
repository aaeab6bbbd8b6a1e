//! Bad weather: volumes written and verified while the store fails in every way, and the daemon is killed and stopped.
//!
//! In numbered steps:
//! 1. An S3 server, the [`proxy`](crate::proxy) before it, and a daemon with volumes of each durability and a small dirty
//!    bound. The sky changes every few seconds.
//! 2. A life of the daemon: all volumes open, every block is verified, then writers write. They are never answered with an
//!    error: where the store is away they wait at the bound. The daemon may be stopped for seconds, and is killed.
//! 3. When the time is over the sky clears. Everything drains, and the daemon ends well.
//! 4. Each volume is opened from the store alone, in a fresh directory, and is what it was, byte for byte.

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::{
    control,
    daemon::Daemon,
    proxy::{Proxy, Sky},
    seaweed::Seaweed,
    torture::writer::{History, Random, Target, Writer, join, verify_answered},
};

/// The volumes: their names and durabilities.
const VOLUMES: [(&str, &str); 3] =
    [("fleeting", "ephemeral"), ("quick", "bounded(1s)"), ("usual", "bounded(5s)")];
/// Blocks of each that are written: more than the dirty bound holds.
const AREA_BLOCKS: u64 = 2_048;
const DIRTY_BOUND: &str = "4M";
/// A writer's rest after each batch, so that a life is not one burst.
const PAUSE: Duration = Duration::from_millis(20);
/// In bad weather an opening or a read may fail; in the end it does not.
const PATIENCE: Duration = Duration::from_secs(300);

/// What to run.
#[derive(Debug, Clone)]
pub struct Config {
    /// The built program.
    pub esker: PathBuf,
    /// How long the weather is bad.
    pub duration: Duration,
    /// Decides the weather, the lives and the writes.
    pub seed: u64,
}

/// What was seen.
#[derive(Debug, Clone, Copy, Default)]
pub struct Outcome {
    /// Lives of the daemon.
    pub lives: u32,
    /// Times that it was stopped and went on.
    pub stops: u32,
    /// Starts of the daemon that failed in bad weather.
    pub failed_starts: u32,
    /// Verifications that had to be begun again because a read failed.
    pub failed_reads: u32,
    /// Writes answered.
    pub writes: u64,
    /// Flushes answered.
    pub flushes: u64,
    /// Requests that reached the proxy.
    pub requests: u64,
    /// Of these, those to which something was done.
    pub broken: u64,
    /// How long the last drain took under a clear sky, in milliseconds.
    pub drained_ms: u64,
}

/// One run.
struct Run<'a> {
    config: &'a Config,
    directory: &'a Path,
    args: Vec<String>,
    environment: Vec<(String, String)>,
    histories: Vec<Vec<History>>,
    random: Random,
    outcome: Outcome,
}

/// Runs in `directory`, which is empty. `progress` gets what was seen so far.
///
/// # Errors
/// The first thing that is not as promised.
pub fn run(config: &Config, directory: &Path, progress: impl Fn(&Outcome)) -> Result<Outcome> {
    let server = Seaweed::start(&Seaweed::program()?)?;
    let proxy = Proxy::start(server.address(), config.seed)?;
    let history = || vec![History::default(); AREA_BLOCKS as usize];
    let mut run = Run {
        config,
        directory,
        args: ["--pool", &server.url("weather"), "--dirty-bound", DIRTY_BOUND].map(str::to_owned).into(),
        environment: proxy.environment(server.environment()),
        histories: VOLUMES.iter().map(|_| history()).collect(),
        random: Random(config.seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1),
        outcome: Outcome::default(),
    };
    run.make_volumes()?;
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| change_sky(&proxy, config.seed, &over));
        let outcome = run.lives(&progress);
        over.store(true, Ordering::Release);
        outcome
    })?;
    proxy.set_sky(Sky::Clear);
    run.end()?;
    let counts = proxy.counts();
    Ok(Outcome { requests: counts.requests, broken: counts.broken, ..run.outcome })
}

fn change_sky(proxy: &Proxy, seed: u64, over: &AtomicBool) {
    let mut random = Random(seed.rotate_left(32) | 1);
    while !over.load(Ordering::Acquire) {
        let sky = match random.below(4) {
            0 => Sky::Clear,
            _ => Sky::BAD[random.below(Sky::BAD.len() as u64) as usize],
        };
        eprintln!("the sky: {sky:?}");
        proxy.set_sky(sky);
        let until = Instant::now() + Duration::from_millis(2_000 + random.below(10_000));
        while Instant::now() < until && !over.load(Ordering::Acquire) {
            sleep(Duration::from_millis(50));
        }
    }
}

impl Run<'_> {
    fn make_volumes(&mut self) -> Result<()> {
        let daemon = self.start_in(self.directory)?;
        for (name, durability) in VOLUMES {
            control::create(&daemon.data, name, AREA_BLOCKS * 4096, durability)?;
        }
        ensure!(daemon.terminate()? == 0, "the daemon drains and ends with 0");
        Ok(())
    }

    fn start_in(&self, directory: &Path) -> Result<Daemon> {
        let args: Vec<&str> = self.args.iter().map(String::as_str).collect();
        Daemon::start(&self.config.esker, directory, &args, &self.environment)
    }

    /// A daemon that serves all volumes, however often it takes.
    fn start(&mut self, directory: &Path) -> Result<Daemon> {
        let begun = Instant::now();
        let daemon = loop {
            match self.start_in(directory) {
                Ok(daemon) => break daemon,
                Err(error) if begun.elapsed() > PATIENCE => return Err(error),
                Err(_) => self.outcome.failed_starts += 1,
            }
        };
        while control::running(&daemon.data)? < VOLUMES.len() as u64 {
            ensure!(begun.elapsed() < PATIENCE, "volumes do not open: {}", daemon.log_tail());
            sleep(Duration::from_millis(200));
        }
        Ok(daemon)
    }

    fn lives(&mut self, progress: &impl Fn(&Outcome)) -> Result<()> {
        let begun = Instant::now();
        while begun.elapsed() < self.config.duration {
            let daemon = self.start(self.directory)?;
            self.verify(&daemon, verify_answered)?;
            self.live(daemon)?;
            self.outcome.lives += 1;
            progress(&self.outcome);
        }
        Ok(())
    }

    /// Reads all volumes, side by side, and compares; what is found is the base of what follows.
    fn verify(&mut self, daemon: &Daemon, compare: fn(&[History], &[u64]) -> Result<()>) -> Result<()> {
        let socket = daemon.socket();
        let read = &|(number, (volume, _)): (usize, (&'static str, &str))| {
            versions(Target { socket: &socket, volume, number: number as u64 })
        };
        let found: Vec<_> = std::thread::scope(|scope| {
            let reads: Vec<_> =
                VOLUMES.into_iter().enumerate().map(|volume| scope.spawn(move || read(volume))).collect();
            reads.into_iter().map(|read| read.join()).collect()
        });
        for ((found, histories), (volume, _)) in found.into_iter().zip(&mut self.histories).zip(VOLUMES) {
            let Ok(found) = found else { bail!("a reader panicked") };
            let (found, failed) = found.with_context(|| format!("volume {volume}: {}", daemon.log_tail()))?;
            self.outcome.failed_reads += failed;
            compare(histories, &found).with_context(|| format!("volume {volume}"))?;
            for (history, base) in histories.iter_mut().zip(found) {
                *history = History { base, writes: Vec::new() };
            }
        }
        Ok(())
    }

    /// Lets writers write, stops the daemon for a while or not, and kills it.
    fn live(&mut self, daemon: Daemon) -> Result<()> {
        let stop = AtomicBool::new(false);
        let socket = daemon.socket();
        let life = Duration::from_millis(3_000 + self.random.below(12_000));
        let rest = (self.random.below(2) == 0).then(|| Duration::from_millis(500 + self.random.below(4_000)));
        let seed = self.random.below(u64::MAX);
        let outcome = &mut self.outcome;
        let histories = &mut self.histories;
        std::thread::scope(|scope| {
            let writers: Vec<_> = VOLUMES
                .into_iter()
                .zip(histories)
                .enumerate()
                .map(|(number, ((volume, _), histories))| {
                    let blocks = (0..).zip(histories).collect();
                    let target = Target { socket: &socket, volume, number: number as u64 };
                    let stop = &stop;
                    scope.spawn(move || Writer::new(target, blocks, seed ^ number as u64)?.run(stop, PAUSE))
                })
                .collect();
            sleep(life / 2);
            if let Some(rest) = rest {
                stand_still(daemon.pid(), rest)?;
                outcome.stops += 1;
            }
            sleep(life / 2);
            stop.store(true, Ordering::Release);
            daemon.kill()?;
            let (writes, flushes) = join(writers)?;
            outcome.writes += writes;
            outcome.flushes += flushes;
            Ok(())
        })
    }

    /// Under a clear sky: everything is there, drains, and can be opened from the store alone.
    fn end(&mut self) -> Result<()> {
        let daemon = self.start(self.directory)?;
        self.verify(&daemon, verify_answered)?;
        let begun = Instant::now();
        ensure!(daemon.terminate()? == 0, "the daemon drains and ends with 0");
        self.outcome.drained_ms = begun.elapsed().as_millis() as u64;
        let fresh = self.directory.join("fresh");
        std::fs::create_dir(&fresh)?;
        let daemon = self.start(&fresh)?;
        self.verify(&daemon, |histories, found| {
            let expected = histories.iter().map(|history| history.base);
            let differs = expected.zip(found).position(|(expected, found)| expected != *found);
            ensure!(differs.is_none(), "block {differs:?} differs in the store");
            Ok(())
        })?;
        ensure!(daemon.terminate()? == 0, "the daemon drains and ends with 0");
        Ok(())
    }
}

/// The versions of all blocks, and how often that was begun again: a read may fail for want of the store, never with a
/// wrong block.
fn versions(target: Target<'_>) -> Result<(Vec<u64>, u32)> {
    let begun = Instant::now();
    let mut failed = 0;
    loop {
        match target.versions(AREA_BLOCKS) {
            Ok(found) => return Ok((found, failed)),
            Err(error) if error.to_string().contains("block ") || begun.elapsed() > PATIENCE => {
                return Err(error);
            }
            Err(_) => failed += 1,
        }
    }
}

/// SIGSTOP, and SIGCONT later.
fn stand_still(pid: u32, rest: Duration) -> Result<()> {
    let pid = Pid::from_raw(pid.try_into()?).context("a process has a number")?;
    kill_process(pid, Signal::STOP)?;
    sleep(rest);
    Ok(kill_process(pid, Signal::CONT)?)
}
