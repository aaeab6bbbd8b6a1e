//! Paired slices: reference, one server, reference, the next … again and again, so that what the machine does
//! meanwhile falls on both. A ratio is always one of two neighbours.

use std::{
    path::Path,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use anyhow::{Context, Result, ensure};

use crate::{
    fio,
    jobs::{Asker, Job, State},
    load::{self, Connection, Outcome, Templates, stopped},
    perf::Recording,
    raw::RawDisk,
    servers::{Peer, Plan, Server},
    statistics::{Spread, median, spread},
};

/// How a job is run.
pub struct Settings<'a> {
    /// Who takes part; the first is the reference.
    pub peers: &'a [Peer],
    /// Slices of each.
    pub slices: usize,
    /// How long each is.
    pub slice: Duration,
    /// What the servers serve; sizes are the job's.
    pub plan: Plan,
    /// Where their files go.
    pub directory: &'a Path,
    /// Where perf puts what it sees of Esker while the slices run.
    pub perf: Option<&'a Path>,
    /// Set when somebody asks for an end.
    pub stop: &'a AtomicBool,
}

/// What came of one server in one job.
#[derive(Clone)]
pub struct Row {
    /// The server.
    pub name: String,
    /// Requests per second, the median of the slices.
    pub rate: f64,
    /// Against the reference in the slices beside.
    pub ratio: Spread,
    /// All slices together.
    pub total: Outcome,
    /// Processor time of the server for a request, the median of the slices.
    pub cpu: Option<Duration>,
    /// Its memory at the end.
    pub memory_bytes: u64,
}

/// What came of a job.
pub struct Compared {
    /// The reference first.
    pub rows: Vec<Row>,
    /// Esker against another build of it.
    pub change: Option<Change>,
}

/// Esker against another build of it, in slices of their own, next to each other.
#[derive(Debug, Clone, Copy)]
pub struct Change {
    /// Requests per second.
    pub rate: Spread,
    /// Processor time for a request.
    pub cpu: Spread,
}

/// Somebody who is asked, in slices.
struct Contender {
    name: String,
    /// None: the raw disk.
    peer: Option<Peer>,
    way: Way,
    rates: Vec<f64>,
    ratios: Vec<f64>,
    cpu: Vec<f64>,
    total: Outcome,
}

/// How it is asked.
enum Way {
    Batching { server: Server, connections: Vec<Connection> },
    Fio { server: Server },
    Raw(RawDisk),
}

/// Figures of one slice: requests per second, and the server's seconds of processor time for each.
#[derive(Clone, Copy)]
struct Figures {
    rate: f64,
    cpu: f64,
}

/// One slice: what came of it, and the server's processor time.
type Slice = (Outcome, Option<Duration>);

/// Runs a job on all servers that can do it.
pub fn run(job: &Job, settings: &Settings<'_>) -> Result<Compared> {
    let mut contenders = Vec::new();
    for peer in settings.peers.iter().filter(|peer| job.exports == 1 || peer.has_many_exports()) {
        let context = || format!("{} on {}", job.name, peer.name());
        contenders.push(Contender::start(job, *peer, settings).with_context(context)?);
    }
    if job.has_raw_witness() {
        contenders.push(Contender::raw(job, settings)?);
    }
    let recording = record(&contenders, settings)?;
    let (reference, others) = contenders.split_first_mut().context("no server can do this job")?;
    let mut changes = Vec::new();
    for round in 0..settings.slices {
        for contender in &mut *others {
            let mut pair = || -> Result<()> {
                let beside = reference.slice(job, settings)?;
                let own = contender.slice(job, settings)?;
                contender.ratios.push(own.rate / beside.rate);
                Ok(())
            };
            pair().with_context(|| format!("{} on {}", job.name, contender.name))?;
        }
        if others.is_empty() {
            reference.slice(job, settings)?;
        }
        changes.extend(change(others, round, job, settings)?);
    }
    recording.map_or(Ok(()), Recording::end)?;
    let change = (!changes.is_empty()).then(|| Change {
        rate: spread(&changes.iter().map(|(now, before)| now.rate / before.rate).collect::<Vec<_>>()),
        cpu: spread(&changes.iter().map(|(now, before)| now.cpu / before.cpu).collect::<Vec<_>>()),
    });
    Ok(Compared { rows: contenders.into_iter().map(Contender::row).collect(), change })
}

