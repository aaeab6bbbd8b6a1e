//! THE writer of objects: create-only, retried until the outcome is known.
//!
//! A PUT that failed may have happened, or may still happen. So one answer decides nothing: the same
//! bytes are sent again until some object holds the name, and that object says whose it is
//! (rule H4). Every body carries a random attempt id, or is named by one, so that "ours" can be told.

mod objects;

use std::time::Duration;

use bytes::Bytes;
use esker_io::{Bug, Random, Range, StoreError, StoreErrorKind, World, objects::Turn, planted};

pub(crate) use objects::{bundle, pack, segment};

use crate::{EngineError, Result};

/// The longest wait after the first failure; doubled with each further one.
pub const BACKOFF_FIRST: Duration = Duration::from_millis(100);
/// No wait is longer.
pub const BACKOFF_MAX: Duration = Duration::from_secs(10);
/// A turn is waited for in stretches of so long: in between it is seen that somebody gives up.
const TURN_STRETCH: Duration = Duration::from_secs(1);
/// A PUT that keeps failing is reported this often.
pub const REPORT_INTERVAL: Duration = Duration::from_secs(60);

/// Whose object holds the name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled {
    /// The one that was sent.
    Ours,
    /// Somebody else's, with these bytes.
    Theirs(Bytes),
}

/// Creates the object `name` and returns when it is known who did.
///
/// `ours` tells from an existing object's bytes whether it is the one that was sent. `give_up` is
/// asked between tries; once it says true the answer is [`EngineError::Unknown`], for the object may
/// exist by then or come to exist later. No other error is returned: also a store that refuses is
/// tried again, since credentials are renewed and quotas are raised.
pub async fn settle(
    world: &World,
    name: &str,
    body: Bytes,
    ours: impl Fn(&Bytes) -> bool,
    give_up: impl Fn() -> bool,
) -> Result<Settled> {
    let mut failures = Failures::new(world, name);
    loop {
        let failure = match world.objects.put_new(name, body.clone()).await {
            Ok(()) => return Ok(Settled::Ours),
            Err(_) if planted(Bug::UnclearIsDone) => return Ok(Settled::Ours),
            Err(error) if error.kind == StoreErrorKind::Exists => {
                match read_holder(&mut failures, &give_up).await? {
                    Some(held) if ours(&held) => return Ok(Settled::Ours),
                    Some(held) => return Ok(Settled::Theirs(held)),
                    // Rule H4: "exists" and then "not found" is unknown, not failed. Some stores say
                    // "exists" for any conflict; the same bytes are sent again.
                    None => error,
                }
            }
            Err(error) => error,
        };
        failures.wait(failure, &give_up).await?;
    }
}

/// Reads the object that holds the name, for as long as it takes; `None` when there is none.
/// The PUT is not sent again meanwhile: it may be large.
async fn read_holder(failures: &mut Failures<'_>, give_up: &impl Fn() -> bool) -> Result<Option<Bytes>> {
    loop {
        match failures.world.objects.get(failures.name, Range::All).await {
            Ok(held) => return Ok(Some(held)),
            Err(error) if error.kind == StoreErrorKind::NotFound => return Ok(None),
            Err(error) => failures.wait(error, give_up).await?,
        }
    }
}

/// A `give_up` for somebody who waits for the answer: true once `patience` has passed.
pub fn after(world: &World, patience: Duration) -> impl Fn() -> bool + Send + Sync + use<> {
    let clock = world.clock.clone();
    let end = clock.monotonic().saturating_add(patience);
    move || clock.monotonic() >= end
}

/// How long to wait after `failures` failures in a row: exponential, with full jitter.
pub fn backoff(failures: u32, random: &dyn Random) -> Duration {
    let factor = 1_u32 << failures.saturating_sub(1).min(16);
    let most = BACKOFF_FIRST.saturating_mul(factor).min(BACKOFF_MAX);
    Duration::from_micros(random.below(most.as_micros() as u64 + 1))
}

/// The failures of one PUT so far.
struct Failures<'a> {
    world: &'a World,
    name: &'a str,
    count: u32,
    since: Duration,
    reported: Option<Duration>,
}

impl<'a> Failures<'a> {
    fn new(world: &'a World, name: &'a str) -> Self {
        Self { world, name, count: 0, since: world.clock.monotonic(), reported: None }
    }

    /// Counts a failure, reports it when that is due, and waits for the time of the next try: its own pause, then its
    /// turn among all tries of this process. However long that takes, it is not given up here (rule H4).
    async fn wait(&mut self, error: StoreError, give_up: &impl Fn() -> bool) -> Result<()> {
        self.count = self.count.saturating_add(1);
        self.report(&error);
        if !give_up() {
            self.world.clock.sleep(backoff(self.count, &*self.world.random)).await;
        }
        while !give_up() {
            if self.world.objects.turn(TURN_STRETCH).await != Turn::Later {
                return Ok(());
            }
        }
        Err(EngineError::Unknown { object: self.name.into(), message: error.message })
    }

    /// What a person has to mend is reported at once, what may pass by itself after a while.
    fn report(&mut self, error: &StoreError) {
        let now = self.world.clock.monotonic();
        let for_people = matches!(error.kind, StoreErrorKind::Permanent | StoreErrorKind::NotFound);
        let due = match self.reported {
            Some(last) => now.saturating_sub(last) >= REPORT_INTERVAL,
            None => for_people || now.saturating_sub(self.since) >= REPORT_INTERVAL,
        };
        if due {
            self.reported = Some(now);
            let (object, tries) = (self.name, self.count);
            tracing::warn!(object, tries, "writing does not succeed, trying again: {error}");
        }
    }
}

#[cfg(test)]
mod tests;
