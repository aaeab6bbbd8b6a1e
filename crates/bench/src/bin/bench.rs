//! `cargo xtask bench`: Esker and its peers in paired slices.
#![forbid(unsafe_code)]

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use esker_bench::{
    files,
    jobs::{JOBS, Job},
    load::stopped,
    report::{self, Bar, Chart, Conditions, Finished, duration},
    servers::{EskerSettings, PEERS, Peer, Plan},
    slices::{self, Settings},
};

const USAGE: &str = "\
usage: bench --esker PROGRAM [--jobs A,B] [--peers A,B] [--slices N] [--slice-ms N] [--json] [--svg DIR] ...
  --jobs A,B         jobs, or beginnings of their names; `list` shows them; all by default
  --peers A,B        peers beside esker and the reference nbdkit-memory; all that are installed by default
  --slices N         slices of each server in a job, 8 by default
  --slice-ms N       length of a slice, at most 1000; 250 by default
  --durability D     of esker's volumes: ephemeral (default: nothing is stored before the dirty bound) or bounded(Ns)
  --dirty-bound S    of esker, 8G by default
  --pool URL         esker's pool; files in the temporary directory by default
  --dir DIR          where the servers' files go, on a real disk; the directory for temporary files by default
  --json             figures as JSON
  --svg DIR          write bench.svg and bench.md there";

/// What the command line says.
struct Options {
    esker: PathBuf,
    jobs: Vec<Job>,
    peers: Vec<Peer>,
    slices: usize,
    slice: Duration,
    durability: String,
    dirty_bound: String,
    pool: Option<String>,
    dir: PathBuf,
    json: bool,
    svg: Option<PathBuf>,
}

fn main() -> Result<()> {
    let Some(options) = parse(std::env::args().skip(1))? else { return Ok(()) };
    let stop = interrupted()?;
    let directory = tempfile::Builder::new().prefix("esker-bench-").tempdir_in(&options.dir)?;
    let conditions = conditions(&options, directory.path())?;
    if !options.json {
        conditions.lines().iter().for_each(|line| println!("{line}"));
    }
    let mut finished = Vec::new();
    for job in &options.jobs {
        match run(job, &options, directory.path(), &stop) {
            Ok(done) => {
                if !options.json {
                    println!("\n{}", report::table(&done));
                }
                finished.push(done);
            }
            Err(_) if stopped(&stop) => break,
            Err(error) => eprintln!("{}: {error:#}", job.name),
        }
    }
    if options.json {
        println!("{:#}", report::json(&conditions, &finished));
    }
    if let Some(svg) = &options.svg {
        write_files(svg, &conditions, &finished)?;
    }
    directory.close()?;
    ensure!(!stopped(&stop), "interrupted; everything that was started has been ended and removed");
    ensure!(finished.len() == options.jobs.len(), "some jobs failed");
    Ok(())
}

fn run(job: &Job, options: &Options, directory: &Path, stop: &AtomicBool) -> Result<Finished> {
    let directory = directory.join(job.name);
    let esker = EskerSettings {
        program: options.esker.clone(),
        pool: options.pool.clone(),
        durability: options.durability.clone(),
        dirty_bound: options.dirty_bound.clone(),
        cache: "1G".into(),
    };
    let settings = Settings {
        peers: &options.peers,
        slices: options.slices,
        slice: options.slice,
        plan: Plan { esker, exports: 1, size_bytes: 0 },
        directory: &directory,
        stop,
    };
    let rows = slices::run(job, &settings);
    // Nothing of it is needed any more, and a job may leave gigabytes.
    let _ = std::fs::remove_dir_all(&directory);
    Ok(Finished { job: *job, rows: rows? })
}

fn conditions(options: &Options, directory: &Path) -> Result<Conditions> {
    let pool = options.pool.as_deref().unwrap_or("file://");
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments = arguments.join(" ").replace(&format!("--esker {}", options.esker.display()), "");
    Ok(Conditions {
        command: format!("cargo xtask bench {}", arguments.trim()).trim().to_owned(),
        machine: report::machine(),
        disk: format!("{} as disk", files::file_system(directory)?),
        esker: format!("{}, dirty bound {}, pool {pool}", options.durability, options.dirty_bound),
        slices: options.slices,
        slice: options.slice,
    })
}

/// Set at ^C and SIGTERM; the thread that waits for them ends with the process.
fn interrupted() -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = stop.clone();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        runtime.block_on(async {
            use tokio::signal::unix::{SignalKind, signal};
            let (Ok(mut interrupt), Ok(mut terminate)) =
                (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
            else {
                return;
            };
            tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
            flag.store(true, Ordering::Relaxed);
        });
    })?;
    Ok(stop)
}

