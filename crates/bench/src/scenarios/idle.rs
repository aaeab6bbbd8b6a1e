//! Many volumes of one daemon that nobody uses: what they cost after they were made, and after a restart.

use std::{
    io::{IsTerminal, Write},
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};

use super::{Cell, Scenario, Settings, Table, Target};
use crate::{control, files, load::stopped, process, servers::Server};

const VOLUME_BYTES: u64 = 10 << 30;
const WATCHED: Duration = Duration::from_secs(10);
const OPEN_MAX: Duration = Duration::from_secs(600);
/// Work that takes longer than this is shown.
const SILENT_MAX: Duration = Duration::from_secs(2);
/// As many volumes are made as fit into one part in so many of what is free.
const FREE_PARTS: u64 = 3;
const CPU_MAX: Duration = Duration::from_millis(100);

/// A daemon with nothing to do.
struct Idle {
    name: String,
    volumes: u64,
    /// How long it took until all were there.
    ready: Duration,
    cpu: Duration,
    requests: u64,
    memory_bytes: u64,
    disk_bytes: u64,
    threads: u64,
    descriptors: u64,
}

pub(super) fn run(settings: &Settings<'_>) -> Result<Table> {
    let mut server = settings.start(settings.esker.clone(), 1, VOLUME_BYTES)?;
    let mut found = vec![watch("one volume".into(), &server, (1, Duration::ZERO), settings)?];
    let volumes = settings.volumes.max(2).min(room(&server, &found[0])?);
    let begun = Instant::now();
    for number in 1..volumes {
        ensure!(!stopped(settings.stop), "interrupted");
        let name = format!("v{number}");
        control::create(&server.directory, &name, VOLUME_BYTES, &settings.esker.durability)?;
        show(begun, number + 1, volumes);
    }
    let made = begun.elapsed();
    found.push(watch(format!("{volumes}, just made"), &server, (volumes, made), settings)?);
    server.terminate()?;
    let begun = Instant::now();
    server = settings.start(settings.esker.clone(), 1, VOLUME_BYTES)?;
    while control::running(&server.directory)? < volumes {
        ensure!(!stopped(settings.stop), "interrupted");
        ensure!(begun.elapsed() < OPEN_MAX, "not all volumes were opened within {OPEN_MAX:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
    let opened = begun.elapsed();
    found.push(watch(format!("{volumes}, after a restart"), &server, (volumes, opened), settings)?);
    let mut table = table(&found);
    table.targets.push(Target {
        what: "idle volumes",
        wanted: format!("{} on this disk, in a third of what is free", settings.volumes),
        found: volumes.to_string(),
        met: volumes >= settings.volumes,
    });
    Ok(table)
}

/// How many volumes the disk has room for, if each takes what the first one takes.
fn room(server: &Server, one: &Idle) -> Result<u64> {
    let free = files::free_bytes(&server.directory)?;
    Ok((free / FREE_PARTS / one.disk_bytes.max(1)).max(2))
}

/// Lets some time pass, and looks what it cost.
fn watch(
    name: String,
    server: &Server,
    (volumes, ready): (u64, Duration),
    settings: &Settings<'_>,
) -> Result<Idle> {
    server.settle(Duration::from_secs(30), settings.stop);
    let requests = || -> Result<u64> {
        let kinds = control::requests(&server.directory)?;
        let counted = kinds.iter().filter(|(kind, _)| !kind.starts_with("bytes"));
        Ok(counted.map(|(_, count)| count).sum())
    };
    let (requests_before, cpu_before) = (requests()?, server.threads_cpu());
    let begun = Instant::now();
    while begun.elapsed() < WATCHED {
        ensure!(!stopped(settings.stop), "interrupted");
        std::thread::sleep(Duration::from_millis(100));
    }
    let cpu = server.threads_cpu().saturating_sub(cpu_before);
    Ok(Idle {
        name,
        volumes,
        ready,
        cpu,
        requests: requests()? - requests_before,
        memory_bytes: server.memory_bytes(),
        disk_bytes: files::allocated_bytes(Path::new(&server.directory))?,
        threads: process::threads(server.pid()),
        descriptors: process::descriptors(server.pid()),
    })
}

/// On a terminal, how far it has come.
fn show(begun: Instant, done: u64, all: u64) {
    let mut out = std::io::stderr();
    if begun.elapsed() < SILENT_MAX || !out.is_terminal() {
        return;
    }
    let filled = (done * 40 / all) as usize;
    // Nobody reads it where it cannot be written.
    let _ = write!(out, "\rmaking volumes [{:40}] {done} of {all}", "#".repeat(filled));
    let _ = if done == all { writeln!(out) } else { out.flush() };
}

fn table(found: &[Idle]) -> Table {
    let one = &found[0];
    let kib = |bytes: u64, of: &Idle| match of.volumes {
        1 => Cell::Text(format!("{:.0} in all", bytes as f64 / 1024.0)),
        volumes => Cell::Text(format!("{:.1}", bytes as f64 / 1024.0 / volumes as f64)),
    };
    let row = |idle: &Idle| {
        let time = |time: Duration| if time.is_zero() { Cell::Text("–".into()) } else { Cell::Time(time) };
        let more = |now: u64, before: u64| if idle.volumes == 1 { now } else { now.saturating_sub(before) };
        vec![
            Cell::Text(idle.name.clone()),
            time(idle.ready),
            Cell::Time(idle.cpu),
            Cell::Number(idle.requests as f64),
            kib(more(idle.memory_bytes, one.memory_bytes), idle),
            kib(more(idle.disk_bytes, one.disk_bytes), idle),
            Cell::Number(idle.threads as f64),
            Cell::Number(idle.descriptors as f64),
        ]
    };
    let head = vec![
        "volumes",
        "until ready",
        "CPU in 10 s",
        "requests in 10 s",
        "memory KiB/volume",
        "disk KiB/volume",
        "threads",
        "descriptors",
    ];
    let (most, cpu) = found
        .iter()
        .fold((0, Duration::ZERO), |(requests, cpu), idle| (requests.max(idle.requests), cpu.max(idle.cpu)));
    let targets = vec![
        Target {
            what: "idle volumes",
            wanted: "no requests".into(),
            found: most.to_string(),
            met: most == 0,
        },
        Target {
            what: "idle volumes",
            wanted: "at most 1 % of a core".into(),
            found: format!("{:.2} %", cpu.as_secs_f64() / WATCHED.as_secs_f64() * 100.0),
            met: cpu <= CPU_MAX,
        },
    ];
    Table { targets, ..Table::new(Scenario::Idle, head, found.iter().map(row).collect()) }
}
