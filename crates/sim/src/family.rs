//! A family of volumes: random writes, snapshots, forks, rewinds, deletions and rounds of reclaim, with the process killed
//! in between. After each step every member that is there reads back what it must, byte by byte: parents, snapshots and
//! siblings never see each other's writes (I8), and reclaim takes nothing that somebody can still read (I7).
//!
//! The members are small and few blocks of them are used, so that they share segments and pages, and thousands of
//! families are seen in a minute. What one volume does under faults is [`crate::seeds`]'s business.

mod members;
mod steps;

use std::{fmt, sync::Arc, time::Duration};

use esker_engine::{EngineError, host::Host as Engine, pool::Pool, volume::Limits};
use esker_format::{
    ids::{AttemptId, DirectoryId, PoolId},
    names,
    pool::PoolRecord,
    property::Properties,
};

use self::members::Members;
use crate::{
    Config, Host, Machine, Prng, Task,
    lab::{CHUNK_BYTES, Outcome, violation},
};

/// Decoded frames that are cached: none, so that what is read is in the store.
const CACHE_BYTES: usize = 0;

/// What a family came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Done {
    /// The digest of everything that happened.
    pub digest: String,
    /// How often each kind of step was made.
    pub steps: std::collections::BTreeMap<&'static str, u64>,
    /// Objects that rounds deleted.
    pub deleted: u64,
    /// Segments that rounds rewrote.
    pub rewritten: u64,
    /// Blocks of almost empty segments that volumes wrote anew.
    pub resealed: u64,
}

/// A family that broke a rule.
#[derive(Debug, Clone)]
pub struct Failure {
    /// The seed.
    pub seed: u64,
    /// The steps so far.
    pub steps: Vec<String>,
    /// What went wrong.
    pub message: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "family {}: {}", self.seed, self.message)?;
        self.steps.iter().enumerate().try_for_each(|(at, step)| writeln!(f, "  {}. {step}", at + 1))
    }
}

/// Lives one family's life of so many steps.
pub fn run(seed: u64, steps: u64) -> Result<Done, Box<Failure>> {
    let mut family = Family::new(seed);
    let mut outcome = family.start();
    for _ in 0..steps {
        if outcome.is_err() {
            break;
        }
        outcome = family.step();
    }
    let outcome = outcome.and_then(|()| family.end());
    match outcome {
        Ok(()) => Ok(Done { digest: family.machine.digest(), ..family.done }),
        Err(stop) => Err(Box::new(Failure { seed, steps: family.log, message: stop.to_string() })),
    }
}

/// One family.
struct Family {
    machine: Machine,
    host: Host,
    /// Reads what is stored, with no cache and no log.
    auditor: Host,
    engine: Option<Arc<Engine>>,
    members: Members,
    random: Prng,
    /// The number of the next write, and of the next name.
    next: u64,
    log: Vec<String>,
    done: Done,
}

impl Family {
    fn new(seed: u64) -> Self {
        let machine = Machine::new(seed, Config::default());
        let host = machine.host();
        let auditor = machine.second_host();
        let mut random = machine.random();
        let mut id = || {
            let mut id = [0; 16];
            random.fill(&mut id);
            id
        };
        let record = PoolRecord {
            pool: PoolId(id()),
            attempt: AttemptId(id()),
            created_ms: 0,
            properties: Properties::default(),
        };
        machine.store().replace(&names::pool(), Some(record.encode().into()));
        Self {
            machine,
            host,
            auditor,
            engine: None,
            members: Members::default(),
            random,
            next: 0,
            log: Vec::new(),
            done: Done::default(),
        }
    }

    /// A new run, with all volumes open for writing.
    fn start(&mut self) -> Outcome {
        self.engine = None;
        let host = self.host.clone();
        let world = host.world();
        let spawner = host.clone();
        let limits =
            Limits { chunk_bytes: CHUNK_BYTES, seal_age: Duration::from_secs(2), ..Limits::default() };
        let engine = self.wait(host.spawn("start", async move {
            let pool = Arc::new(Pool::open(world, CACHE_BYTES).await?);
            let spawn = Arc::new(move |work| drop(spawner.spawn("work", work)));
            Ok::<_, EngineError>(Arc::new(Engine::new(pool, DirectoryId([7; 16]), limits, spawn)))
        }))?;
        self.engine = Some(engine);
        self.members.closed();
        for name in self.members.volumes() {
            self.open(&name)?;
        }
        Ok(())
    }

    /// Runs an engine's work to its end; it has to succeed.
    fn wait<T: Send + 'static>(&self, task: Task<Result<T, EngineError>>) -> Outcome<T> {
        self.try_wait(task)?.map_err(violation)
    }

    fn try_wait<T: Send + 'static>(&self, task: Task<T>) -> Outcome<T> {
        let answer = self.machine.run_until(task).map_err(violation)?;
        answer.map_err(violation)
    }

    fn engine(&self) -> Arc<Engine> {
        self.engine.clone().expect("a run was started")
    }

    /// Gives everything back, and reclaims until nothing is left but what the members need.
    fn end(&mut self) -> Outcome {
        for name in self.members.all() {
            self.delete(&name)?;
            self.check()?;
        }
        for _ in 0..3 {
            self.reclaim()?;
        }
        let left =
            ["segments/", "pages/", "bundles/"].map(|prefix| self.machine.store().names(prefix)).concat();
        match left.first() {
            Some(name) => {
                Err(violation(format!("all is deleted and reclaimed, and {name} is still there (I7)")))
            }
            None => Ok(()),
        }
    }
}
