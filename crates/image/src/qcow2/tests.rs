//! Images made by hand, and what is left of them when bytes of theirs are changed. Those that qemu-img makes are
//! tests of crate esker.

use std::{fs::File, os::unix::fs::FileExt};

use super::{Qcow2, header::MAGIC};
use crate::{Found, Image, PIECE_BYTES, piece};

const CLUSTER: usize = 65_536;
/// Six clusters, the last of them not whole.
const SIZE: usize = 5 * CLUSTER + 1_000;

/// A cluster that compresses, another one for each seed.
fn contents(seed: u8) -> Vec<u8> {
    (0..CLUSTER).map(|at| seed.wrapping_add((at / 100) as u8)).collect()
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

/// Header, L1, L2, then clusters: 0 plain, 1 absent, 2 compressed, 3 zero (absent in version 2), 4 compressed, 5 plain.
fn image(version: u32, zstd: bool) -> Vec<u8> {
    let mut bytes = vec![0; 5 * CLUSTER + 1_000];
    put(&mut bytes, 0, &MAGIC);
    put(&mut bytes, 4, &version.to_be_bytes());
    put(&mut bytes, 20, &16u32.to_be_bytes());
    put(&mut bytes, 24, &(SIZE as u64).to_be_bytes());
    put(&mut bytes, 36, &1u32.to_be_bytes());
    put(&mut bytes, 40, &(CLUSTER as u64).to_be_bytes());
    if version == 3 {
        put(&mut bytes, 72, &(u64::from(zstd) << 3).to_be_bytes());
        put(&mut bytes, 100, &112u32.to_be_bytes());
        bytes[104] = u8::from(zstd);
    }
    put(&mut bytes, CLUSTER, &((1 << 63) | (2 * CLUSTER as u64)).to_be_bytes());
    let mut entries = [
        (1 << 63) | (3 * CLUSTER as u64),
        0,
        0,
        u64::from(version == 3),
        0,
        (1 << 63) | (4 * CLUSTER as u64),
    ];
    put(&mut bytes, 3 * CLUSTER, &contents(1));
    put(&mut bytes, 4 * CLUSTER, &contents(6)[..1_000]);
    for (cluster, seed) in [(2, 3), (4, 5)] {
        let packed = if zstd {
            zstd::bulk::compress(&contents(seed), 3).unwrap()
        } else {
            miniz_oxide::deflate::compress_to_vec(&contents(seed), 6)
        };
        let offset = bytes.len();
        let sectors = (offset % 512 + packed.len() - 1) / 512;
        entries[cluster] = (1 << 62) | ((sectors as u64) << 54) | offset as u64;
        bytes.extend(packed);
    }
    for (index, entry) in entries.iter().enumerate() {
        put(&mut bytes, 2 * CLUSTER + index * 8, &entry.to_be_bytes());
    }
    bytes
}

fn disk() -> Vec<u8> {
    let zeros = || vec![0; CLUSTER];
    let mut disk = [contents(1), zeros(), contents(3), zeros(), contents(5), contents(6)].concat();
    disk.truncate(SIZE);
    disk
}

fn open(bytes: &[u8]) -> Result<Qcow2, String> {
    let file: File = tempfile::tempfile().unwrap();
    file.write_all_at(bytes, 0).unwrap();
    Qcow2::new(file).map_err(|error| error.to_string())
}

/// The first pieces of a disk, at most four of them.
fn read(image: &mut dyn Image) -> Result<Vec<u8>, String> {
    let (mut disk, mut buffer) = (Vec::new(), vec![9; PIECE_BYTES]);
    for _ in 0..4 {
        match piece(image, disk.len() as u64, &mut buffer).map_err(|error| error.to_string())? {
            Found::Data(bytes) => disk.extend_from_slice(&buffer[..bytes]),
            Found::Hole(bytes) => disk.resize(disk.len() + bytes.min(1 << 20) as usize, 0),
            Found::End => break,
        }
        if disk.len() % PIECE_BYTES != 0 {
            break;
        }
    }
    Ok(disk)
}

#[test]
fn every_kind_of_cluster_is_read() {
    for (version, zstd) in [(2, false), (3, false), (3, true)] {
        let mut opened = open(&image(version, zstd)).unwrap();
        assert_eq!(opened.size_bytes(), Some(SIZE as u64));
        assert!(read(&mut opened).unwrap() == disk(), "version {version}, zstd {zstd}");
        // Any part of a cluster.
        let mut part = [0; 100];
        opened.read(2 * CLUSTER as u64 + 77, &mut part).unwrap();
        assert_eq!(part, disk()[2 * CLUSTER + 77..][..100]);
    }
}

/// The message for an image with these bytes at that place.
fn refused(at: usize, value: &[u8]) -> String {
    let mut bytes = image(3, false);
    put(&mut bytes, at, value);
    match open(&bytes) {
        Ok(mut opened) => read(&mut opened).expect_err("it must not be read"),
        Err(message) => message,
    }
}

#[test]
fn what_cannot_be_read_is_refused_with_a_way_out() {
    let mut backed = image(3, false);
    put(&mut backed, 8, &200u64.to_be_bytes());
    put(&mut backed, 16, &9u32.to_be_bytes());
    put(&mut backed, 200, b"base.img\n");
    let message = open(&backed).err().unwrap();
    assert!(message.contains("\"base.img\\n\"") && message.contains("qemu-img convert"), "{message}");
    put(&mut backed, 8, &u64::MAX.to_be_bytes());
    assert!(open(&backed).err().unwrap().contains("\"?\""));
    for (at, value, about) in [
        (0, &b"QFI\xfa"[..], "the magic"),
        (4, &[0, 0, 0, 4], "the version"),
        (32, &[0, 0, 0, 2], "encrypted"),
        (79, &[1], "qemu-img check"),
        (79, &[2], "qemu-img check"),
        (79, &[4], "in another file"),
        (79, &[8], "kind of compression"),
        (79, &[16], "extended L2"),
        (79, &[32], "0x20"),
        (100, &[0, 0, 0, 72], "length of the header"),
        (20, &[0, 0, 0, 8], "cluster bits"),
        (20, &[0, 0, 0, 22], "cluster bits"),
        (20, &[255; 4], "cluster bits"),
        (24, &[255; 8], "number of L1 entries"),
        (36, &[255; 4], "number of L1 entries"),
        (36, &[0; 4], "number of L1 entries"),
        (40, &[255; 8], "offset of the L1 table"),
        (40, &[0, 0, 0, 0, 0, 1, 0, 8], "offset of the L1 table"),
        (CLUSTER, &[0, 255, 255, 255, 255, 255, 0, 0], "an L2 table"),
        (CLUSTER, &[0, 0, 0, 0, 0, 0, 2, 0], "an L1 entry"),
        (2 * CLUSTER, &[0, 255, 255, 255, 255, 255, 0, 0], "a cluster"),
        (2 * CLUSTER, &[1, 0, 0, 0, 0, 1, 0, 0], "an L2 entry"),
        (2 * CLUSTER, &[0, 0, 0, 0, 0, 1, 2, 0], "an L2 entry"),
        (2 * CLUSTER, &[127, 255, 255, 255, 255, 255, 255, 255], "a compressed cluster"),
        // Compressed, and it is the header.
        (2 * CLUSTER, &[64, 0, 0, 0, 0, 0, 0, 0], "a compressed cluster"),
    ] {
        let message = refused(at, value);
        assert!(message.contains(about), "{value:?} at {at}: {message}");
    }
    for length in [0, 4, 71, 72, 103, CLUSTER, 4 * CLUSTER] {
        let mut cut = image(3, false);
        cut.truncate(length);
        assert!(open(&cut).and_then(|mut opened| read(&mut opened)).is_err(), "{length} bytes");
    }
}

#[test]
fn tables_that_name_themselves_end() {
    let mut bytes = image(3, false);
    // The L1 table as its own L2 table, and that as its own data.
    put(&mut bytes, CLUSTER, &(CLUSTER as u64).to_be_bytes());
    let mut opened = open(&bytes).unwrap();
    assert!(read(&mut opened).unwrap()[..CLUSTER] == bytes[CLUSTER..2 * CLUSTER]);
}

#[test]
fn changed_bytes_never_panic() {
    let mut state = 1u64;
    let mut next = move |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let originals = [image(2, false), image(3, false), image(3, true)];
    let mut read_whole = 0;
    for round in 0..6_000 {
        let mut bytes = originals[round % 3].clone();
        for _ in 0..1 + next(3) {
            let at = match next(4) {
                0 => next(112),
                1 => CLUSTER + next(8),
                2 => 2 * CLUSTER + next(48),
                _ => 5 * CLUSTER + 1_000 + next(bytes.len() - 5 * CLUSTER - 1_000),
            };
            bytes[at] = if next(2) == 0 { next(256) as u8 } else { bytes[at] ^ 1 << next(8) };
        }
        if next(8) == 0 {
            bytes.truncate(next(bytes.len()));
        }
        read_whole += usize::from(open(&bytes).and_then(|mut opened| read(&mut opened)).is_ok());
    }
    assert!((500..5_500).contains(&read_whole), "{read_whole} of 6000 were read");
}
