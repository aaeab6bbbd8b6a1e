//! Random histories: a seed draws a configuration, hundreds of operations with faults and crashes between them
//! (safety), and then a time without faults in which everything has to reach the store (liveness).

mod draw;
mod trouble;

use std::fmt;

use esker_engine::EngineError;

pub use self::draw::Plan;
use crate::{
    Prng,
    enumerate::LATE,
    lab::{Lab, Outcome, Stop, violation},
};

/// How long the store may take to have everything once nothing fails any more (I10).
const SETTLED_WITHIN_MS: u64 = 30_000;
/// Openings that may fail in a row while there are faults.
const OPENINGS_MAX: u32 = 20;

/// What a seed came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// The digest of everything that happened.
    pub digest: String,
    /// Operations.
    pub operations: u64,
    /// Crashes, planned and surprising.
    pub crashes: u64,
    /// Openings that succeeded.
    pub openings: u64,
}

/// A seed that broke a rule.
#[derive(Debug, Clone)]
pub struct Failure {
    /// Everything that was drawn.
    pub plan: Plan,
    /// How many operations there were before.
    pub operations: u64,
    /// What went wrong.
    pub message: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { plan, operations, message } = self;
        write!(f, "seed {}, after {operations} operations: {message}\n{plan}", plan.setup.seed)
    }
}

/// Runs one seed.
pub fn run(seed: u64) -> Result<Done, Box<Failure>> {
    run_plan(&Plan::drawn(seed))
}

/// Runs a plan.
pub fn run_plan(plan: &Plan) -> Result<Done, Box<Failure>> {
    let fail = |operations, stop: Stop| {
        Box::new(Failure { plan: plan.clone(), operations, message: stop.to_string() })
    };
    let mut lab = Lab::new(plan.setup.clone()).map_err(|stop| fail(0, stop))?;
    let random = lab.random().fork();
    let mut history = History { lab, plan: plan.clone(), random, operations: 0, crashes: 0, openings: 0 };
    let outcome = history.safety().and_then(|()| history.liveness());
    let History { lab, operations, crashes, openings, .. } = history;
    outcome.map_err(|stop| fail(operations, stop))?;
    Ok(Done { digest: lab.machine().digest(), operations, crashes, openings })
}

/// One random history.
struct History {
    lab: Lab,
    plan: Plan,
    random: Prng,
    operations: u64,
    crashes: u64,
    openings: u64,
}

impl History {
    fn safety(&mut self) -> Outcome {
        self.open(0)?;
        while self.operations < self.plan.operations {
            self.operations += 1;
            match self.step() {
                Err(Stop::Crashed) => self.crashed()?,
                outcome => outcome?,
            }
            if self.lab.has_stopped(self.lab.owner()) {
                self.stopped()?;
            }
        }
        Ok(())
    }

    fn step(&mut self) -> Outcome {
        self.lab.observe()?;
        self.lab.reap_later()?;
        match self.random.below(1_000) {
            0..860 => self.ordinary(),
            _ => self.trouble(),
        }
    }

    /// What a guest does.
    fn ordinary(&mut self) -> Outcome {
        let blocks = self.lab.blocks();
        let lba = self.random.below(blocks - 32);
        // Most of the traffic goes to a few blocks.
        let lba = if self.random.chance(700_000) { lba % 24 } else { lba };
        match self.random.below(100) {
            0..30 => {
                let count = self.random.between(1, 12);
                let write = self.lab.fresh(lba, count);
                self.change(&[write])
            }
            30..38 => {
                let batch: Vec<_> = (0..self.random.between(2, 6))
                    .map(|step| self.lab.fresh(lba + step * self.plan.stride % 24, 1 + step % 3))
                    .collect();
                self.change(&batch)
            }
            38..48 => {
                let (skip, length) = (self.random.below(4_096), self.random.between(1, 9_000));
                let write = self.lab.fresh_bytes(lba * 4_096 + skip, length);
                if self.random.chance(300_000) && !self.lab.has_stopped(self.lab.owner()) {
                    self.lab.change_later(self.lab.owner(), write);
                    return Ok(());
                }
                self.change(&[write])
            }
            48..54 => {
                let range = self.range(lba);
                self.change(&[range])
            }
            54..66 => self.flush(),
            66..90 => {
                let ms = *self.random.pick(&[1, 10, 100, 600, 1_500]);
                let ms = self.random.between(0, ms);
                self.lab.run_ms(ms)
            }
            90..92 => {
                let big = self.lab.fresh(0, blocks.min(250));
                self.change(&[big])
            }
            _ => self.read(lba),
        }
    }