/// Has perf look at Esker, if somebody wants to know.
fn record(contenders: &[Contender], settings: &Settings<'_>) -> Result<Option<Recording>> {
    let Some(file) = settings.perf else { return Ok(None) };
    let esker = contenders.iter().find(|contender| contender.peer == Some(Peer::Esker));
    match esker.map(|esker| &esker.way) {
        Some(Way::Batching { server, .. } | Way::Fio { server }) => {
            Recording::start(server.pid(), file).map(Some)
        }
        _ => Ok(None),
    }
}

/// A slice of each of two builds of Esker, if both take part and neither is the reference; in every second round
/// the other one begins.
fn change(
    others: &mut [Contender],
    round: usize,
    job: &Job,
    settings: &Settings<'_>,
) -> Result<Option<(Figures, Figures)>> {
    let place = |others: &[Contender], peer| others.iter().position(|other| other.peer == Some(peer));
    let (Some(now), Some(before)) = (place(others, Peer::Esker), place(others, Peer::EskerBefore)) else {
        return Ok(None);
    };
    let order = if round.is_multiple_of(2) { [before, now] } else { [now, before] };
    let [first, second] = order.map(|place| others[place].slice(job, settings));
    let (first, second) = (first?, second?);
    Ok(Some(if order[0] == now { (first, second) } else { (second, first) }))
}

impl Contender {
    fn start(job: &Job, peer: Peer, settings: &Settings<'_>) -> Result<Self> {
        let mut plan = settings.plan.clone();
        (plan.exports, plan.size_bytes) = (job.exports, job.export_bytes());
        match job.state {
            State::Cold => plan.esker.cache = "8M".into(),
            // Long enough for a slice, in which nothing is sealed then.
            State::Warm => plan.esker.durability = "bounded(1s)".into(),
            State::Written | State::Cached => {}
        }
        let directory = settings.directory.join(peer.name());
        let mut server = Server::start(peer, &directory, &plan, settings.stop)?;
        let mut connections = connect(job, &server)?;
        for connection in connections.iter_mut().take(job.exports) {
            connection.prepare(job.load.area_bytes, settings.stop)?;
        }
        if job.state == State::Warm && peer.is_esker() {
            warm_up(job, &server, &mut connections[0], settings.stop)?;
        }
        if job.is_read_from_the_store() && peer.is_esker() {
            drop(connections);
            server.terminate()?;
            server = Server::start(peer, &directory, &plan, settings.stop)?;
            connections = connect(job, &server)?;
        }
        if job.state == State::Cached {
            connections[0].read_all(job.load.area_bytes, settings.stop)?;
        }
        let way = match job.asker {
            Asker::Batching => Way::Batching { server, connections },
            Asker::Fio => Way::Fio { server },
        };
        Ok(Self::new(peer.name().to_owned(), Some(peer), way))
    }

    fn raw(job: &Job, settings: &Settings<'_>) -> Result<Self> {
        let raw = RawDisk::new(&settings.directory.join("raw"), job.connections)?;
        Ok(Self::new("raw write+fdatasync".to_owned(), None, Way::Raw(raw)))
    }

    fn new(name: String, peer: Option<Peer>, way: Way) -> Self {
        let total = Outcome::default();
        Self { name, peer, way, rates: Vec::new(), ratios: Vec::new(), cpu: Vec::new(), total }
    }

