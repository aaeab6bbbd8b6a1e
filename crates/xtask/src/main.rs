//! `cargo xtask`: the checks of the repository, and runners for its tests and its simulator.
#![forbid(unsafe_code)]

mod bench;
mod checks;
mod ci;
mod gate;
mod guest;
mod house;
mod profile;
mod run;
mod source;

use std::process::ExitCode;

use anyhow::{Result, bail};

const USAGE: &str = "\
usage: cargo xtask COMMAND

  check                    formatting, clippy, house checks, all tests
  house                    only the house checks
  test [--fast] [ARGS]     tests; --fast leaves out those called slow; ARGS go to cargo nextest
  sim [--seeds N] [--from S] [--seconds T] [--seed S]
                           simulator: N seeds from S on, or as many as T seconds hold, or seed S alone
  sim --families N [--from S] | --family S
                           simulator: volumes that are forked, snapshotted, rewound, deleted and reclaimed, while
                           the store fails and hosts fall; the campaign is --families 10000
  torture [ARGS]           writers that see the daemon killed; torture --help shows the rest
  weather [ARGS]           the same while the store fails in every way; weather --help shows the rest
  requests [ARGS]          what loads cost in requests, beside what they have to; requests --help shows the rest
  hits --script FILE       what a script reads of a volume, through several policies of a cache
  guest [--rounds N]       a QEMU guest that loses power while it writes, with the daemon killed
  bench [--jobs A,B] [--peers A,B] [--slices N] [--json] [--svg DIR] ...
                           esker and its peers in paired slices; bench --help shows the rest
  profile JOB [--svg FILE] where the time of a job of bench goes: a table, and a flame graph
  gate [--update]          instructions of the hot paths against the committed baseline
  ci                       install what the tests need (root or sudo), then check and gate";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match dispatch(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(arguments: &[String]) -> Result<()> {
    let (command, rest) = match arguments.split_first() {
        Some((command, rest)) => (command.as_str(), rest),
        None => bail!("no command given\n{USAGE}"),
    };
    match command {
        "check" | "house" | "ci" if !rest.is_empty() => bail!("{command} takes no arguments\n{USAGE}"),
        "check" => run::check(),
        "house" => run::house(),
        "test" => run::test(rest),
        "sim" => run::sim(rest),
        "torture" | "requests" | "weather" | "hits" => run::with_esker(command, rest),
        "guest" => guest::guest(rest),
        "bench" => bench::bench(rest),
        "profile" => profile::profile(rest),
        "gate" => gate::gate(rest),
        "ci" => ci::ci(),
        "help" | "--help" | "-h" => {
            println!("{USAGE}");
            Ok(())
        }
        other => bail!("unknown command {other}\n{USAGE}"),
    }
}
