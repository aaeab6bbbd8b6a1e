//! An object store in memory: linearizable, slow, and faulty on request.
//!
//! A request travels, has its effect at one instant, and its answer travels back. Latency, faults and crashes
//! fall between these points: what was sent may have its effect before the sender's crash, after it, or never.
//! Effects (PUT and DELETE) are *steps* of the host that asked, counted together with those of its disk.

mod connection;
mod fault;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use esker_io::{StoreError, StoreErrorKind, objects::Result};

pub(crate) use self::connection::Connection;
use self::fault::Plan;
pub use self::fault::{Request, StoreFault, When};
use crate::{
    Config, Latency, Prng, StoreFaults, Survival,
    executor::{Executor, Group},
    trace::Event,
};

/// How many requests of each kind were sent, and how many bytes of bodies arrived.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// PUTs.
    pub put: u64,
    /// GETs.
    pub get: u64,
    /// LISTs.
    pub list: u64,
    /// DELETEs.
    pub delete: u64,
    /// Bytes of the bodies of PUTs sent.
    pub bytes_put: u64,
    /// Bytes of the bodies that GETs were answered with.
    pub bytes_got: u64,
}

/// The store itself, from the point of view of a scenario. Cheap to clone; all clones are the same store.
#[derive(Clone)]
pub struct FakeStore {
    executor: Executor,
    state: Arc<Mutex<State>>,
}

struct State {
    objects: BTreeMap<String, Object>,
    random: Prng,
    faults: StoreFaults,
    /// A host that has no faults by chance, and no outage.
    spared: Option<u32>,
    latency: Latency,
    plan: Plan,
    outage: Option<(Duration, Duration)>,
    parked: VecDeque<Effect>,
    counts: Counts,
    not_durable: Option<Duration>,
}

struct Object {
    body: Bytes,
    created: Duration,
    /// Whether a power loss of the machine below cannot take it; only asked when the store is not durable.
    synced: bool,
}

/// What a request does to the store.
enum Effect {
    Put { name: String, body: Bytes },
    Delete { name: String },
}

impl Effect {
    fn name(&self) -> &str {
        match self {
            Effect::Put { name, .. } | Effect::Delete { name } => name,
        }
    }
}

impl State {
    fn apply(&mut self, effect: Effect, now: Duration) -> Result<()> {
        match effect {
            Effect::Put { name, body } => {
                if self.objects.contains_key(&name) {
                    return Err(failed(
                        StoreErrorKind::Exists,
                        Request::Put,
                        &name,
                        "an object of that name exists",
                    ));
                }
                self.objects.insert(name, Object { body, created: now, synced: false });
            }
            Effect::Delete { name } => {
                self.objects.remove(&name);
            }
        }
        Ok(())
    }
}

fn failed(kind: StoreErrorKind, request: Request, name: &str, message: &str) -> StoreError {
    StoreError { kind, operation: request.verb(), name: name.to_owned(), message: message.to_owned() }
}

