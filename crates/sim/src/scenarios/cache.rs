//! The cache on the local disk: what it gives is right or nothing, whatever happened to its files.

use std::io::IoSlice;

use esker_engine::cache::{DiskUsage, REST};
use esker_format::{
    cache::{CacheCatalogue, catalogue_bytes, entry_crc},
    ids::PoolId,
    property::{Compression, Durability},
};
use esker_io::Disk;

use super::Scenario;
use crate::{
    Side, Survival, WriteFault,
    lab::{Fall, Lab, Outcome, Setup, Stop, violation},
};

/// Eight files of 64 KiB.
const CACHE_BYTES: u64 = 512 << 10;
const FILE_BYTES: u64 = 64 << 10;

pub(super) fn all() -> Vec<Scenario> {
    let plain = |name, script| Scenario { name, sites: 1, cut: false, setup: with_cache, script };
    vec![
        Scenario { cut: true, ..plain("cache", cache) },
        plain("cache-killed", killed),
        plain("cache-rot", rot),
        plain("cache-misdirected", misdirected),
        plain("cache-old", old),
        plain("cache-foreign", foreign),
        plain("cache-full", full),
    ]
}

/// Frames that are not compressed: a wrong byte is a wrong byte, and few of them fill a file.
fn with_cache() -> Setup {
    Setup {
        disk_cache_bytes: CACHE_BYTES,
        compression: Compression::Off,
        durability: Durability::Bounded { seconds: 1 },
        ..Setup::default()
    }
}

/// Filled by GETs, then by seals; pushed out by others, and read again by the next run.
fn cache(lab: &mut Lab) -> Outcome {
    filled(lab)?;
    forget(lab)?;
    lab.open(0)?;
    lab.run_ms(5)?;
    lab.write(60, 100)?;
    lab.flush()?;
    lab.run_ms(1_500)?;
    lab.read(20, 100)?;
    lab.run_ms(5)?;
    lab.fall(0, Fall::Kill);
    lab.open(0)?;
    lab.write(7, 2)?;
    lab.read_all()
}

/// The cache's files are lost.
fn forget(lab: &Lab) -> Outcome {
    lab.host(0).restart();
    for path in files(lab)? {
        lab.host(0).disk().remove(&path).map_err(violation)?;
    }
    Ok(())
}

/// The volume is in the store and in the cache, and in no memory.
fn filled(lab: &mut Lab) -> Outcome {
    lab.open(0)?;
    lab.write(0, 50)?;
    lab.flush()?;
    lab.run_ms(1_500)?;
    lab.close_cache(0)?;
    lab.fall(0, Fall::Kill);
    Ok(())
}

/// Killed after each of the steps that an opening, a read of everything, and writing that to the cache take.
fn killed(lab: &mut Lab) -> Outcome {
    filled(lab)?;
    for step in 1..60 {
        forget(lab)?;
        let host = lab.host(0).clone();
        host.crash_at(host.steps() + step, Side::After);
        match lab.open(0) {
            Err(Stop::Crashed) => {}
            outcome => outcome?,
        }
        lab.fall(0, Fall::Kill);
        lab.open(0)?;
        lab.fall(0, Fall::Kill);
    }
    lab.open(0)
}

/// What the cache of the next run has done once all was read.
fn read_again(lab: &mut Lab) -> Outcome<DiskUsage> {
    lab.open(0)?;
    lab.read_all()?;
    Ok(lab.cache_usage(0))
}

/// The paths of the cache's files.
fn files(lab: &Lab) -> Outcome<Vec<String>> {
    let entries = lab.host(0).disk().list("cache").map_err(violation)?;
    Ok(entries.into_iter().map(|entry| format!("cache/{}", entry.name)).collect())
}

fn read_file(lab: &Lab, path: &str) -> Outcome<Vec<u8>> {
    let mut bytes = vec![0; FILE_BYTES as usize];
    lab.host(0).disk().open(path).and_then(|file| file.read_at(&mut bytes, 0)).map_err(violation)?;
    Ok(bytes)
}

fn write_file(lab: &Lab, path: &str, bytes: &[u8]) -> Outcome {
    let file = lab.host(0).disk().open(path).map_err(violation)?;
    file.write_at(&[IoSlice::new(bytes)], 0).map_err(violation)
}

