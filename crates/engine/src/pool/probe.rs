//! Whether a store can hold a pool: each thing that the design relies on, tried on objects of a run's own.
//!
//! Creating once is tried one after the other and in races, for some stores pass the one and still let
//! several racers win.

use std::{fmt, time::Duration};

use bytes::Bytes;
use esker_format::{ids::RunId, names};
use esker_io::{
    Objects, Range, StoreError, StoreErrorKind, World,
    objects::{Retry, RetryLimits},
};
use futures_util::future::join_all;

use crate::upload::backoff;

/// How many write one name at once.
const RACERS: usize = 8;
/// How many names they race for.
const ROUNDS: usize = 5;
/// The size of a body: large enough that a store takes a while to receive it.
const BODY_BYTES: usize = 64 << 10;
/// How often a PUT is sent that fails in a way that may pass.
const TRIES_MAX: u32 = 6;
/// For how long other requests are tried again.
const DEADLINE: Duration = Duration::from_secs(5);

/// The outcome of one check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeLine {
    /// What is required of the store.
    pub check: &'static str,
    /// Whether it holds.
    pub passed: bool,
    /// What was found; empty when it holds.
    pub detail: String,
}

impl fmt::Display for ProbeLine {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let outcome = if self.passed { "ok" } else { self.detail.as_str() };
        write!(to, "{}: {outcome}", self.check)
    }
}

/// What a check found to be wrong.
type Outcome = Result<(), String>;

/// Tries the store. When not even an object can be made and read back, the other checks are left out.
/// What was written is deleted again, as far as the store lets it.
pub async fn probe(world: &World) -> Vec<ProbeLine> {
    let retried = Retry::new(world.objects.clone(), world.clock.clone(), world.random.clone());
    let retried = retried.with_limits(RetryLimits { deadline: DEADLINE, ..RetryLimits::default() });
    let mut probe =
        Probe { world, retried, run: RunId(world.random.id()), made: Vec::new(), lines: Vec::new() };
    if let Some(object) = probe.basics().await {
        probe.creates_once(&object).await;
        probe.races().await;
        probe.reads_parts(&object).await;
        probe.lists(&object).await;
        probe.deletes(object).await;
    }
    probe.clean_up().await;
    probe.lines
}

/// An object that was made.
struct Made {
    name: String,
    body: Bytes,
}

struct Probe<'a> {
    world: &'a World,
    /// For all requests but PUT.
    retried: Retry,
    run: RunId,
    /// All names that may be in the store.
    made: Vec<String>,
    lines: Vec<ProbeLine>,
}

