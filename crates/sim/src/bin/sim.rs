//! Runs seeds, scenarios and planted bugs by hand.
//!
//! ```text
//! sim [--seeds N] [--from S] [--seconds T]   many seeds, until one fails
//! sim --seed S                               one seed
//! sim --scenario NAME [--seed S]             a scenario, cut off after each of its steps
//! sim --families N [--from S]                many families of volumes, of a hundred steps each
//! sim --family S                             one family
//! sim --bug NAME [--families N] [--from S]   plants a bug and runs all scenarios and then 50 families, or N families
//!                                            alone, until one catches it
//! ```
#![forbid(unsafe_code)]

use std::{
    io::{IsTerminal, stderr},
    ops::Range,
    process::ExitCode,
    time::{Duration, Instant},
};

use esker_io::Bug;
use esker_sim::{enumerate, family, hunt, scenarios, seeds};

/// What the command line says.
#[derive(Default)]
struct Arguments {
    seeds: Option<u64>,
    from: u64,
    seconds: Option<u64>,
    seed: Option<u64>,
    scenario: Option<String>,
    bug: Option<String>,
    families: Option<u64>,
}

/// The steps of a family's life.
const FAMILY_STEPS: u64 = 100;
/// Families that a planted bug has to get past.
const FAMILIES_HUNTED: u64 = 50;

fn main() -> ExitCode {
    let outcome = parse().and_then(|arguments| match arguments {
        Arguments { bug: Some(bug), families, from, .. } => {
            plant(&bug, families.map(|count| from..from + count))
        }
        Arguments { scenario: Some(name), seed, .. } => scenario(&name, seed.unwrap_or(1)),
        Arguments { seed: Some(seed), .. } => one(seed),
        Arguments { families: Some(count), from, .. } => families(from, count),
        arguments => many(&arguments),
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn parse() -> Result<Arguments, String> {
    let mut parsed = Arguments::default();
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let (flag, value) = match word.split_once('=') {
            Some((flag, value)) => (flag.to_owned(), value.to_owned()),
            None => (word.clone(), words.next().ok_or_else(|| format!("{word} wants a value"))?),
        };
        let number = || value.parse::<u64>().map_err(|_| format!("{flag} wants a number, not {value}"));
        match flag.as_str() {
            "--seeds" => parsed.seeds = Some(number()?),
            "--from" => parsed.from = number()?,
            "--seconds" => parsed.seconds = Some(number()?),
            "--seed" => parsed.seed = Some(number()?),
            "--scenario" => parsed.scenario = Some(value),
            "--families" => parsed.families = Some(number()?),
            "--family" => (parsed.from, parsed.families) = (number()?, Some(1)),
            "--bug" => parsed.bug = Some(value),
            _ => {
                return Err(format!(
                    "{word} is unknown; there are --seeds, --from, --seconds, --seed, --families, --family, \
                     --scenario, --bug"
                ));
            }
        }
    }
    Ok(parsed)
}

/// Runs a seed; a panic of the engine is a failure like any other.
fn run(seed: u64) -> Result<seeds::Done, String> {
    let mut done = None;
    let outcome = hunt::guarded(|| {
        done = Some(seeds::run(seed).map_err(|failure| failure.to_string())?);
        Ok(())
    });
    // The plan is printed with a panic too.
    outcome.map_err(|message| {
        let plan =
            if message.contains("Plan {") { String::new() } else { seeds::Plan::drawn(seed).to_string() };
        format!("{message}\n{plan}\nrepeat it with: cargo xtask sim --seed {seed}")
    })?;
    done.ok_or_else(|| format!("seed {seed} has no outcome"))
}

fn one(seed: u64) -> Result<(), String> {
    let seeds::Done { digest, operations, crashes, openings } = run(seed)?;
    println!("seed {seed}: {operations} operations, {crashes} crashes, {openings} openings, digest {digest}");
    Ok(())
}

fn many(arguments: &Arguments) -> Result<(), String> {
    let start = Instant::now();
    let count = arguments.seeds.unwrap_or(if arguments.seconds.is_some() { u64::MAX } else { 100 });
    let limit = arguments.seconds.map(Duration::from_secs);
    let (mut done, mut operations, mut crashes) = (0, 0, 0);
    let terminal = stderr().is_terminal();
    while done < count && limit.is_none_or(|limit| start.elapsed() < limit) {
        let end = run(arguments.from + done)?;
        done += 1;
        operations += end.operations;
        crashes += end.crashes;
        if terminal {
            eprint!("\r{done} seeds");
        }
    }
    if terminal {
        eprintln!();
    }
    let (from, seconds) = (arguments.from, start.elapsed().as_secs_f64());
    println!(
        "{done} seeds from {from}: {operations} operations, {crashes} crashes, {seconds:.1} s, all hold"
    );
    Ok(())
}

fn families(from: u64, count: u64) -> Result<(), String> {
    let start = Instant::now();
    let terminal = stderr().is_terminal();
    let mut sum = family::Done::default();
    for seed in from..from + count {
        let outcome = hunt::guarded(|| {
            sum.add(family::run(seed, FAMILY_STEPS).map_err(|failure| failure.to_string())?);
            Ok(())
        });
        outcome.map_err(|message| format!("{message}\nrepeat it with: cargo xtask sim --family {seed}"))?;
        if terminal {
            eprint!("\r{} families", seed - from + 1);
        }
    }
    if terminal {
        eprintln!();
    }
    let seconds = start.elapsed().as_secs_f64();
    println!("{count} families from {from}: {sum}; {seconds:.1} s, all hold");
    Ok(())
}

fn scenario(name: &str, seed: u64) -> Result<(), String> {
    let known = || scenarios::all().iter().map(|scenario| scenario.name).collect::<Vec<_>>().join(", ");
    let scenario =
        scenarios::find(name).ok_or_else(|| format!("no scenario {name}; there are {}", known()))?;
    let tally = enumerate::all(&scenario, seed);
    for (at, error) in &tally.failures {
        println!("{}", enumerate::describe(&scenario, seed, at, error));
    }
    println!("{name}: {} crash points, {} failures", tally.points, tally.failures.len());
    if tally.failures.is_empty() { Ok(()) } else { Err(format!("scenario {name} fails")) }
}

fn plant(name: &str, families: Option<Range<u64>>) -> Result<(), String> {
    let known = || Bug::ALL.iter().map(|bug| format!("{bug:?}")).collect::<Vec<_>>().join(", ");
    let bug = Bug::ALL.iter().copied().find(|bug| format!("{bug:?}") == name);
    let bug = bug.ok_or_else(|| format!("no bug {name}; there are {}", known()))?;
    let scenarios = if families.is_none() { scenarios::all() } else { Vec::new() };
    for scenario in scenarios {
        if let Some(catch) = hunt::hunt(bug, &scenario, 1..4) {
            println!("{name} is caught by scenario {}: {:?}: {}", scenario.name, catch.point, catch.message);
            return Ok(());
        }
    }
    match hunt::hunt_families(bug, families.unwrap_or(0..FAMILIES_HUNTED), FAMILY_STEPS) {
        Some(catch) => {
            println!("{name} is caught by family {}: {}", catch.seed, catch.message);
            Ok(())
        }
        None => Err(format!("{name} is not caught")),
    }
}
