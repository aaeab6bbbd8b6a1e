//! A family of volumes: random writes, snapshots, forks, rewinds, deletions and rounds of reclaim. Parents, snapshots and
//! siblings never see each other's writes (I8), and reclaim takes nothing that somebody can still read (I7).
//!
//! A round may go on while further steps are made. A step may be cut off: the process is killed or the power fails while it runs. In half of the families the store fails
//! as well, in every way that passes, and late requests arrive. A step that ended without an answer leaves more than one
//! state that is right: what it makes may be there, what it deletes may be gone, and it is whole or not at all. In the
//! end faults stop, such steps are done again (I9), everybody is read and deleted, and the store is empty (I10).
//!
//! What is read when, byte by byte:
//! - after each step the member that it was about;
//! - everybody after each step that rewinds, reclaims or ends a run, after every fourth step of any kind, and in the end.
//!
//! Volumes are read as their guests do, snapshots as a stranger does who has no cache. Now and then two states are
//! compared as `esker diff` does, and as an NBD client does.
//!
//! The members are small and few blocks of them are used, so that they share segments and pages, and thousands of
//! families are seen in a minute. What one volume does under faults is [`crate::seeds`]'s business.

mod births;
mod check;
mod compare;
mod end;
mod members;
mod runs;
mod steps;

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use esker_engine::{EngineError, host::Host as Engine, reclaim::round::Report};
use esker_format::{
    ids::{AttemptId, PoolId},
    names,
    pool::PoolRecord,
    property::Properties,
};

use self::members::{Image, Members};
use crate::{Config, Host, Machine, Prng, StoreFaults, Task, lab::Outcome};

/// What a seed draws before anything happens. Its `Display` shows all of it.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Decides everything that is not written here.
    pub seed: u64,
    /// The steps of the family's life.
    pub steps: u64,
    /// The faults of the store until its end.
    pub faults: StoreFaults,
    /// Steps in a million that are cut off.
    pub cut_ppm: u32,
    /// Runs that end by a power failure, in a million that do not end in order.
    pub power_ppm: u32,
}

impl Plan {
    /// What `seed` draws.
    pub fn drawn(seed: u64, steps: u64) -> Self {
        let mut random = Prng::new(seed ^ 0xfa41);
        let ppm = *random.pick(&[0, 0, 0, 3_000, 20_000, 60_000]);
        Self {
            seed,
            steps,
            faults: StoreFaults::passing(ppm),
            cut_ppm: *random.pick(&[0, 40_000, 150_000]),
            power_ppm: *random.pick(&[0, 300_000, 700_000]),
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The derived form names every field, also one that is added tomorrow.
        write!(f, "{self:?}")
    }
}

/// What a family came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Done {
    /// The digest of everything that happened.
    pub digest: String,
    /// How often each kind of step was made, and what came of steps that did not end well.
    pub steps: BTreeMap<&'static str, u64>,
}

impl Done {
    fn count(&mut self, what: &'static str, many: u64) {
        *self.steps.entry(what).or_insert(0) += many;
    }

    /// How often something was done.
    pub fn of(&self, what: &str) -> u64 {
        self.steps.get(what).copied().unwrap_or(0)
    }

    /// Adds another family's.
    pub fn add(&mut self, other: Done) {
        other.steps.into_iter().for_each(|(what, many)| self.count(what, many));
    }
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let steps: Vec<String> = self.steps.iter().map(|(what, many)| format!("{many} {what}")).collect();
        f.write_str(&steps.join(", "))
    }
}

/// A family that broke a rule.
#[derive(Debug, Clone)]
pub struct Failure {
    /// What was drawn.
    pub plan: Plan,
    /// The steps so far.
    pub steps: Vec<String>,
    /// What went wrong.
    pub message: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "family {}: {}\n{}", self.plan.seed, self.message, self.plan)?;
        self.steps.iter().enumerate().try_for_each(|(at, step)| writeln!(f, "  {}. {step}", at + 1))
    }
}

/// Lives one family's life of so many steps.
pub fn run(seed: u64, steps: u64) -> Result<Done, Box<Failure>> {
    let mut family = Family::new(Plan::drawn(seed, steps));
    match family.live() {
        Ok(()) => Ok(Done { digest: family.machine.digest(), ..family.done }),
        Err(stop) => {
            Err(Box::new(Failure { plan: family.plan, steps: family.log, message: stop.to_string() }))
        }
    }
}

/// What comes of a round.
type Round = Task<Result<Report, EngineError>>;

/// One family.
struct Family {
    plan: Plan,
    machine: Machine,
    host: Host,
    /// Reads what is stored, with no cache and no log. The store does not fail it.
    auditor: Host,
    engine: Option<Arc<Engine>>,
    /// The round of reclaim that goes on beside further steps.
    round: Option<Round>,
    members: Members,
    /// Snapshots of the state before a rewind that ended without an answer: of which volume, and what they hold.
    kept: Vec<(String, Image)>,
    /// Nothing fails any more, and nothing is cut off.
    calm: bool,
    random: Prng,
    /// The number of the next write, and of the next name.
    next: u64,
    log: Vec<String>,
    done: Done,
}

impl Family {
    fn new(plan: Plan) -> Self {
        let machine = Machine::new(plan.seed, Config::default());
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
        machine.store().spare(auditor.number());
        machine.store().set_faults(plan.faults);
        Self {
            plan,
            machine,
            host,
            auditor,
            engine: None,
            round: None,
            members: Members::default(),
            kept: Vec::new(),
            calm: false,
            random,
            next: 0,
            log: Vec::new(),
            done: Done::default(),
        }
    }

    fn live(&mut self) -> Outcome {
        self.start()?;
        for step in 1..=self.plan.steps {
            self.step(step)?;
        }
        self.end()
    }

    fn has_faults(&self) -> bool {
        !self.calm && self.plan.faults != StoreFaults::default()
    }

    fn began(&mut self, kind: &'static str, step: String) {
        self.done.count(kind, 1);
        self.log.push(step);
    }

    fn fresh_name(&mut self) -> String {
        self.next += 1;
        format!("m{}", self.next)
    }

    fn engine(&self) -> Arc<Engine> {
        self.engine.clone().expect("a run was started")
    }

    fn run_for(&self, time: Duration) -> Outcome {
        self.machine.run_for(time).map_err(crate::lab::violation)
    }
}
