//! Snapshots that are made while writers write and the daemon is killed, and what each must hold.
//!
//! A snapshot holds every write that was answered before it was asked for, and none that was sent after it was said to be
//! made; in between, a prefix. One that nobody answered for may be there or not. What was found in it once it holds for
//! ever: it is read again in later lives, through forks too, until it is deleted, and the volume goes back to it.

use std::{
    collections::BTreeMap,
    path::Path,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{
    AREA_BLOCKS, Config, Outcome, Seam, VOLUME,
    writer::{History, Random, Target},
};

/// Snapshots that are kept; there is room for as many again until the next life.
const KEPT: usize = 6;
/// Kept ones that are read again in each life.
const READ_AGAIN: usize = 2;
/// The longest rest between two things that are done.
const REST_MS: u64 = 400;

/// All snapshots.
pub(super) struct Album<'a> {
    config: &'a Config,
    directory: &'a Path,
    random: Random,
    next: u64,
    /// Made, or perhaps made, in this life.
    taken: Vec<Taken>,
    /// The versions that were found in those that are there.
    kept: BTreeMap<String, Vec<u64>>,
}

struct Taken {
    name: String,
    asked: Instant,
    /// When it was said to be made.
    made: Option<Instant>,
}

impl<'a> Album<'a> {
    pub(super) fn new(config: &'a Config, directory: &'a Path) -> Self {
        let random = Random(config.seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        Self { config, directory, random, next: 0, taken: Vec::new(), kept: BTreeMap::new() }
    }

    /// Makes and deletes snapshots, and asks for rounds of reclaim, until the daemon is killed. Returns how many rounds
    /// were answered.
    pub(super) fn fill(&mut self, stop: &AtomicBool, seed: u64) -> Result<u64> {
        let (mut random, mut reclaims) = (Random(seed | 1), 0);
        while self.config.snapshots && !stop.load(Ordering::Acquire) {
            std::thread::sleep(Duration::from_millis(random.below(REST_MS)));
            let done = match random.below(4) {
                0 if self.kept.len() > KEPT => self.delete_one(&mut random),
                1 => self.esker(&["reclaim", "--force"]).map(|_| reclaims += 1),
                _ => self.take(),
            };
            // Only the kill may end a command.
            if let Err(error) = done {
                ensure!(stop.load(Ordering::Acquire), "{error:#}");
            }
        }
        Ok(reclaims)
    }

    fn take(&mut self) -> Result<()> {
        self.next += 1;
        let name = format!("{VOLUME}@{}", self.next);
        self.taken.push(Taken { name: name.clone(), asked: Instant::now(), made: None });
        self.esker(&["snapshot", "create", &name])?;
        self.taken.last_mut().context("it was just put there")?.made = Some(Instant::now());
        Ok(())
    }

    /// From when it is asked for nothing is expected of it.
    fn delete_one(&mut self, random: &mut Random) -> Result<()> {
        let at = random.below(self.kept.len() as u64) as usize;
        let name = self.kept.keys().nth(at).context("there are so many")?.clone();
        self.kept.remove(&name);
        self.esker(&["snapshot", "delete", &name, "--yes"]).map(|_| ())
    }

    /// Reads what was made in the last life, and some older ones, in a new one.
    pub(super) fn verify(&mut self, histories: &[History], outcome: &mut Outcome) -> Result<()> {
        if !self.config.snapshots {
            return Ok(());
        }
        let there = self.there()?;
        for _ in 0..READ_AGAIN.min(self.kept.len()) {
            let (name, versions) = self.pick()?;
            ensure!(self.read(&name)? == versions, "{name} is not what it was");
        }
        for Taken { name, asked, made } in std::mem::take(&mut self.taken) {
            if !there.contains(&name) {
                ensure!(made.is_none(), "{name} was made, and is not there");
                continue;
            }
            let found = self.read(&name)?;
            let seam = Seam::of(histories, &found).with_context(|| name.clone())?;
            if let Some((answered, lba)) = seam.oldest_missing {
                ensure!(answered >= asked, "{name} lacks a write of block {lba} that was answered before");
            }
            if let (Some((sent, lba)), Some(made)) = (seam.newest_there, made) {
                ensure!(sent <= made, "{name} holds a write of block {lba} that was sent after it was made");
            }
            outcome.snapshots += 1;
            outcome.unanswered += u64::from(made.is_none());
            self.kept.insert(name, found);
        }
        let gone = self.kept.keys().find(|name| !there.contains(name));
        ensure!(gone.is_none(), "{gone:?} was kept, and is not there");
        Ok(())
    }

    /// Forks one, and sometimes has the volume go back to it. Returns what the volume holds then.
    pub(super) fn go_back(&mut self, outcome: &mut Outcome) -> Result<Option<Vec<u64>>> {
        if self.kept.is_empty() {
            return Ok(None);
        }
        let (name, versions) = self.pick()?;
        self.next += 1;
        let fork = format!("fork-{}", self.next);
        self.esker(&["fork", &name, &fork, "--open"])?;
        ensure!(self.read(&fork)? == versions, "a fork of {name} is not what that is");
        self.esker(&["volume", "delete", &fork, "--yes"])?;
        if self.random.below(4) > 0 {
            return Ok(None);
        }
        let snapshot = name.strip_prefix(VOLUME).context("snapshots are of the volume")?;
        self.esker(&["rewind", VOLUME, "--to", snapshot, "--yes"])?;
        ensure!(self.read(VOLUME)? == versions, "the volume went back to {name}, and is not what that is");
        outcome.rewinds += 1;
        Ok(Some(versions))
    }

    fn pick(&mut self) -> Result<(String, Vec<u64>)> {
        let at = self.random.below(self.kept.len() as u64) as usize;
        let (name, versions) = self.kept.iter().nth(at).context("there are so many")?;
        Ok((name.clone(), versions.clone()))
    }

    fn read(&self, volume: &str) -> Result<Vec<u64>> {
        let socket = self.directory.join("nbd.sock");
        Target { socket: &socket, volume, number: 0 }.versions(AREA_BLOCKS).with_context(|| volume.to_owned())
    }

    /// The names of all that are finished.
    fn there(&self) -> Result<Vec<String>> {
        let listed: Value = serde_json::from_str(&self.esker(&["snapshot", "list", "--json"])?)?;
        let snapshots = listed["snapshots"].as_array().context("a list without snapshots")?;
        let finished = snapshots.iter().filter(|snapshot| snapshot["state"] == "frozen");
        Ok(finished.filter_map(|snapshot| Some(snapshot["name"].as_str()?.to_owned())).collect())
    }

    fn esker(&self, args: &[&str]) -> Result<String> {
        let mut command = Command::new(&self.config.esker);
        let output = command
            .args(args)
            .arg("--data")
            .arg(self.directory)
            .envs(self.config.environment.iter().cloned())
            .output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "esker {}: {said}", args.join(" "));
        Ok(String::from_utf8(output.stdout)?)
    }
}
