//! `cargo xtask bench`: Esker and its peers in paired slices.
#![forbid(unsafe_code)]

mod files;
mod options;

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use anyhow::{Result, ensure};
use esker_bench::{
    files::file_system,
    jobs::Job,
    load::stopped,
    report::{self, Conditions, Finished, Measured},
    scenarios,
    seaweed::Seaweed,
    servers::{EskerSettings, Plan},
    slices::{self, Settings},
};
use options::{Options, SEAWEED, Work};

fn main() -> Result<()> {
    let Some(options) = options::parse(std::env::args().skip(1))? else { return Ok(()) };
    let stop = interrupted()?;
    let directory = tempfile::Builder::new().prefix("esker-bench-").tempdir_in(&options.dir)?;
    let conditions = conditions(&options, directory.path())?;
    if !options.json {
        conditions.lines().iter().for_each(|line| println!("{line}"));
    }
    let mut measured = Vec::new();
    for work in &options.work {
        match run(work, &options, directory.path(), &stop) {
            Ok(done) => {
                if !options.json {
                    println!("\n{}", report::table(&done));
                }
                measured.push(done);
            }
            Err(_) if stopped(&stop) => break,
            Err(error) => eprintln!("{}: {error:#}", work.name()),
        }
    }
    if options.json {
        println!("{:#}", report::json(&conditions, &measured));
    }
    if let Some(svg) = &options.svg {
        files::write(svg, &conditions, &measured)?;
    }
    directory.close()?;
    ensure!(!stopped(&stop), "interrupted; everything that was started has been ended and removed");
    ensure!(measured.len() == options.work.len(), "some jobs failed");
    Ok(())
}

fn run(work: &Work, options: &Options, directory: &Path, stop: &AtomicBool) -> Result<Measured> {
    let directory = directory.join(work.name());
    let mut esker = EskerSettings {
        program: options.esker.clone(),
        pool: options.pool.clone(),
        durability: options.durability.clone(),
        dirty_bound: options.dirty_bound.clone(),
        cache: "1G".into(),
        grace: None,
        environment: Vec::new(),
    };
    // Ended when it is dropped.
    let seaweed =
        if options.pool.as_deref() == Some(SEAWEED) { Some(start_seaweed(&mut esker)?) } else { None };
    let measured = match work {
        Work::Job(job) => slices(job, options, esker, (&directory, stop)).map(Measured::Job),
        Work::Scenario(scenario) => {
            let settings = scenarios::Settings {
                esker,
                volumes: options.volumes,
                written_bytes: options.written_bytes,
                slices: options.slices,
                directory: &directory,
                stop,
            };
            scenario.run(&settings).map(Measured::Scenario)
        }
    };
    drop(seaweed);
    // Nothing of it is needed any more, and a job may leave gigabytes.
    let _ = std::fs::remove_dir_all(&directory);
    measured
}

/// An empty store of its own.
fn start_seaweed(esker: &mut EskerSettings) -> Result<Seaweed> {
    let seaweed = Seaweed::start(&Seaweed::program()?)?;
    (esker.pool, esker.environment) = (Some(seaweed.url("bench")), seaweed.environment());
    Ok(seaweed)
}

fn slices(
    job: &Job,
    options: &Options,
    esker: EskerSettings,
    (directory, stop): (&Path, &AtomicBool),
) -> Result<Finished> {
    let settings = Settings {
        peers: &options.peers,
        slices: options.slices,
        slice: options.slice,
        plan: Plan { esker, before: options.before.clone(), exports: 1, size_bytes: 0 },
        directory,
        perf: options.perf.as_deref(),
        stop,
    };
    Ok(Finished { job: *job, compared: slices::run(job, &settings)? })
}

fn conditions(options: &Options, directory: &Path) -> Result<Conditions> {
    let pool = options.pool.as_deref().unwrap_or("file://");
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments = arguments.join(" ").replace(&format!("--esker {}", options.esker.display()), "");
    Ok(Conditions {
        command: format!("cargo xtask bench {}", arguments.trim()).trim().to_owned(),
        machine: report::machine(),
        disk: format!("{} as disk", file_system(directory)?),
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
