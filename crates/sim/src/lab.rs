//! One simulated volume under test: hosts that open it, a model that knows what it must hold, and everything
//! that a scenario does to them.
//!
//! A scenario is plain code: each call does its work and moves virtual time as far as it needs. A call that
//! reaches a crash point returns [`Stop::Crashed`], and the scenario ends there.

mod book;
mod cache;
mod change;
mod check;
mod forks;
mod group;
mod history;
mod open;
mod probe;
mod reclaim;
mod rewrite;
mod settings;
mod size;

use std::{fmt, future::Future, sync::Arc, time::Duration};

use esker_engine::{host::Host as Engine, pool::Pool, recover::Report, volume::Limits, volume::Volume};
use esker_format::{
    ids::{AttemptId, DirectoryId, PoolId},
    names,
    pool::PoolRecord,
    property::{Compression, Durability, History, OnLag, Properties},
};

pub use self::history::Kept;
use self::{book::Book, settings::Settings, size::Size};
use crate::{Config, Halt, Host, Loss, Machine, Prng, Survival, Task};

/// The volume's name.
pub const VOLUME: &str = "v";
/// Decoded frames that a run may cache: little, so that reads come from the store.
const CACHE_BYTES: usize = 64 << 10;
/// A chunk of the log: small, so that reading it back is quick and the log moves on to the next one often.
pub const CHUNK_BYTES: u64 = 2 << 20;

/// Why a scenario ends early.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Stop {
    /// A host reached its crash point.
    #[error("a host crashed")]
    Crashed,
    /// A rule was broken.
    #[error("{0}")]
    Violation(String),
}

/// What a step of a scenario returns.
pub type Outcome<T = ()> = Result<T, Stop>;

/// The violation that `message` tells of.
pub fn violation(message: impl fmt::Display) -> Stop {
    Stop::Violation(message.to_string())
}

/// What a scenario is set up with.
#[derive(Debug, Clone)]
pub struct Setup {
    /// Decides everything that is not written here.
    pub seed: u64,
    /// The world's.
    pub config: Config,
    /// How many hosts may open the volume.
    pub hosts: usize,
    /// The volume's size.
    pub size_bytes: u64,
    /// The volume's durability.
    pub durability: Durability,
    /// What happens while the store lags.
    pub on_lag: OnLag,
    /// How long old heads stay reachable.
    pub history: History,
    /// Bounds of each opening.
    pub limits: Limits,
    /// Decoded frames that a run may cache.
    pub cache_bytes: usize,
    /// Bytes of each site's disk cache; 0 for none.
    pub disk_cache_bytes: u64,
    /// How the volume's frames are compressed.
    pub compression: Compression,
}

/// Bounds of a small world. What is in pieces is sealed as soon as what is in none would be: so that most scenarios are
/// about segments.
pub fn small_limits() -> Limits {
    Limits { chunk_bytes: CHUNK_BYTES, seal_age: Duration::ZERO, ..Limits::default() }
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            seed: 1,
            config: Config::default(),
            hosts: 1,
            size_bytes: 1 << 20,
            durability: Durability::Bounded { seconds: 1 },
            on_lag: OnLag::Alarm,
            history: History::default(),
            limits: small_limits(),
            cache_bytes: CACHE_BYTES,
            disk_cache_bytes: 0,
            compression: Compression::Lz4,
        }
    }
}

/// How a run ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fall {
    /// The process is killed.
    Kill,
    /// The power fails.
    Power(Survival),
    /// The host is never seen again.
    Directory,
}

/// A host of the scenario.
struct Site {
    host: Host,
    directory: DirectoryId,
    engine: Option<Arc<Engine>>,
    volume: Option<Arc<Volume>>,
    /// What the last opening found.
    report: Report,
    gone: bool,
    /// Once somebody else is the writer, this one must not believe that it committed more.
    committed_max: Option<u64>,
}

impl Site {
    fn new(host: Host) -> Self {
        let directory = DirectoryId(host.world().random.id());
        let report = Report::default();
        Self { host, directory, engine: None, volume: None, report, gone: false, committed_max: None }
    }
}