fn write_files(directory: &Path, conditions: &Conditions, finished: &[Finished]) -> Result<()> {
    std::fs::create_dir_all(directory)?;
    let groups = finished.iter().map(|done| {
        let bars = done.rows.iter().map(|row| Bar {
            name: row.name.clone(),
            value: row.ratio.median,
            low: row.ratio.low,
            high: row.ratio.high,
            note: format!(
                "{:.2} ×, p99 {}, {}",
                row.ratio.median,
                duration(row.total.latencies.quantile(0.99)),
                row.cpu.map_or_else(String::new, |cpu| format!("{} CPU a request", duration(cpu)))
            ),
        });
        (format!("{}: {}", done.job.name, done.job.what), bars.collect())
    });
    let chart = Chart { title: conditions.lines(), groups: groups.collect() };
    std::fs::write(directory.join("bench.svg"), chart.svg())?;
    let lines: Vec<String> = conditions.lines().iter().map(|line| format!("- {line}")).collect();
    let tables: Vec<String> = finished.iter().map(report::table).collect();
    let text = format!("# Last full run\n\n{}\n\n{}", lines.join("\n"), tables.join("\n"));
    std::fs::write(directory.join("bench.md"), text)?;
    Ok(())
}

fn parse(arguments: impl Iterator<Item = String>) -> Result<Option<Options>> {
    let mut options = Options {
        esker: PathBuf::new(),
        jobs: JOBS.to_vec(),
        peers: PEERS.into_iter().filter(|peer| peer.is_installed()).collect(),
        slices: 8,
        slice: Duration::from_millis(250),
        durability: "ephemeral".into(),
        dirty_bound: "8G".into(),
        pool: None,
        dir: std::env::temp_dir(),
        json: false,
        svg: None,
    };
    let mut arguments = arguments;
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().with_context(|| format!("{argument} takes a value\n{USAGE}"));
        match argument.as_str() {
            "--esker" => options.esker = value()?.into(),
            "--jobs" => match value()?.as_str() {
                "list" => {
                    JOBS.iter().for_each(|job| println!("{:18} {}", job.name, job.what));
                    return Ok(None);
                }
                names => options.jobs = jobs(names)?,
            },
            "--peers" => options.peers = peers(&value()?)?,
            "--slices" => options.slices = value()?.parse()?,
            "--slice-ms" => options.slice = Duration::from_millis(value()?.parse::<u64>()?.clamp(1, 1000)),
            "--durability" => options.durability = value()?,
            "--dirty-bound" => options.dirty_bound = value()?,
            "--pool" => options.pool = Some(value()?),
            "--dir" => options.dir = value()?.into(),
            "--json" => options.json = true,
            "--svg" => options.svg = Some(value()?.into()),
            "--help" | "-h" => {
                println!("{USAGE}");
                return Ok(None);
            }
            other => bail!("unknown argument {other}\n{USAGE}"),
        }
    }
    ensure!(options.esker.is_file(), "--esker must name the built program\n{USAGE}");
    ensure!(options.slices > 0, "--slices must be at least 1");
    ensure!(Peer::NbdkitMemory.is_installed(), "the reference is missing: apt-get install nbdkit");
    // The reference comes first.
    options.peers.retain(|peer| *peer != Peer::NbdkitMemory);
    options.peers.insert(0, Peer::NbdkitMemory);
    Ok(Some(options))
}

fn jobs(names: &str) -> Result<Vec<Job>> {
    let mut chosen = Vec::new();
    for name in names.split(',') {
        let exact: Vec<Job> = JOBS.into_iter().filter(|job| job.name == name).collect();
        let beginning = || JOBS.into_iter().filter(|job| job.name.starts_with(name)).collect();
        let found: Vec<Job> = if exact.is_empty() { beginning() } else { exact };
        ensure!(!found.is_empty(), "there is no job {name}; --jobs list shows them");
        chosen.extend(found);
    }
    Ok(chosen)
}

fn peers(names: &str) -> Result<Vec<Peer>> {
    let mut chosen = vec![Peer::Esker];
    for name in names.split(',').filter(|name| !name.is_empty()) {
        let found = PEERS.into_iter().find(|peer| peer.name() == name);
        let peer = found.with_context(|| {
            format!("there is no peer {name}; there are {}", PEERS.map(Peer::name).join(", "))
        })?;
        ensure!(peer.is_installed(), "{name} is not installed");
        if !chosen.contains(&peer) {
            chosen.push(peer);
        }
    }
    Ok(chosen)
}
