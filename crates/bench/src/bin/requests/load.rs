//! Writes that no compression makes smaller.

use std::time::Duration;

use anyhow::{Result, ensure};
use esker_bench::{
    block::BLOCK_BYTES,
    client::{Client, Request},
};

const SEQUENTIAL_BYTES: usize = 1 << 20;

/// A small seeded generator.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn fill(&mut self, bytes: &mut [u8]) {
        for word in bytes.chunks_exact_mut(8) {
            word.copy_from_slice(&self.next().to_le_bytes());
        }
    }
}

/// How a volume is written.
#[derive(Clone, Copy)]
pub(crate) enum Load {
    /// From its beginning, 1 MiB at a time.
    Sequential,
    /// Blocks anywhere.
    Random,
    /// A block a second, anywhere.
    Trickle,
}

impl Load {
    /// What it is called in the table.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Load::Sequential => "sequential, 1 MiB",
            Load::Random => "random, 4 KiB",
            Load::Trickle => "4 KiB a second",
        }
    }

    /// Writes `bytes` into the first `area` bytes.
    pub(crate) fn write(self, client: &mut Client, bytes: u64, area: u64) -> Result<()> {
        let mut places = Random(0x0DDB_1A5E_5BAD_5EED);
        let block = BLOCK_BYTES as u64;
        let mut anywhere = (0..bytes / block).map(|_| places.next() % (area / block) * block);
        match self {
            Load::Sequential => write(client, (0..bytes).step_by(SEQUENTIAL_BYTES), SEQUENTIAL_BYTES, 8),
            Load::Random => write(client, anywhere, BLOCK_BYTES, 32),
            Load::Trickle => anywhere.try_for_each(|offset| {
                std::thread::sleep(Duration::from_secs(1));
                write(client, std::iter::once(offset), BLOCK_BYTES, 1)
            }),
        }
    }
}

/// Writes at each offset, `depth` at a time.
fn write(client: &mut Client, offsets: impl Iterator<Item = u64>, length: usize, depth: usize) -> Result<()> {
    let mut random = Random(0xC0FF_EE00_DEAD_BEA7);
    let mut data = vec![0; length];
    let mut answer = Vec::new();
    let mut in_flight = 0;
    let mut wait = |client: &mut Client| -> Result<()> {
        let reply = client.receive(&mut answer, |_| 0)?;
        ensure!(reply.error == 0, "a write was answered with error {}", reply.error);
        Ok(())
    };
    for (cookie, offset) in (0..).zip(offsets) {
        if in_flight == depth {
            wait(client)?;
            in_flight -= 1;
        }
        random.fill(&mut data);
        client.queue(cookie, Request::Write { offset, data: &data });
        client.send()?;
        in_flight += 1;
    }
    (0..in_flight).try_for_each(|_| wait(client))
}