/// The simulated world of one scenario.
pub struct Lab {
    machine: Machine,
    setup: Setup,
    sites: Vec<Site>,
    auditor: Host,
    book: Arc<Book>,
    size: Size,
    settings: Settings,
    /// The site that opened the volume last.
    owner: Option<usize>,
    /// Another site has begun to open the volume, so the owner's log may be out of date.
    contested: bool,
    /// Changes that wait for the store or for room.
    later: Vec<Task<Result<(), esker_engine::EngineError>>>,
    random: Prng,
    writes: u64,
    /// The scenario deletes the volume.
    may_be_gone: bool,
    /// The scenario ended with a volume that cannot be opened, as it should be.
    ended: bool,
    /// Files of a disk cache may hold anything: the power failed, or a scenario wrote to them.
    cache_damaged: bool,
    /// The pool is being made.
    pool_lost: bool,
    reclaims: bool,
}

impl Lab {
    /// A pool with one volume that nobody has opened. Faults of the store begin when it is ready.
    pub fn new(setup: Setup) -> Outcome<Self> {
        let mut quiet = setup.config.clone();
        quiet.store = Default::default();
        let machine = Machine::new(setup.seed, quiet);
        let mut sites = vec![Site::new(machine.host())];
        sites.extend((1..setup.hosts).map(|_| Site::new(machine.second_host())));
        let auditor = machine.second_host();
        let mut random = machine.random();
        let lab_random = random.fork();
        let book = Arc::new(Book::new(setup.size_bytes));
        let size = Size::new(setup.size_bytes);
        let mut lab = Self {
            machine,
            size,
            settings: Settings::new(&setup),
            setup,
            sites,
            auditor,
            book,
            owner: None,
            contested: false,
            later: Vec::new(),
            random: lab_random,
            writes: 0,
            may_be_gone: false,
            ended: false,
            cache_damaged: false,
            pool_lost: false,
            reclaims: false,
        };
        lab.make_pool(&mut random);
        lab.create_volume(VOLUME)?;
        lab.machine.store().set_faults(lab.setup.config.store);
        Ok(lab)
    }

    /// The pool's record, without the probe, which has a scenario of its own.
    fn make_pool(&mut self, random: &mut Prng) {
        let mut id = || {
            let mut id = [0; 16];
            random.fill(&mut id);
            id
        };
        let record = PoolRecord {
            pool: PoolId(id()),
            attempt: AttemptId(id()),
            created_ms: self.setup.config.wall_ms,
            properties: Properties::default(),
        };
        self.machine.store().replace(&names::pool(), Some(record.encode().into()));
    }

    /// Creates a volume, from the auditor's host.
    pub fn create_volume(&mut self, name: &'static str) -> Outcome {
        let Setup { size_bytes: size, durability, compression, on_lag, history, .. } = self.setup;
        let properties = Properties {
            durability: Some(durability),
            compression: Some(compression),
            on_lag: Some(on_lag),
            history: Some(history),
        };
        self.audit(async move |pool: Arc<Pool>| {
            pool.create_volume(name, size, properties).await.map(drop).map_err(|error| error.to_string())
        })
    }

    /// The machine below.
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// The number of the host that takes no part.
    pub fn auditor(&self) -> u32 {
        self.auditor.number()
    }

    /// A site's host.
    pub fn host(&self, site: usize) -> &Host {
        &self.sites[site].host
    }

    /// The volume as a site has it open.
    pub fn volume(&self, site: usize) -> Arc<Volume> {
        self.sites[site].volume.clone().expect("the scenario has opened the volume here")
    }

    /// The engine of a site.
    pub fn engine(&self, site: usize) -> Arc<Engine> {
        self.sites[site].engine.clone().expect("the scenario has opened the volume here")
    }

    /// What the last opening at a site found.
    pub fn report(&self, site: usize) -> &Report {
        &self.sites[site].report
    }

    /// A site whose host has crashed and was not dealt with.
    pub fn crashed_site(&self) -> Option<usize> {
        self.sites.iter().position(|site| !site.gone && site.volume.is_some() && site.host.is_crashed())
    }