    /// One slice.
    fn slice(&mut self, job: &Job, settings: &Settings<'_>) -> Result<Figures> {
        ensure!(!stopped(settings.stop), "interrupted");
        let (outcome, cpu) = self.way.slice(job, settings)?;
        ensure!(outcome.requests > 0, "nothing was answered");
        self.rates.push(outcome.rate());
        let cpu = cpu.map(|cpu| cpu.as_secs_f64() / outcome.requests as f64);
        self.cpu.extend(cpu);
        self.total.append(&outcome);
        Ok(Figures { rate: outcome.rate(), cpu: cpu.unwrap_or(f64::NAN) })
    }

    fn row(self) -> Row {
        let memory_bytes = match &self.way {
            Way::Batching { server, .. } | Way::Fio { server } => server.memory_bytes(),
            Way::Raw(_) => 0,
        };
        let ratio = if self.ratios.is_empty() { spread(&[1.0]) } else { spread(&self.ratios) };
        let cpu = (!self.cpu.is_empty()).then(|| Duration::from_secs_f64(median(&self.cpu)));
        Row { name: self.name, rate: median(&self.rates), ratio, total: self.total, cpu, memory_bytes }
    }
}

impl Way {
    fn slice(&mut self, job: &Job, settings: &Settings<'_>) -> Result<Slice> {
        let Settings { slice, stop, .. } = *settings;
        match self {
            Self::Raw(raw) => Ok((raw.run(slice)?, None)),
            Self::Batching { server, connections } => {
                ready(job, server, stop)?;
                load::run(connections, &job.load, job.warm_up, stop)?;
                let before = server.threads_cpu();
                let outcome = load::run(connections, &job.load, slice, stop)?;
                let used = server.threads_cpu().saturating_sub(before);
                if job.state == State::Warm {
                    // What was written is sealed before its neighbour begins.
                    ready(job, server, stop)?;
                }
                Ok((outcome, Some(used)))
            }
            Self::Fio { server } => {
                ready(job, server, stop)?;
                let before = server.process_cpu();
                // fio counts whole seconds.
                let outcome = fio::run(&server.socket, &job.load, Duration::from_secs(1))?;
                let used = server.process_cpu().saturating_sub(before);
                Ok((outcome, Some(used)))
            }
        }
    }
}

/// What a server does behind its guests' backs must not fall on its neighbour.
fn ready(job: &Job, server: &Server, stop: &AtomicBool) -> Result<()> {
    if server.peer.is_esker() && job.state == State::Warm {
        server.wait_until_stored("v0", Duration::from_secs(60), stop)?;
    }
    if server.peer.works_in_the_background() {
        // Of others nobody knows whether they ever come to rest.
        let patience = Duration::from_secs(if server.peer.is_esker() { 20 } else { 2 });
        server.settle(patience, stop);
    }
    if job.state == State::Cold {
        crate::files::evict(&server.directory)?;
    }
    Ok(())
}

/// Overwrites until the files of the log have been round several times; the store holds all of it then.
fn warm_up(job: &Job, server: &Server, connection: &mut Connection, stop: &AtomicBool) -> Result<()> {
    for _ in 0..4 {
        connection.prepare(job.load.area_bytes, stop)?;
        server.wait_until_stored("v0", Duration::from_secs(60), stop)?;
    }
    Ok(())
}

fn connect(job: &Job, server: &Server) -> Result<Vec<Connection>> {
    let templates = match job.state {
        // Seals are cut by what they will weigh: contents that weigh nothing do not end one within a slice.
        State::Warm => Templates::compressible(),
        _ => Templates::default(),
    };
    let templates = Arc::new(templates);
    let open = |number: usize| {
        let export = format!("v{}", number % job.exports);
        let connection = Connection::open(&server.socket, &export, &templates, number as u64 + 1)?;
        Ok(if server.peer.keeps_contents() { connection } else { connection.without_verify() })
    };
    (0..job.connections).map(open).collect()
}
