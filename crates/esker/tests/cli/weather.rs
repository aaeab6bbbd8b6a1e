//! A local disk that is full or fails, under a daemon that runs.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::bench::{Bench, Daemon, text, tool};

/// System calls of a daemon that fail, until this is dropped.
struct Broken(Child);

impl Broken {
    /// `inject` in strace's words.
    fn new(daemon: &Daemon, inject: &str) -> Broken {
        // Says what package it is in, if it is missing.
        tool("strace", &["--version"]);
        let mut child = Command::new("strace")
            .args([
                "-f",
                "-e",
                "trace=fallocate,fdatasync,pwrite64,pwritev",
                "-e",
                &format!("inject={inject}"),
            ])
            .args(["-o", "/dev/null", "-p", &daemon.process().to_string()])
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
        let attached = said.next().unwrap().unwrap();
        assert!(attached.contains("attached"), "{attached}");
        // The other threads follow the first.
        thread::sleep(Duration::from_millis(200));
        thread::spawn(move || said.for_each(drop));
        Broken(child)
    }
}

impl Drop for Broken {
    fn drop(&mut self) {
        // It lets go of the daemon, where a kill could leave it stopped.
        let _ = kill_process(Pid::from_child(&self.0), Signal::INT);
        let _ = self.0.wait();
    }
}

/// A write and a flush, one of which fails; what the guest was told.
fn refused(bench: &Bench, volume: &str, write: &str) -> String {
    let out = tool("qemu-io", &["-f", "raw", "-c", write, "-c", "flush", &bench.uri(volume)]);
    let said = text(&out.stdout) + &text(&out.stderr);
    assert!(!out.status.success() || said.contains("failed"), "{write}: {said}");
    said
}

#[test]
fn slow_a_full_disk_is_told_after_a_while_and_heals_by_itself() {
    let bench = Bench::new();
    let daemon = bench.serve(&["--volume", "demo=64M", "--volume", "other=64M"]);
    bench.write("other", 1, "1M", "64K");
    let full = Broken::new(&daemon, "fallocate:error=ENOSPC");
    let begun = Instant::now();
    let said = refused(&bench, "demo", "write -P 2 1M 64K");
    assert!(said.contains("No space left on device"), "{said}");
    assert!(begun.elapsed() >= Duration::from_secs(9), "it waits for space: {:?}", begun.elapsed());
    // What has its space goes on, and so do reads.
    bench.write("other", 3, "2M", "64K");
    bench.read("other", 1, "1M", "64K");
    bench.read("demo", 0, "1M", "64K");
    drop(full);
    bench.write("demo", 4, "1M", "64K");
    bench.read("demo", 4, "1M", "64K");
    let status = bench.json(&["status"]);
    for volume in status["volumes"].as_array().unwrap() {
        assert_eq!(volume["state"], "running", "{volume}");
    }
    assert_eq!(daemon.stop(), 0);
}

/// The local directory has room for three files of a log. A mount of its own that nobody else sees holds it.
#[test]
fn slow_a_volume_on_a_full_disk_makes_room_for_itself() {
    let bench = Bench::new();
    let local = bench.data().join("local");
    std::fs::create_dir_all(&local).unwrap();
    let mount = r#"mount -t tmpfs -o size=100M tmpfs "$0" && exec "$@""#;
    let shell = format!("exec unshare -rm sh -c '{mount}' {} \"$@\"", local.display());
    let pool = format!("file://{}", bench.path("pool").display());
    let daemon = bench.serve_from(&shell, &["--pool", &pool]);
    bench.ok(&["volume", "create", "demo", "256M", "--durability", "ephemeral"]);
    // Nothing of it would go to the store before the dirty bound of 1 GiB is near.
    for pattern in 1..=7_u8 {
        bench.write("demo", pattern, &format!("{}M", u32::from(pattern) * 32), "32M");
    }
    for pattern in [1, 6] {
        bench.read("demo", pattern, &format!("{}M", u32::from(pattern) * 32), "32M");
    }
    let figures = bench.json(&["status"])["volumes"][0]["figures"].clone();
    assert!(figures["log_files"].as_u64() <= Some(3), "{figures}");
    assert!(figures["dirty_bytes"].as_u64() < Some(100 << 20), "{figures}");
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn a_failed_sync_stops_one_volume_until_it_is_opened_again() {
    let bench = Bench::new();
    let daemon = bench.serve(&["--volume", "other=8M"]);
    bench.ok(&["volume", "create", "demo", "8M", "--durability", "bounded(3600)"]);
    bench.write("demo", 1, "1M", "64K");
    bench.write("other", 2, "1M", "64K");
    let broken = Broken::new(&daemon, "fdatasync:error=EIO:when=1");
    let said = refused(&bench, "demo", "write -P 3 2M 4K");
    assert!(said.contains("Input/output error"), "{said}");
    drop(broken);
    let served = |name: &str| {
        let status = bench.json(&["status"]);
        let volumes = status["volumes"].as_array().unwrap().clone();
        volumes.into_iter().find(|served| served["name"] == name).unwrap()
    };
    // The disk is well again. It makes no difference: nothing is acknowledged before the volume is opened again.
    refused(&bench, "demo", "write -P 4 3M 4K");
    assert_eq!(served("demo")["state"], "stopped");
    assert!(served("demo")["problem"].as_str().unwrap().contains("sync"), "{}", served("demo"));
    bench.read("demo", 1, "1M", "64K");
    bench.write("other", 5, "2M", "64K");
    assert_eq!(served("other")["state"], "running");
    let said = bench.ok(&["volume", "open", "demo"]);
    assert!(said.contains("volume demo is open, with "), "{said}");
    bench.read("demo", 1, "1M", "64K");
    bench.write("demo", 6, "3M", "4K");
    assert!(bench.ok(&["volume", "open", "demo"]).contains("open already"));
    assert_eq!(daemon.stop(), 0);
}
