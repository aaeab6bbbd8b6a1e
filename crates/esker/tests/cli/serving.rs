//! Serving, dying, stopping and coming back.

use std::{fs, os::unix::fs::PermissionsExt};

use rustix::process::Signal;

use crate::bench::{Bench, succeeded, tool};

#[test]
fn a_disk_goes_in_and_comes_back() {
    let bench = Bench::new();
    let daemon = bench.serve(&["--volume", "demo=64M", "--volume", "other=1M", "--tcp", "127.0.0.1:0"]);
    assert!(daemon.ready.contains("exports=demo,other"), "{}", daemon.ready);
    for socket in ["nbd.sock", "control.sock"] {
        let mode = fs::metadata(bench.data().join(socket)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{socket}");
    }
    let disk = bench.random_file("disk", 64 << 20);
    let info = tool("nbdinfo", &["--size", &bench.uri("demo")]);
    assert_eq!(succeeded("nbdinfo", &[], &info).trim(), "67108864");
    let copy = bench.path("copy").display().to_string();
    for arguments in [[&disk, &bench.uri("demo")], [&bench.uri("demo"), &copy]] {
        succeeded("nbdcopy", &[], &tool("nbdcopy", &["--flush", arguments[0], arguments[1]]));
    }
    assert!(fs::read(&disk).unwrap() == fs::read(&copy).unwrap(), "what came back is not what went in");
    let tcp = daemon.ready.split(" tcp=").nth(1).unwrap().split(' ').next().unwrap();
    let list = succeeded("nbdinfo", &[], &tool("nbdinfo", &["--list", &format!("nbd://{tcp}")]));
    assert!(list.contains("export=\"demo\"") && list.contains("export=\"other\""), "{list}");
    assert_eq!(daemon.stop(), 0);
    assert!(!bench.data().join("nbd.sock").exists() && !bench.data().join("control.sock").exists());
}

#[test]
fn what_was_acknowledged_survives_kill_9() {
    let bench = Bench::new();
    let mut daemon = bench.serve(&["--volume", "demo=64M"]);
    for round in 1..=3_u8 {
        bench.write("demo", round, &format!("{round}M"), "1M");
        bench.write("demo", round + 100, "512", "1000");
        daemon.kill();
        daemon = bench.serve(&[]);
        for earlier in 1..=round {
            bench.read("demo", earlier, &format!("{earlier}M"), "1M");
        }
        bench.read("demo", round + 100, "512", "1000");
        bench.read("demo", 0, "0", "512");
    }
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn after_an_orderly_stop_nothing_local_is_needed() {
    let bench = Bench::new();
    let daemon = bench.serve(&["--volume", "demo=64M", "--volume", "scratch=8M"]);
    bench.write("demo", 7, "3M", "5M");
    bench.write("scratch", 8, "1K", "70K");
    assert_eq!(daemon.stop(), 0);
    fs::remove_dir_all(bench.data().join("local")).unwrap();
    assert_eq!(bench.json(&["volume", "show", "demo"])["stored"]["kind"], "released");
    let daemon = bench.serve(&[]);
    bench.read("demo", 7, "3M", "5M");
    bench.read("demo", 0, "8M", "4M");
    bench.read("scratch", 8, "1K", "70K");
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn a_directory_has_one_daemon() {
    let bench = Bench::new();
    let daemon = bench.serve(&["--volume", "demo=1M"]);
    let message = bench.fails(1, &["serve"]);
    assert!(message.contains("held by process"), "{message}");
    assert!(bench.json(&["status"])["state"] == "ready");
    assert_eq!(daemon.stop(), 0);
    // A socket that was left behind is in nobody's way.
    let daemon = bench.serve(&[]);
    daemon.kill();
    assert!(bench.data().join("control.sock").exists());
    assert_eq!(bench.serve(&[]).stop(), 0);
}

#[test]
fn sizes_are_not_changed_by_accident() {
    let bench = Bench::new();
    assert_eq!(bench.serve(&["--volume", "demo=1M"]).stop(), 0);
    let message = bench.fails(1, &["serve", "--volume", "demo=2M"]);
    assert!(message.contains("demo exists with 1 MiB"), "{message}");
    let message = bench.fails(1, &["serve", "--volume", "tiny=4K"]);
    assert!(message.contains("from 1 MiB to 1 PiB"), "{message}");
    bench.fails(2, &["serve", "--volume", "demo=2GB"]);
    bench.fails(2, &["serve", "--volume", "Demo=2G"]);
    assert_eq!(bench.serve(&["--volume", "demo"]).stop(), 0);
}

#[test]
fn a_volume_that_is_missing_stops_no_other() {
    let bench = Bench::new();
    let daemon = bench.serve(&["--volume", "demo=1M", "--volume", "gone"]);
    assert!(daemon.ready.contains("exports=demo failed=gone"), "{}", daemon.ready);
    let status = bench.json(&["status"]);
    assert_eq!(status["volumes"][1]["state"], "failed");
    assert!(status["volumes"][1]["problem"].as_str().unwrap().contains("does not exist"));
    bench.write("demo", 1, "0", "4K");
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn what_another_directory_has_is_taken_only_by_name() {
    let (here, there) = (Bench::new(), Bench::new());
    let pool = format!("file://{}", here.path("shared").display());
    let daemon = here.serve(&["--pool", &pool, "--volume", "demo=8M", "--volume", "free=1M"]);
    here.write("demo", 5, "0", "1M");
    let second = there.serve(&["--pool", &pool]);
    assert!(second.ready.ends_with("exports= failed=demo,free"), "{}", second.ready);
    assert_eq!(second.stop(), 0);
    // Reading takes nothing from anybody.
    let second = there.serve(&["--read-only", "demo"]);
    assert!(second.ready.ends_with("exports=demo"), "{}", second.ready);
    assert_eq!(second.stop(), 0);
    assert_eq!(daemon.stop(), 0);
    let second = there.serve(&[]);
    assert!(second.ready.ends_with("exports=demo,free"), "{}", second.ready);
    there.read("demo", 5, "0", "1M");
    there.write("demo", 6, "1M", "1M");
    let first = here.serve(&["--volume", "demo"]);
    here.read("demo", 5, "0", "1M");
    assert_eq!(first.stop(), 0);
    // The second was overtaken: what it had not committed is in its log, which it says.
    there.esker(&["status"]);
    assert_eq!(second.stop(), 3);
}

#[test]
fn a_second_signal_gives_up_and_loses_nothing() {
    let bench = Bench::new();
    let pool = bench.path("pool");
    let url = format!("file://{}", pool.display());
    let daemon = bench.serve(&["--pool", &url, "--volume", "demo=8M"]);
    bench.ok(&["volume", "create", "slow", "8M", "--durability", "ephemeral"]);
    bench.write("slow", 9, "0", "2M");
    // The store does not answer any more: its directories are files.
    fs::rename(&pool, bench.path("away")).unwrap();
    fs::write(&pool, "not a directory").unwrap();
    daemon.signal(Signal::TERM);
    std::thread::sleep(std::time::Duration::from_millis(500));
    assert_eq!(daemon.stop(), 3);
    fs::remove_file(&pool).unwrap();
    fs::rename(bench.path("away"), &pool).unwrap();
    let daemon = bench.serve(&[]);
    bench.read("slow", 9, "0", "2M");
    assert_eq!(daemon.stop(), 0);
}

/// What the daemon has to say goes to a file on a full disk.
#[test]
fn a_daemon_that_cannot_say_what_it_does_serves() {
    let bench = Bench::new();
    let shell = "ESKER_LOG=debug exec \"$@\" 2>/dev/full";
    let daemon = bench.serve_from(shell, &["--volume", "demo=8M", "--volume", "gone"]);
    assert!(daemon.ready.contains("exports=demo failed=gone"), "{}", daemon.ready);
    bench.write("demo", 1, "0", "1M");
    bench.read("demo", 1, "0", "1M");
    bench.ok(&["volume", "create", "other", "1M"]);
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn a_daemon_may_open_as_many_files_as_the_hard_limit_says() {
    let bench = Bench::new();
    let daemon = bench.serve_from("ulimit -Sn 256; ulimit -Hn 900; exec \"$@\"", &["--volume", "demo=1M"]);
    let limits = fs::read_to_string(format!("/proc/{}/limits", daemon.process())).unwrap();
    let open_files = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
    let numbers: Vec<_> = open_files.split_whitespace().take(2).collect();
    assert_eq!(numbers, ["900", "900"], "soft and hard");
    assert_eq!(daemon.stop(), 0);
}
