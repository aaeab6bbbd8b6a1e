//! Writers that know what they were answered, and what may be found after the daemon was killed.

use std::{
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread::ScopedJoinHandle,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};

use crate::{
    block::{self, BLOCK_BYTES},
    client::{Client, Request},
};

const DEPTH: usize = 16;
const FLUSH_EVERY: u64 = 64;
const VERIFY_BLOCKS: u32 = 64;

/// What is written: a volume, and the number that its blocks carry beside their address.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target<'a> {
    pub(crate) socket: &'a Path,
    pub(crate) volume: &'a str,
    pub(crate) number: u64,
}

impl Target<'_> {
    /// What block `lba` of this volume calls itself.
    fn label(&self, lba: u64) -> u64 {
        self.number << 40 | lba
    }

    /// The versions of the first `blocks` blocks. An error says which block is not what it should be.
    pub(crate) fn versions(&self, blocks: u64) -> Result<Vec<u64>> {
        let mut client = Client::connect(self.socket, self.volume)?;
        let mut found = Vec::with_capacity(blocks as usize);
        let length = VERIFY_BLOCKS * BLOCK_BYTES as u32;
        for first in (0..blocks).step_by(VERIFY_BLOCKS as usize) {
            let data = client.call(Request::Read { offset: first * BLOCK_BYTES as u64, length })?;
            for (index, bytes) in data.chunks_exact(BLOCK_BYTES).enumerate() {
                let label = self.label(first + index as u64);
                found.push(block::version(bytes, label).map_err(anyhow::Error::msg)?);
            }
        }
        Ok(found)
    }
}

/// The versions of one block since its base.
#[derive(Debug, Clone, Default)]
pub(crate) struct History {
    pub(crate) base: u64,
    pub(crate) writes: Vec<Sent>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Sent {
    pub(crate) at: Instant,
    pub(crate) answered: Option<Instant>,
}

/// A small seeded generator.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// Every block holds its last answered version, or one that was on its way.
pub(crate) fn verify_answered(histories: &[History], found: &[u64]) -> Result<()> {
    for (lba, (history, version)) in histories.iter().zip(found).enumerate() {
        let answered = history.writes.iter().filter(|sent| sent.answered.is_some()).count() as u64;
        let (least, most) = (history.base + answered, history.base + history.writes.len() as u64);
        ensure!(
            (least..=most).contains(version),
            "block {lba}: version {least} was acknowledged and {most} sent, found {version}"
        );
    }
    Ok(())
}

/// One connection that writes its own blocks.
pub(crate) struct Writer<'a> {
    target: Target<'a>,
    client: Client,
    blocks: Vec<(u64, &'a mut History)>,
    random: Random,
    /// For each request on its way: the index of its block; none for a flush.
    in_flight: Vec<(u64, Option<usize>)>,
    next_cookie: u64,
    writes: u64,
    flushes: u64,
}

/// Waits for writers that were stopped: their writes and flushes that were acknowledged.
pub(crate) fn join(writers: Vec<ScopedJoinHandle<'_, Result<(u64, u64)>>>) -> Result<(u64, u64)> {
    let mut all = (0, 0);
    for writer in writers {
        let Ok(counted) = writer.join() else { bail!("a writer panicked") };
        let (writes, flushes) = counted?;
        all = (all.0 + writes, all.1 + flushes);
    }
    Ok(all)
}

impl<'a> Writer<'a> {
    pub(crate) fn new(target: Target<'a>, blocks: Vec<(u64, &'a mut History)>, seed: u64) -> Result<Self> {
        let client = Client::connect(target.socket, target.volume)?;
        let random = Random(seed.wrapping_mul(0x2545_F491_4F6C_DD1D) | 1);
        let in_flight = Vec::new();
        Ok(Self { target, client, blocks, random, in_flight, next_cookie: 1, writes: 0, flushes: 0 })
    }

    /// Writes until the connection breaks. Returns the writes and flushes answered.
    pub(crate) fn run(mut self, stop: &AtomicBool, pause: Duration) -> Result<(u64, u64)> {
        let mut data = Vec::new();
        loop {
            while self.in_flight.len() < DEPTH {
                self.queue();
            }
            if self.client.send().is_err() {
                break;
            }
            // At least one reply, and all that came with it.
            loop {
                let Ok(reply) = self.client.receive(&mut data, |_| 0) else {
                    // Only the kill may end a connection.
                    ensure!(stop.load(Ordering::Acquire), "the daemon broke a connection");
                    return Ok((self.writes, self.flushes));
                };
                ensure!(reply.error == 0, "the daemon answered error {}", reply.error);
                self.answered(reply.cookie)?;
                if !self.client.has_reply() {
                    break;
                }
            }
            std::thread::sleep(pause);
        }
        Ok((self.writes, self.flushes))
    }

    fn queue(&mut self) {
        let cookie = self.next_cookie;
        self.next_cookie += 1;
        if cookie.is_multiple_of(FLUSH_EVERY) {
            self.client.queue(cookie, Request::Flush);
            self.in_flight.push((cookie, None));
            return;
        }
        let index = loop {
            let index = self.random.below(self.blocks.len() as u64) as usize;
            if !self.in_flight.iter().any(|(_, busy)| *busy == Some(index)) {
                break index;
            }
        };
        let (lba, history) = &mut self.blocks[index];
        history.writes.push(Sent { at: Instant::now(), answered: None });
        let mut bytes = [0; BLOCK_BYTES];
        block::fill(&mut bytes, self.target.label(*lba), history.base + history.writes.len() as u64);
        self.client.queue(cookie, Request::Write { offset: *lba * BLOCK_BYTES as u64, data: &bytes });
        self.in_flight.push((cookie, Some(index)));
    }

    fn answered(&mut self, cookie: u64) -> Result<()> {
        let at = self.in_flight.iter().position(|(sent, _)| *sent == cookie);
        let (_, index) = self.in_flight.swap_remove(at.context("an answer to no request")?);
        match index {
            Some(index) => {
                let last = self.blocks[index].1.writes.last_mut().context("a write was sent")?;
                last.answered = Some(Instant::now());
                self.writes += 1;
            }
            None => self.flushes += 1,
        }
        Ok(())
    }
}