impl Probe<'_> {
    fn line(&mut self, check: &'static str, outcome: Outcome) {
        let passed = outcome.is_ok();
        self.lines.push(ProbeLine { check, passed, detail: outcome.err().unwrap_or_default() });
    }

    /// A name that nobody used.
    fn fresh(&mut self, what: &str) -> String {
        let name = names::probe(&self.run, what);
        self.made.push(name.clone());
        name
    }

    /// What all names begin with.
    fn prefix(&self) -> String {
        names::probe(&self.run, "")
    }

    fn body(&self) -> Bytes {
        let mut body = vec![0; BODY_BYTES];
        self.world.random.fill(&mut body);
        Bytes::from(body)
    }

    /// Absent objects are said to be absent; what was just written can be read.
    async fn basics(&mut self) -> Option<Made> {
        let (name, body) = (self.fresh("object"), self.body());
        let absent = match self.retried.get(&name, Range::All).await {
            Err(error) if error.kind == StoreErrorKind::NotFound => Ok(()),
            Err(error) => Err(error.to_string()),
            Ok(_) => Err(format!("{name} was never written and can be read")),
        };
        self.line("an absent object is reported as absent", absent);
        let written = self.put_surely(&name, &body).await;
        let good = written.is_ok();
        self.line("an object can be created", written);
        if !good {
            return None;
        }
        let read = self.holds(&name, Range::All, &body).await;
        let good = read.is_ok();
        self.line("what was just written can be read", read);
        good.then_some(Made { name, body })
    }

    async fn creates_once(&mut self, object: &Made) {
        let outcome = match self.put(&object.name, self.body()).await {
            Err(error) if error.kind == StoreErrorKind::Exists => {
                self.holds(&object.name, Range::All, &object.body).await
            }
            Err(error) => Err(error.to_string()),
            Ok(()) => Err("the store ignores If-None-Match: a second PUT of one name succeeded".into()),
        };
        self.line("create-if-absent refuses a name that is taken", outcome);
    }

    async fn races(&mut self) {
        let mut outcome = Ok(());
        for round in 0..ROUNDS {
            let name = self.fresh(&format!("race-{round}"));
            outcome = self.race(&name).await;
            if outcome.is_err() {
                break;
            }
        }
        self.line("of eight that create one name at once, one succeeds", outcome);
    }

    async fn race(&self, name: &str) -> Outcome {
        let bodies: Vec<_> = (0..RACERS).map(|_| self.body()).collect();
        let puts = bodies.iter().map(|body| self.world.objects.put_new(name, body.clone()));
        let answers = join_all(puts).await;
        let winners: Vec<_> = (0..RACERS).filter(|racer| answers[*racer].is_ok()).collect();
        match winners[..] {
            [winner] => self.holds(name, Range::All, &bodies[winner]).await,
            [] => self.nobody_won(name, &bodies, answers).await,
            _ => {
                Err(format!("the store's create-if-absent is racy: {} of {RACERS} succeeded", winners.len()))
            }
        }
    }

    /// All answers were "exists" or unclear. Then one of the bodies is there and stays, or none is and the
    /// name can still be taken.
    async fn nobody_won(
        &self,
        name: &str,
        bodies: &[Bytes],
        answers: Vec<Result<(), StoreError>>,
    ) -> Outcome {
        match self.retried.get(name, Range::All).await {
            Ok(held) if bodies.contains(&held) => Ok(()),
            Ok(_) => Err("an object holds the name that no racer wrote".into()),
            Err(error) if error.kind == StoreErrorKind::NotFound => {
                let last = answers.into_iter().filter_map(Result::err).next_back();
                let last = last.map_or_else(String::new, |error| error.to_string());
                self.put_surely(name, &bodies[0])
                    .await
                    .map_err(|error| format!("nobody succeeded ({last}); {error}"))
            }
            Err(error) => Err(error.to_string()),
        }
    }

    async fn reads_parts(&mut self, object: &Made) {
        let Made { name, body } = object;
        let (start, end) = (1_000, 3_000);
        let range = self.holds(name, Range::Bytes { start, end }, &body[start as usize..end as usize]).await;
        self.line("a range of an object can be read", range);
        let suffix = self.holds(name, Range::Suffix(100), &body[body.len() - 100..]).await;
        self.line("the last bytes of an object can be read", suffix);
        let longer = self.holds(name, Range::Suffix(2 * body.len() as u64), body).await;
        self.line("a suffix longer than the object is the whole object", longer);
    }

    async fn lists(&mut self, object: &Made) {
        let outcome = match self.retried.list(&self.prefix()).await {
            Err(error) => Err(error.to_string()),
            Ok(listed) => match listed.iter().find(|listed| listed.name == object.name) {
                None => {
                    Err(format!("{} was written and is not among the {} listed", object.name, listed.len()))
                }
                Some(found) if found.bytes != object.body.len() as u64 => {
                    Err(format!("{} has {BODY_BYTES} bytes and is listed with {}", object.name, found.bytes))
                }
                Some(_) => Ok(()),
            },
        };
        self.line("LIST shows what was just written", outcome);
    }

    async fn deletes(&mut self, object: Made) {
        let outcome = self.delete_and_look(&object.name).await;
        self.line("a deleted object is gone", outcome);
    }

    async fn delete_and_look(&self, name: &str) -> Outcome {
        self.retried.delete(name).await.map_err(|error| error.to_string())?;
        match self.retried.get(name, Range::All).await {
            Err(error) if error.kind == StoreErrorKind::NotFound => {}
            Err(error) => return Err(error.to_string()),
            Ok(_) => return Err(format!("{name} was deleted and can be read")),
        }
        let listed = self.retried.list(&self.prefix()).await.map_err(|error| error.to_string())?;
        if listed.iter().any(|listed| listed.name == name) {
            return Err(format!("{name} was deleted and is listed"));
        }
        Ok(())
    }

    async fn clean_up(&mut self) {
        for name in std::mem::take(&mut self.made) {
            if let Err(error) = self.retried.delete(&name).await {
                tracing::warn!(object = name, "an object of the probe stays behind: {error}");
            }
        }
    }

    /// Compares a part of an object with what it must be.
    async fn holds(&self, name: &str, range: Range, expected: &[u8]) -> Outcome {
        match self.retried.get(name, range).await {
            Ok(found) if found == expected => Ok(()),
            Ok(found) if found.len() == expected.len() => Err(format!("{range:?} of {name} has other bytes")),
            Ok(found) => {
                Err(format!("{range:?} of {name} has {} bytes, not {}", found.len(), expected.len()))
            }
            Err(error) => Err(error.to_string()),
        }
    }

    /// Creates an object that is nobody else's: "exists" after an unclear answer is success.
    async fn put_surely(&self, name: &str, body: &Bytes) -> Outcome {
        match self.put(name, body.clone()).await {
            Ok(()) => Ok(()),
            Err(error) if error.kind == StoreErrorKind::Exists => self.holds(name, Range::All, body).await,
            Err(error) => Err(error.to_string()),
        }
    }

    async fn put(&self, name: &str, body: Bytes) -> Result<(), StoreError> {
        let mut tries = 0;
        loop {
            tries += 1;
            match self.world.objects.put_new(name, body.clone()).await {
                Err(error) if error.kind.may_pass() && tries < TRIES_MAX => {
                    self.world.clock.sleep(backoff(tries, &*self.world.random)).await;
                }
                answer => return answer,
            }
        }
    }
}
