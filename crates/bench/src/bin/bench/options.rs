//! What the command line says.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use esker_bench::{
    jobs::{JOBS, Job},
    scenarios::{SCENARIOS, Scenario},
    servers::{PEERS, Peer},
};

/// Instead of a pool's URL: a server that is started for it.
pub(crate) const SEAWEED: &str = "seaweedfs";

const USAGE: &str = "\
usage: bench --esker PROGRAM [--jobs A,B] [--peers A,B] [--slices N] [--slice-ms N] [--json] [--svg DIR] ...
  --jobs A,B         jobs, or beginnings of their names; `list` shows them; all by default
  --peers A,B        peers beside esker and the reference nbdkit-memory; all that are installed by default
  --before PROGRAM   another build of esker, that takes part as esker-before, also in slices right beside esker's
  --reference PEER   who comes before each slice of another, nbdkit-memory by default; may be esker-before
  --slices N         slices of each server in a job, 8 by default
  --slice-ms N       length of a slice, at most 1000; 250 by default
  --durability D     of esker's volumes: ephemeral (default: nothing is stored before the dirty bound) or bounded(Ns)
  --dirty-bound S    of esker, 8G by default
  --volumes N        in the scenarios idle and forks, 1000 by default
  --written SIZE     written in the scenarios forks (4G by default), reclaim and rounds (1G)
  --pool URL         esker's pool; files in the temporary directory by default; seaweedfs: a server of its own
  --dir DIR          where the servers' files go, on a real disk; the directory for temporary files by default
  --perf FILE        has perf record esker there while the slices of a job run
  --json             figures as JSON
  --svg DIR          write bench.svg and bench.md there";

/// Something to be measured.
pub(crate) enum Work {
    Job(Job),
    Scenario(Scenario),
}

impl Work {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Job(job) => job.name,
            Self::Scenario(scenario) => scenario.name(),
        }
    }

    fn what(&self) -> &'static str {
        match self {
            Self::Job(job) => job.what,
            Self::Scenario(scenario) => scenario.what(),
        }
    }
}

fn everything() -> Vec<Work> {
    JOBS.into_iter().map(Work::Job).chain(SCENARIOS.into_iter().map(Work::Scenario)).collect()
}

/// What the command line says.
pub(crate) struct Options {
    pub(crate) esker: PathBuf,
    pub(crate) work: Vec<Work>,
    /// The reference first.
    pub(crate) peers: Vec<Peer>,
    pub(crate) before: Option<PathBuf>,
    pub(crate) slices: usize,
    pub(crate) slice: Duration,
    pub(crate) durability: String,
    pub(crate) dirty_bound: String,
    pub(crate) volumes: u64,
    pub(crate) written_bytes: Option<u64>,
    pub(crate) pool: Option<String>,
    pub(crate) dir: PathBuf,
    pub(crate) perf: Option<PathBuf>,
    pub(crate) json: bool,
    pub(crate) svg: Option<PathBuf>,
}

pub(crate) fn parse(arguments: impl Iterator<Item = String>) -> Result<Option<Options>> {
    let mut options = Options {
        esker: PathBuf::new(),
        work: everything(),
        peers: PEERS.into_iter().filter(|peer| peer.is_installed()).collect(),
        before: None,
        slices: 8,
        slice: Duration::from_millis(250),
        durability: "ephemeral".into(),
        dirty_bound: "8G".into(),
        volumes: 1_000,
        written_bytes: None,
        pool: None,
        dir: std::env::temp_dir(),
        perf: None,
        json: false,
        svg: None,
    };
    let mut reference = Peer::NbdkitMemory.name().to_owned();
    let mut arguments = arguments;
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().with_context(|| format!("{argument} takes a value\n{USAGE}"));
        match argument.as_str() {
            "--esker" => options.esker = value()?.into(),
            "--jobs" => match value()?.as_str() {
                "list" => {
                    everything().iter().for_each(|work| println!("{:18} {}", work.name(), work.what()));
                    return Ok(None);
                }
                names => options.work = work(names)?,
            },
            "--peers" => options.peers = peers(&value()?)?,
            "--before" => options.before = Some(value()?.into()),
            "--reference" => reference = value()?,
            "--slices" => options.slices = value()?.parse()?,
            "--slice-ms" => options.slice = Duration::from_millis(value()?.parse::<u64>()?.clamp(1, 1000)),
            "--durability" => options.durability = value()?,
            "--dirty-bound" => options.dirty_bound = value()?,
            "--volumes" => options.volumes = value()?.parse()?,
            "--written" => options.written_bytes = Some(size(&value()?)?),
            "--pool" => options.pool = Some(value()?),
            "--dir" => options.dir = value()?.into(),
            "--perf" => options.perf = Some(value()?.into()),
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
    options.take_part(&reference)?;
    Ok(Some(options))
}

impl Options {
    /// Who takes part, the reference first.
    fn take_part(&mut self, reference: &str) -> Result<()> {
        if let Some(before) = &self.before {
            ensure!(before.is_file(), "--before must name a built program\n{USAGE}");
            self.peers.insert(1, Peer::EskerBefore);
        }
        let reference = if reference == Peer::EskerBefore.name() {
            ensure!(self.before.is_some(), "--reference esker-before needs --before\n{USAGE}");
            Peer::EskerBefore
        } else {
            peer(reference)?
        };
        self.peers.retain(|peer| *peer != reference);
        self.peers.insert(0, reference);
        Ok(())
    }
}

fn work(names: &str) -> Result<Vec<Work>> {
    let mut chosen = Vec::new();
    for name in names.split(',') {
        let exact = everything().iter().any(|work| work.name() == name);
        let named = |work: &Work| if exact { work.name() == name } else { work.name().starts_with(name) };
        let before = chosen.len();
        chosen.extend(everything().into_iter().filter(named));
        ensure!(chosen.len() > before, "there is no job {name}; --jobs list shows them");
    }
    Ok(chosen)
}

/// A number of MiB or GiB.
fn size(text: &str) -> Result<u64> {
    let units = [("M", 20), ("G", 30)];
    let unit = units.into_iter().find_map(|(unit, bits)| Some((text.strip_suffix(unit)?, bits)));
    let (number, bits) = unit.with_context(|| format!("{text} is no size such as 512M or 50G"))?;
    let bytes = number.parse::<u64>()?.checked_mul(1 << bits);
    bytes.filter(|bytes| *bytes > 0).with_context(|| format!("{text} is too little or too much"))
}

fn peers(names: &str) -> Result<Vec<Peer>> {
    let mut chosen = vec![Peer::Esker];
    for name in names.split(',').filter(|name| !name.is_empty()) {
        let peer = peer(name)?;
        if !chosen.contains(&peer) {
            chosen.push(peer);
        }
    }
    Ok(chosen)
}

fn peer(name: &str) -> Result<Peer> {
    let found = PEERS.into_iter().find(|peer| peer.name() == name);
    let peer = found.with_context(|| {
        format!("there is no peer {name}; there are {}", PEERS.map(Peer::name).join(", "))
    })?;
    ensure!(peer.is_installed(), "{name} is not installed");
    Ok(peer)
}