    /// How many sites there are.
    pub fn sites(&self) -> usize {
        self.sites.len()
    }

    /// The site that opened the volume last.
    pub fn owner(&self) -> usize {
        self.owner.expect("the scenario has opened the volume")
    }

    /// A generator for the scenario's own draws.
    pub fn random(&mut self) -> &mut Prng {
        &mut self.random
    }

    /// Lets virtual time pass.
    pub fn run(&mut self, time: Duration) -> Outcome {
        let outcome = self.machine.run_for(time).map_err(halted);
        self.observe()?;
        outcome
    }

    /// Lets virtual milliseconds pass.
    pub fn run_ms(&mut self, ms: u64) -> Outcome {
        self.run(Duration::from_millis(ms))
    }

    /// Runs until a task has its answer.
    pub fn wait<T>(&mut self, task: Task<T>) -> Outcome<T> {
        let outcome = self.machine.run_until(task).map_err(halted);
        self.observe()?;
        outcome?.map_err(|_| Stop::Crashed)
    }

    /// Takes over what the store is known to hold, and whatever tasks found wrong.
    pub fn observe(&mut self) -> Outcome {
        if let Some(owner) = self.owner
            && let Some(volume) = &self.sites[owner].volume
        {
            self.book.settled(volume.committed_sequence().0);
        }
        for (number, site) in self.sites.iter().enumerate() {
            let committed = site.volume.as_ref().map_or(0, |volume| volume.committed_sequence().0);
            if site.committed_max.is_some_and(|most| committed > most) {
                let message = format!("site {number} was fenced and believes that {committed} is committed");
                return Err(violation(message));
            }
        }
        self.book.take_error().map_or(Ok(()), |error| Err(violation(error)))
    }

    /// Does something with the pool from a host that takes no part, without faults of the store.
    pub fn audit<T, F>(&mut self, work: impl FnOnce(Arc<Pool>) -> F + Send + 'static) -> Outcome<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, String>> + Send,
    {
        let world = self.auditor.world();
        let task = self.auditor.spawn("audit", async move {
            let pool = Pool::open(world, CACHE_BYTES).await.map_err(|error| error.to_string())?;
            work(Arc::new(pool)).await
        });
        self.wait(task)?.map_err(violation)
    }

    /// No faults any more: everything that was sent arrives, held requests go on, stopped hosts run.
    pub fn end_faults(&mut self) {
        let store = self.machine.store();
        store.forget_plan();
        store.end_outage();
        store.set_faults(Default::default());
        let mut latency = self.setup.config.latency;
        latency.slow_ppm = 0;
        store.set_latency(latency);
        for site in &self.sites {
            if site.gone {
                continue;
            }
            site.host.forget_crash();
            site.host.hold(crate::Hold::Nothing);
            site.host.resume();
            site.host.disk().set_faults(Default::default());
            site.host.disk().forget_plan();
            site.host.disk().repair();
            site.host.disk().fill(false);
        }
    }

    /// Ends the run at a site.
    pub fn fall(&mut self, site: usize, fall: Fall) {
        let owns = self.owner == Some(site);
        if let (true, Some(volume)) = (owns, &self.sites[site].volume) {
            self.book.settled(volume.committed_sequence().0);
        }
        let loss = match fall {
            Fall::Kill => Loss::Process,
            Fall::Power(_) => Loss::Power,
            Fall::Directory => Loss::Directory,
        };
        self.cache_damaged |= matches!(fall, Fall::Power(_));
        if owns {
            self.book.lose(loss);
        }
        let site = &mut self.sites[site];
        match fall {
            Fall::Kill => site.host.kill(),
            Fall::Power(survival) => site.host.crash(survival),
            Fall::Directory => {
                site.host.kill();
                site.gone = true;
            }
        }
        site.engine = None;
        site.volume = None;
        site.host.forget_crash();
    }
}

fn halted(halt: Halt) -> Stop {
    match halt {
        Halt::Crashed { .. } => Stop::Crashed,
        Halt::Stuck { .. } | Halt::Budget { .. } => violation(halt),
    }
}
