//! Load that verifies itself.

use crate::{site::Site, tools::ok};

#[test]
fn fio_verifies_what_it_wrote_at_any_alignment() {
    let site = Site::start(&["disk=256M"]);
    let uri = format!("--uri={}", site.uri("disk"));
    let load = ["--rw=randrw", "--bsrange=512-128k", "--bs_unaligned=1", "--size=256M", "--fsync=64"];
    let verify = ["--verify=crc32c", "--verify_backlog=1024", "--verify_fatal=1", "--verify_state_save=0"];
    let run = ["--name=load", "--ioengine=nbd", &uri, "--iodepth=32"];
    ok("fio", &[&run[..], &load, &verify].concat());
    site.finish();
}

/// Writes, discards and zeroes that overlap, with the patterns that must be read then.
const CHANGES: [&str; 9] = [
    "write -P 0xaa 0 1M",
    "write -P 0xbb 100k 8k",
    "write -P 0xcc 513 1000",
    "discard 64k 32k",
    "write -z 200k 40k",
    "write -z -u 300k 64k",
    "write -f -P 0xdd 63M 1M",
    "aio_write -P 0xee 2M 4M",
    "aio_flush",
];
const EXPECTED: [&str; 14] = [
    "read -P 0xaa 0 513",
    "read -P 0xcc 513 1000",
    "read -P 0xaa 1513 64023",
    "read -P 0 64k 32k",
    "read -P 0xaa 96k 4k",
    "read -P 0xbb 100k 8k",
    "read -P 0xaa 108k 92k",
    "read -P 0 200k 40k",
    "read -P 0xaa 240k 60k",
    "read -P 0 300k 64k",
    "read -P 0xaa 364k 660k",
    "read -P 0 1M 1M",
    "read -P 0xee 2M 4M",
    "read -P 0xdd 63M 1M",
];

fn qemu_io(uri: &str, commands: &[&str]) {
    let commands = commands.iter().flat_map(|command| ["-c", *command]);
    let arguments: Vec<&str> = ["-f", "raw", uri].into_iter().chain(commands).collect();
    let text = ok("qemu-io", &arguments);
    assert!(!text.contains("failed"), "{text}");
}

#[test]
fn patterns_hold_after_a_kill_and_without_the_local_directory() {
    let mut site = Site::start(&["disk=64M"]);
    let uri = site.uri("disk");
    qemu_io(&uri, &CHANGES);
    qemu_io(&uri, &EXPECTED);
    site.kill();
    site.again();
    qemu_io(&uri, &EXPECTED);
    site.move_house();
    qemu_io(&uri, &EXPECTED);
    site.finish();
}