/// One bit of every entry turns over.
fn rot(lab: &mut Lab) -> Outcome {
    filled(lab)?;
    let clean = read_again(lab)?;
    if clean.hits == 0 || clean.refused > 0 {
        return Err(violation(format!("a cache that nothing happened to: {clean:?}")));
    }
    lab.fall(0, Fall::Kill);
    lab.host(0).restart();
    lab.damages_cache();
    for path in files(lab)? {
        let mut bytes = read_file(lab, &path)?;
        let start = catalogue_bytes(FILE_BYTES) as usize;
        bytes[start..].iter_mut().step_by(1_000).for_each(|byte| *byte ^= 4);
        write_file(lab, &path, &bytes)?;
    }
    let rotten = read_again(lab)?;
    if rotten.refused == 0 {
        return Err(violation(format!("a rotten cache: {rotten:?}")));
    }
    Ok(())
}

/// The disk has put entries where others should be.
fn misdirected(lab: &mut Lab) -> Outcome {
    filled(lab)?;
    lab.host(0).restart();
    lab.damages_cache();
    for path in files(lab)? {
        let mut bytes = read_file(lab, &path)?;
        let start = catalogue_bytes(FILE_BYTES) as usize;
        bytes[start..].rotate_left(8 * 4096);
        write_file(lab, &path, &bytes)?;
    }
    read_again(lab).map(drop)
}

/// Catalogues of an earlier time, from before the files were used again.
fn old(lab: &mut Lab) -> Outcome {
    filled(lab)?;
    lab.host(0).restart();
    let mut before = Vec::new();
    for path in files(lab)? {
        before.push((path.clone(), read_file(lab, &path)?));
    }
    for round in 0..4 {
        lab.open(0)?;
        lab.write(60 + round, 150)?;
        lab.flush()?;
        lab.run_ms(1_500)?;
        lab.fall(0, Fall::Kill);
    }
    lab.host(0).restart();
    lab.damages_cache();
    for (path, bytes) in before {
        write_file(lab, &path, &bytes[..catalogue_bytes(FILE_BYTES) as usize])?;
    }
    read_again(lab)?;
    lab.fall(0, Fall::Power(Survival::Subset(3)));
    read_again(lab).map(drop)
}

/// Files of another pool, whose segments have the same numbers.
fn foreign(lab: &mut Lab) -> Outcome {
    filled(lab)?;
    lab.host(0).restart();
    for path in files(lab)? {
        let mut bytes = read_file(lab, &path)?;
        let Ok(catalogue) = CacheCatalogue::parse(&bytes) else { continue };
        let mut catalogue = catalogue.peek().clone();
        catalogue.pool = PoolId([0xf0; 16]);
        let mut at = catalogue_bytes(FILE_BYTES) as usize;
        for entry in &mut catalogue.entries {
            let theirs = &mut bytes[at..at + entry.bytes as usize];
            at += entry.bytes as usize;
            // Their frames; for another index the volume would not open at all.
            if entry.key.as_frame().is_some() {
                theirs.iter_mut().for_each(|byte| *byte ^= 0x5a);
            }
            entry.crc = entry_crc(catalogue.salt, entry.key, theirs);
        }
        let encoded = catalogue.encode();
        bytes[..encoded.len()].copy_from_slice(&encoded);
        write_file(lab, &path, &bytes)?;
    }
    read_again(lab).map(drop)
}

/// The cache's disk is full, and broken: guests notice nothing, and after a rest the cache begins anew.
fn full(lab: &mut Lab) -> Outcome {
    filled(lab)?;
    for fault in [WriteFault::NoSpace, WriteFault::Error] {
        forget(lab)?;
        lab.open_unread(0)?;
        lab.run_ms(50)?;
        lab.host(0).disk().fail_write(1, fault);
        lab.read_all()?;
        lab.run_ms(50)?;
        lab.host(0).disk().forget_plan();
        if !files(lab)?.is_empty() || lab.cache_usage(0).file_bytes > 0 {
            return Err(violation(format!("{:?} after {fault:?}", lab.cache_usage(0))));
        }
        lab.write(3, 5)?;
        lab.flush()?;
        lab.read_all()?;
        lab.run(REST)?;
        lab.read_all()?;
        lab.run_ms(50)?;
        if lab.cache_usage(0).entries == 0 {
            return Err(violation(format!("{:?} after a rest", lab.cache_usage(0))));
        }
        lab.fall(0, Fall::Kill);
    }
    lab.open(0)
}