    fn range(&mut self, lba: u64) -> crate::Operation {
        let offset = lba * 4_096 + self.random.below(2) * self.random.below(4_096);
        let length = self.random.between(1, 30) * 4_096 - self.random.below(2) * self.random.below(4_096);
        match self.random.below(3) {
            0 => crate::Operation::Trim { offset, length },
            1 => crate::Operation::Zero { offset, length, may_trim: true },
            _ => crate::Operation::Zero { offset, length, may_trim: false },
        }
    }

    fn change(&mut self, operations: &[crate::Operation]) -> Outcome {
        for outcome in self.lab.try_change(operations)? {
            self.tolerate(outcome, "a change")?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Outcome {
        let outcome = self.lab.try_flush()?;
        self.tolerate(outcome, "a flush")
    }

    fn read(&mut self, lba: u64) -> Outcome {
        if self.lab.has_stopped(self.lab.owner()) {
            return Ok(());
        }
        let before = self.lab.last();
        match self.lab.try_read(lba, 16)? {
            // A change that waited came between: either state would be right.
            Ok(_) if self.lab.last() != before => Ok(()),
            Ok(found) => self.lab.compare(lba, &found),
            // The store may fail for longer than a read waits.
            Err(EngineError::Store(_)) => Ok(()),
            Err(error) => Err(violation(format!("reading fails: {error}"))),
        }
    }

    /// An error is right when the volume has stopped, or the disk has said no.
    fn tolerate(&mut self, outcome: Result<(), EngineError>, what: &str) -> Outcome {
        match outcome {
            Ok(()) => Ok(()),
            Err(_) if self.lab.has_stopped(self.lab.owner()) => Ok(()),
            // No room for another chunk: the volume goes on.
            Err(EngineError::Disk(_)) => Ok(()),
            // The base of a part of a block could not be read.
            Err(EngineError::Store(_)) => Ok(()),
            Err(error) => Err(violation(format!("{what} fails: {error}"))),
        }
    }

    /// Without faults everything is acknowledged, and the store has it soon (I10).
    fn liveness(&mut self) -> Outcome {
        self.lab.end_faults();
        self.lab.run(LATE)?;
        let owner = self.lab.owner();
        if self.lab.has_stopped(owner) {
            self.lab.reopen(owner)?;
        }
        // What began while there were faults may have failed with them.
        if self.lab.waiting() > 0 {
            self.lab.run_ms(SETTLED_WITHIN_MS)?;
        }
        self.lab.reap_later()?;
        if self.lab.waiting() > 0 {
            return Err(violation(format!("{} changes wait for nothing", self.lab.waiting())));
        }
        let write = self.lab.fresh(3, 5);
        self.lab.change(&[write])?;
        self.lab.flush()?;
        if self.plan.is_bounded() {
            self.lab.run_ms(SETTLED_WITHIN_MS)?;
            self.lab
                .expect_stored()
                .map_err(|stop| violation(format!("{SETTLED_WITHIN_MS} ms after the last fault: {stop}")))?;
        }
        self.lab.read_all()?;
        self.lab.drain()?;
        self.lab.check_committed()?;
        self.lab.check_pool()
    }
}
