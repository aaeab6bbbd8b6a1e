//! `cargo xtask hits`: what a script reads of a volume, through several policies of a cache.
#![forbid(unsafe_code)]

use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use esker_bench::hits::{Config, Fifo, Lru, Ours, behind_memory, distinct_bytes, record, replay};

const USAGE: &str = "usage: hits --esker PROGRAM --script FILE [--gib N]
  --script FILE   run by sh, with the volume's NBD URI in URI; STEP is fill, then work
  --gib N         the volume's size, 4 by default";

/// Decoded frames that the memory above holds, of 32 KiB.
const MEMORY_FRAMES: [usize; 2] = [256, 2_048];
/// Parts of what is read at all.
const PARTS: [u64; 5] = [2, 5, 10, 20, 40];

fn main() -> Result<()> {
    let mut config = Config { esker: PathBuf::new(), script: PathBuf::new(), size_bytes: 4 << 30 };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().with_context(|| format!("{arg} takes a value\n{USAGE}"));
        match arg.as_str() {
            "--esker" => config.esker = value()?.into(),
            "--script" => config.script = value()?.into(),
            "--gib" => config.size_bytes = value()?.parse::<u64>()? << 30,
            "--help" => {
                println!("{USAGE}");
                return Ok(());
            }
            other => bail!("unknown argument {other}\n{USAGE}"),
        }
    }
    ensure!(config.script.is_file(), "--script names no file\n{USAGE}");
    let directory = tempfile::tempdir()?;
    let trace = record(&config, directory.path())?;
    let distinct = distinct_bytes(&trace);
    println!("{} frames were asked for, {:.1} MB of them distinct", trace.len(), distinct as f64 / 1e6);
    println!(
        "| memory above, frames | asked below it | cache | FIFO | LRU | ours |\n|---:|---:|---:|---:|---:|---:|"
    );
    for frames in MEMORY_FRAMES {
        let below = behind_memory(&trace, frames);
        for part in PARTS {
            let bytes = distinct * part / 100;
            let ours = Ours::new(bytes).map(|ours| format!("{:.3}", replay(&below, ours)));
            println!(
                "| {frames} | {} | {part} %, {:.1} MB | {:.3} | {:.3} | {} |",
                below.len(),
                bytes as f64 / 1e6,
                replay(&below, Fifo::new(bytes)),
                replay(&below, Lru::new(bytes)),
                ours.unwrap_or_else(|| "too small".to_owned()),
            );
        }
    }
    Ok(())
}