impl FakeStore {
    pub(crate) fn new(executor: Executor, random: Prng, config: &Config) -> Self {
        let state = State {
            objects: BTreeMap::new(),
            random,
            faults: config.store,
            spared: None,
            latency: config.latency,
            plan: Plan::default(),
            outage: None,
            parked: VecDeque::new(),
            counts: Counts::default(),
            not_durable: config.not_durable,
        };
        Self { executor, state: Arc::new(Mutex::new(state)) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the faults that happen by chance, from now on.
    pub fn set_faults(&self, faults: StoreFaults) {
        self.lock().faults = faults;
    }

    /// Lets one host have no faults by chance, and no outage.
    pub fn spare(&self, host: u32) {
        self.lock().spared = Some(host);
    }

    /// Sets the latency, from now on.
    pub fn set_latency(&self, latency: Latency) {
        self.lock().latency = latency;
    }

    /// Plans a fault.
    pub fn fail(&self, when: When, fault: StoreFault) {
        self.lock().plan.add(when, fault);
    }

    /// Forgets all planned faults that did not happen yet.
    pub fn forget_plan(&self) {
        self.lock().plan = Plan::default();
    }

    /// The store cannot be reached for `duration`, from `after` from now on. Requests under way are unclear.
    pub fn outage(&self, after: Duration, duration: Duration) {
        let start = self.executor.now() + after;
        self.lock().outage = Some((start, start.saturating_add(duration)));
    }

    /// Ends an outage now.
    pub fn end_outage(&self) {
        self.lock().outage = None;
    }

    /// How many effects are parked.
    pub fn parked(&self) -> usize {
        self.lock().parked.len()
    }

    /// Lets the parked effects happen now, in the order in which they were sent. For each: the object's name,
    /// and whether there was an effect.
    pub fn deliver(&self) -> Vec<(String, bool)> {
        let parked = std::mem::take(&mut self.lock().parked);
        let deliver = |effect: Effect| (effect.name().to_owned(), self.apply(0, "late", effect).is_ok());
        parked.into_iter().map(deliver).collect()
    }

    /// The requests so far.
    pub fn counts(&self) -> Counts {
        self.lock().counts
    }

    /// Counts from zero again.
    pub fn reset_counts(&self) {
        self.lock().counts = Counts::default();
    }

    /// An object's body, at once and without a request.
    pub fn object(&self, name: &str) -> Option<Bytes> {
        self.lock().objects.get(name).map(|object| object.body.clone())
    }

    /// The names that begin with `prefix`, sorted, at once and without a request.
    pub fn names(&self, prefix: &str) -> Vec<String> {
        let state = self.lock();
        let from = state.objects.range(prefix.to_owned()..);
        from.map(|(name, _)| name.clone()).take_while(|name| name.starts_with(prefix)).collect()
    }

    /// The bytes of all objects.
    pub fn bytes(&self) -> u64 {
        self.lock().objects.values().map(|object| object.body.len() as u64).sum()
    }

    /// Replaces an object's body for ever: damage, or a hostile store. `None` makes the object vanish.
    pub fn replace(&self, name: &str, body: Option<Bytes>) {
        let now = self.executor.now();
        let mut state = self.lock();
        match body {
            Some(body) => state.objects.insert(name.to_owned(), Object { body, created: now, synced: true }),
            None => state.objects.remove(name),
        };
    }

    /// Makes everything durable that a store without sync has.
    pub fn sync(&self) {
        self.lock().objects.values_mut().for_each(|object| object.synced = true);
    }

    /// The machine below a store without sync loses power. Objects that are at risk survive or not.
    pub(crate) fn lose_power(&self, survival: Survival) {
        let now = self.executor.now();
        let mut state = self.lock();
        let Some(risk) = state.not_durable else { return };
        let mut random = match survival {
            Survival::Everything => return,
            Survival::Subset(seed) => Some(Prng::new(seed)),
            Survival::OnlySynced => None,
        };
        state.objects.retain(|_, object| {
            object.synced
                || now.saturating_sub(object.created) >= risk
                || random.as_mut().is_some_and(|random| random.below(2) == 0)
        });
    }

    fn apply(&self, host: u32, kind: &'static str, effect: Effect) -> Result<()> {
        let now = self.executor.now();
        let (bytes, content) = match &effect {
            Effect::Put { body, .. } => (body.len() as u64, Some(*blake3::hash(body).as_bytes())),
            Effect::Delete { .. } => (0, None),
        };
        let path = effect.name().to_owned();
        let result = self.lock().apply(effect, now);
        let numbers = [u64::from(result.is_ok()), bytes];
        self.executor.trace().record(&Event { now, host, kind, path: &path, numbers, content });
        result
    }

    /// Lets an effect happen later, whatever becomes of its sender.
    fn apply_later(&self, effect: Effect, after: Duration) {
        let (store, when) = (self.clone(), self.executor.now() + after);
        let executor = &self.executor;
        let arrival = executor.sleep_until(when);
        executor.spawn(Group::NONE, "late request", async move {
            arrival.await;
            // Nobody waits for the answer.
            let _ = store.apply(0, "late", effect);
        });
    }

    /// The sender of an effect has gone while it was under way: it happens now, later or never.
    fn abandon(&self, effect: Effect) {
        let (choice, after) = {
            let mut state = self.lock();
            (state.random.below(3), Duration::from_millis(state.random.below(60_000)))
        };
        match choice {
            0 => drop(self.apply(0, "late", effect)),
            1 => self.apply_later(effect, after),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
