//! One connection under load.

use std::{
    path::Path,
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow, ensure};

use super::{Kind, Load, Outcome, Random, Templates, stopped};
use crate::{
    block::{self, BLOCK_BYTES},
    client::{Client, Command, Request},
};

/// Open loop: more than this on their way means that the server is far behind; they wait here then.
const OPEN_DEPTH_MAX: usize = 1024;
/// A whole checksum for one in so many blocks read, its header for each.
const CHECK_EVERY: u64 = 16;

/// A connection, and what it has asked for.
pub struct Connection {
    client: Client,
    random: Random,
    templates: Arc<Templates>,
    slots: Vec<Slot>,
    free: Vec<usize>,
    /// Versions count up over the connection's life.
    version: u64,
    /// Where the next sequential request goes.
    next_offset: u64,
    /// The server returns what it was given (`null` does not).
    verify: bool,
}

/// A request on its way.
#[derive(Debug, Clone, Copy)]
struct Slot {
    since: Instant,
    command: Command,
    offset: u64,
    length: usize,
}

impl Connection {
    /// Connects to an export. `seed` makes its places.
    pub fn open(socket: &Path, export: &str, templates: &Arc<Templates>, seed: u64) -> Result<Self> {
        Ok(Self {
            client: Client::connect(socket, export)?,
            random: Random::new(seed),
            templates: templates.clone(),
            slots: Vec::new(),
            free: Vec::new(),
            version: seed << 40 | 1,
            next_offset: 0,
            verify: true,
        })
    }

    /// Takes any contents.
    pub fn without_verify(mut self) -> Self {
        self.verify = false;
        self
    }

    /// The export's size.
    pub fn size_bytes(&self) -> u64 {
        self.client.size_bytes
    }

    /// Writes the whole area once, and flushes.
    pub fn prepare(&mut self, area_bytes: u64, stop: &AtomicBool) -> Result<()> {
        self.once(Kind::SequentialWrite, area_bytes, stop)?;
        self.client.call(Request::Flush)?;
        Ok(())
    }

    /// Reads the whole area once.
    pub fn read_all(&mut self, area_bytes: u64, stop: &AtomicBool) -> Result<()> {
        self.once(Kind::SequentialRead, area_bytes, stop)
    }

    fn once(&mut self, kind: Kind, area_bytes: u64, stop: &AtomicBool) -> Result<()> {
        let request_bytes = 128 << 10;
        self.next_offset = 0;
        let load = Load { kind, request_bytes, depth: 8, area_bytes, rate: None };
        self.some(&load, area_bytes / request_bytes as u64, stop)
    }

    /// Runs so many requests of a load.
    pub fn some(&mut self, load: &Load, requests: u64, stop: &AtomicBool) -> Result<()> {
        self.reset(load.depth);
        let (mut left, mut outcome) = (requests, Outcome::default());
        while left > 0 || self.free.len() < self.slots.len() {
            ensure!(!stopped(stop), "interrupted");
            while left > 0 && !self.free.is_empty() {
                self.ask(load, Instant::now());
                left -= 1;
            }
            self.client.send()?;
            self.client.fill()?;
            self.answers(load, &mut outcome)?;
        }
        Ok(())
    }

    /// Runs a load until a time, and until everything is answered.
    pub(super) fn run(&mut self, load: &Load, until: Instant, stop: &AtomicBool) -> Result<Outcome> {
        let begun = Instant::now();
        let mut outcome = Outcome::default();
        self.reset(if load.rate.is_some() { OPEN_DEPTH_MAX } else { load.depth });
        match load.rate {
            None => self.closed(load, until, stop, &mut outcome)?,
            Some(rate) => self.open_loop(load, Schedule::new(begun, rate, until), stop, &mut outcome)?,
        }
        outcome.elapsed = begun.elapsed();
        Ok(outcome)
    }

    fn closed(
        &mut self,
        load: &Load,
        until: Instant,
        stop: &AtomicBool,
        outcome: &mut Outcome,
    ) -> Result<()> {
        loop {
            let now = Instant::now();
            let over = now >= until || stopped(stop);
            while !over && !self.free.is_empty() {
                self.ask(load, now);
            }
            self.client.send()?;
            if self.free.len() == self.slots.len() {
                return Ok(());
            }
            self.client.fill()?;
            self.answers(load, outcome)?;
        }
    }

