//! The hot paths alone, in small runs that are always the same: what `cargo xtask gate` counts instructions of.
//! Only the functions called `measured_…` are counted.
#![forbid(unsafe_code)]

use std::{path::Path, sync::Arc};

use anyhow::{Context, Result, bail, ensure};
use esker_bench::{
    block::{self, BLOCK_BYTES},
    load::Random,
};
use esker_engine::{
    host::Host,
    pool::Pool,
    volume::{Change, Limits, ReadStep, Scratch, Volume, WriteStep},
};
use esker_format::{
    ids::DirectoryId,
    property::{Compression, Durability, Properties},
};
use esker_io::{InlineCpu, LocalDisk, Objects, SystemClock, SystemRandom, World, objects};

/// Requests of each run.
const REQUESTS: usize = 10_000;
/// Writes that reach the engine together.
const BATCH: usize = 32;
/// Blocks that are written and read: in one leaf of the map and in several chunks' tables.
const AREA_BLOCKS: u64 = 2_048;
const VOLUME_BYTES: u64 = 64 << 20;
const CACHE_BYTES: usize = 64 << 20;
const STORE: &str = "memory://hotpath";

fn main() -> Result<()> {
    let path = std::env::args().nth(1).unwrap_or_default();
    let directory = tempfile::tempdir()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match path.as_str() {
            "write" => write(directory.path()).await,
            "read-log" => read_log(directory.path()).await,
            "read-frames" => read_frames(directory.path()).await,
            _ => bail!("usage: hotpath write|read-log|read-frames"),
        }
    })
}

async fn write(directory: &Path) -> Result<()> {
    let host = host(directory, objects::open(STORE)?).await?;
    let volume = create(&host).await?;
    let blocks = blocks();
    // The leaf is there, as in a volume that is in use.
    fill(&volume, &blocks)?;
    measured_writes(&volume, &blocks, &places())
}

async fn read_log(directory: &Path) -> Result<()> {
    let host = host(directory, objects::open(STORE)?).await?;
    let volume = create(&host).await?;
    fill(&volume, &blocks())?;
    measured_reads(&volume, &places())
}

async fn read_frames(directory: &Path) -> Result<()> {
    let store = objects::open(STORE)?;
    let first = host(&directory.join("first"), store.clone()).await?;
    let volume = create(&first).await?;
    fill(&volume, &blocks())?;
    ensure!(first.drain().await.is_empty(), "the volume was not released");
    let second = host(&directory.join("second"), store).await?;
    drop(volume);
    let (volume, _) = second.open("v", None).await?;
    volume.clone().read_later(0, AREA_BLOCKS as usize * BLOCK_BYTES).await?;
    measured_reads(&volume, &places())
}

#[inline(never)]
fn measured_writes(volume: &Volume, blocks: &[u8], places: &[u64]) -> Result<()> {
    let mut scratch = Scratch::default();
    for batch in places.chunks(BATCH) {
        let mut changes = Vec::with_capacity(BATCH);
        for lba in batch {
            let data = &blocks[*lba as usize * BLOCK_BYTES..][..BLOCK_BYTES];
            changes.push(Change::Write { offset: lba * BLOCK_BYTES as u64, data });
        }
        volume.change(&changes, &mut scratch);
        for step in &scratch.steps {
            ensure!(matches!(step, WriteStep::Done), "a write was not done at once: {step:?}");
        }
    }
    Ok(())
}

#[inline(never)]
fn measured_reads(volume: &Volume, places: &[u64]) -> Result<()> {
    let mut buffer = vec![0; BLOCK_BYTES];
    for lba in places {
        let step = volume.read(lba * BLOCK_BYTES as u64, &mut buffer);
        ensure!(matches!(step, ReadStep::Done), "a read was not done at once: {step:?}");
        ensure!(buffer[..8] == lba.to_le_bytes(), "the read of block {lba} gave another one");
    }
    Ok(())
}

/// Each block of the area once.
fn blocks() -> Vec<u8> {
    let mut blocks = vec![0; AREA_BLOCKS as usize * BLOCK_BYTES];
    for (lba, block) in (0..).zip(blocks.chunks_exact_mut(BLOCK_BYTES)) {
        block::fill(block, lba, 1);
    }
    blocks
}

fn places() -> Vec<u64> {
    let mut random = Random::new(1);
    (0..REQUESTS).map(|_| random.below(AREA_BLOCKS)).collect()
}

/// Writes every block of the area once.
fn fill(volume: &Volume, blocks: &[u8]) -> Result<()> {
    let mut scratch = Scratch::default();
    for (lba, data) in (0..).zip(blocks.chunks_exact(BLOCK_BYTES)) {
        volume.change(&[Change::Write { offset: lba * BLOCK_BYTES as u64, data }], &mut scratch);
        ensure!(
            matches!(scratch.steps[..], [WriteStep::Done]),
            "a write was not done at once: {:?}",
            scratch.steps
        );
    }
    Ok(())
}

async fn host(directory: &Path, objects: Arc<dyn Objects>) -> Result<Host> {
    let world = World {
        disk: Arc::new(LocalDisk::open(directory)?),
        objects,
        clock: Arc::new(SystemClock::new()),
        random: Arc::new(SystemRandom),
        cpu: Arc::new(InlineCpu),
    };
    let pool = Pool::create(world, Properties::default(), CACHE_BYTES).await?;
    let spawn = Arc::new(|work| {
        tokio::spawn(work);
    });
    Ok(Host::new(Arc::new(pool), DirectoryId([7; 16]), Limits::default(), spawn))
}

async fn create(host: &Host) -> Result<Arc<Volume>> {
    let properties = Properties {
        durability: Some(Durability::Ephemeral),
        compression: Some(Compression::Lz4),
        ..Properties::default()
    };
    host.create("v", VOLUME_BYTES, properties).await.context("make a volume")
}