    fn open_loop(
        &mut self,
        load: &Load,
        mut schedule: Schedule,
        stop: &AtomicBool,
        outcome: &mut Outcome,
    ) -> Result<()> {
        loop {
            let now = Instant::now();
            while !self.free.is_empty()
                && !stopped(stop)
                && let Some(due) = schedule.due(now)
            {
                self.ask(load, due);
            }
            self.client.send()?;
            let idle = self.free.len() == self.slots.len();
            let next = schedule.next().filter(|_| !stopped(stop));
            if idle && next.is_none() {
                return Ok(());
            }
            // With a request due behind the last place, only an answer helps.
            let patience = match next {
                Some(next) if !self.free.is_empty() => next.saturating_duration_since(Instant::now()),
                _ => Duration::from_secs(1),
            };
            if self.client.wait(patience)? {
                self.client.fill()?;
                self.answers(load, outcome)?;
            }
        }
    }

    fn reset(&mut self, depth: usize) {
        let slot = Slot { since: Instant::now(), command: Command::Flush, offset: 0, length: 0 };
        self.slots.clear();
        self.slots.resize(depth, slot);
        self.free = (0..depth).rev().collect();
    }

    /// Queues the next request of a load.
    fn ask(&mut self, load: &Load, since: Instant) {
        let Some(cookie) = self.free.pop() else { return };
        let length = load.request_bytes;
        let places = load.area_bytes / length as u64;
        let command = match load.kind {
            Kind::Read | Kind::SequentialRead => Command::Read,
            Kind::Mixed(reads) if self.random.below(100) < u64::from(reads) => Command::Read,
            _ => Command::Write,
        };
        let offset = match load.kind {
            Kind::SequentialRead | Kind::SequentialWrite => {
                let offset = self.next_offset % (places * length as u64);
                self.next_offset = offset + length as u64;
                offset
            }
            Kind::SkewedWrite => self.random.skewed(places) * length as u64,
            _ => self.random.below(places) * length as u64,
        };
        self.slots[cookie] = Slot { since, command, offset, length };
        self.version += 1;
        let (version, templates) = (self.version, &self.templates);
        self.client.queue_with(cookie as u64, command, (offset, length as u32), |out| {
            let first = offset / BLOCK_BYTES as u64;
            for lba in first..first + (length / BLOCK_BYTES) as u64 {
                templates.append(out, lba, version);
            }
        });
    }

    /// Takes all replies that are there.
    fn answers(&mut self, load: &Load, outcome: &mut Outcome) -> Result<()> {
        let Self { client, slots, free, verify, .. } = self;
        let now = Instant::now();
        let mut flushes = Vec::new();
        let carried = |slot: &Slot| if slot.command == Command::Read { slot.length } else { 0 };
        while let Some((reply, data)) = client.next(|cookie| slots.get(cookie as usize).map_or(0, carried))? {
            let cookie = reply.cookie as usize;
            let slot = *slots.get(cookie).ok_or_else(|| anyhow!("an answer to nothing: {cookie}"))?;
            ensure!(reply.error == 0, "error {} for {slot:?}", reply.error);
            if *verify {
                check(data, slot.offset, outcome.requests)?;
            }
            if load.kind == Kind::WriteFlush && slot.command == Command::Write {
                flushes.push(cookie);
                continue;
            }
            outcome.requests += 1;
            outcome.latencies.record(now.saturating_duration_since(slot.since));
            free.push(cookie);
        }
        for cookie in flushes {
            slots[cookie].command = Command::Flush;
            client.queue_with(cookie as u64, Command::Flush, (0, 0), |_| {});
        }
        Ok(())
    }
}

/// Each block says which it is; one in so many is checked whole.
fn check(data: &[u8], offset: u64, request: u64) -> Result<()> {
    let first = offset / BLOCK_BYTES as u64;
    for (lba, block) in (first..).zip(data.chunks_exact(BLOCK_BYTES)) {
        if (request + lba).is_multiple_of(CHECK_EVERY) {
            block::version(block, lba).map_err(|problem| anyhow!(problem))?;
        } else {
            let says = u64::from_le_bytes(block[..8].try_into()?);
            ensure!(says == lba || says == 0, "block {lba} says that it is block {says}");
        }
    }
    Ok(())
}

/// When requests are due.
struct Schedule {
    begun: Instant,
    interval: f64,
    count: u64,
    until: Instant,
}

impl Schedule {
    fn new(begun: Instant, rate: f64, until: Instant) -> Self {
        Self { begun, interval: 1.0 / rate, count: 0, until }
    }

    /// When the next one is due; none when the time is over.
    fn next(&self) -> Option<Instant> {
        let next = self.begun + Duration::from_secs_f64(self.count as f64 * self.interval);
        (next < self.until).then_some(next)
    }

    /// The next one, if it is due now.
    fn due(&mut self, now: Instant) -> Option<Instant> {
        let due = self.next().filter(|due| *due <= now)?;
        self.count += 1;
        Some(due)
    }
}
