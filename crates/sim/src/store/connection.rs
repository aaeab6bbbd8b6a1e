//! One run's way to the store.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use esker_io::{BoxFuture, Listed, Objects, Range, StoreErrorKind, objects::Result};

use super::{
    Effect, FakeStore, State, failed,
    fault::{Request, StoreFault, draw},
};
use crate::{Prng, run::Run, trace::Event};

/// The longest name, as for the real stores.
const NAME_BYTES_MAX: usize = 900;

/// The store as one run of a host reaches it. Answers of a dead run never matter, so all its requests fail.
pub(crate) struct Connection {
    store: FakeStore,
    run: Arc<Run>,
}

/// What lies before a request.
struct Journey {
    there: Duration,
    back: Duration,
    fault: Option<StoreFault>,
}

/// An effect under way. Whoever drops it has crashed or lost interest; the request is out all the same.
struct Flight<'a> {
    store: &'a FakeStore,
    effect: Option<Effect>,
}

impl Flight<'_> {
    fn take(&mut self) -> Effect {
        self.effect.take().expect("an effect happens once")
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        if let Some(effect) = self.effect.take() {
            self.store.abandon(effect);
        }
    }
}

impl State {
    fn leg(&mut self) -> Duration {
        let latency = self.latency;
        let slow = self.random.chance(latency.slow_ppm);
        let (low, high) =
            if slow { (latency.max, latency.slow_max.max(latency.max)) } else { (latency.min, latency.max) };
        Duration::from_nanos(self.random.between(low.as_nanos() as u64, high.as_nanos() as u64))
    }

    fn is_out(&self, now: Duration, host: u32) -> bool {
        self.spared != Some(host) && self.outage.is_some_and(|(start, end)| start <= now && now < end)
    }

    fn read(&mut self, name: &str, range: Range, fault: Option<StoreFault>) -> Result<Bytes> {
        let failed = |kind, message: &str| failed(kind, Request::Get, name, message);
        let body = match self.objects.get(name) {
            Some(object) if fault != Some(StoreFault::Missing) => object.body.clone(),
            _ => return Err(failed(StoreErrorKind::NotFound, "no object of that name")),
        };
        let size = body.len();
        let part = cut(&body, range);
        let part =
            part.ok_or_else(|| failed(StoreErrorKind::Protocol, &format!("{range:?} of {size} bytes")))?;
        match fault {
            Some(StoreFault::Cut) => Err(failed(StoreErrorKind::Protocol, "the body ends too soon")),
            Some(StoreFault::Flip) => Ok(flipped(part, &mut self.random)),
            Some(StoreFault::OtherBody) => Ok(self.other_body(name, range).unwrap_or(part)),
            _ => Ok(part),
        }
    }

    fn other_body(&mut self, name: &str, range: Range) -> Option<Bytes> {
        let others = self.objects.iter().filter(|(other, _)| *other != name);
        let others: Vec<Bytes> = others.filter_map(|(_, object)| cut(&object.body, range)).collect();
        (!others.is_empty()).then(|| self.random.pick(&others).clone())
    }
}

/// A part of a body; `None` when the body ends before the range does.
fn cut(body: &Bytes, range: Range) -> Option<Bytes> {
    let size = body.len() as u64;
    let (start, end) = match range {
        Range::All => (0, size),
        Range::Bytes { start, end } => (start, end),
        Range::Suffix(bytes) => (size.saturating_sub(bytes), size),
    };
    (start <= end && end <= size).then(|| body.slice(start as usize..end as usize))
}

fn flipped(body: Bytes, random: &mut Prng) -> Bytes {
    let mut bytes = body.to_vec();
    if !bytes.is_empty() {
        let bit = random.below(bytes.len() as u64 * 8);
        bytes[(bit / 8) as usize] ^= 1 << (bit % 8);
    }
    bytes.into()
}

impl Connection {
    pub(crate) fn new(store: FakeStore, run: Arc<Run>) -> Self {
        Self { store, run }
    }

    /// Sends a request: counts it and draws what lies before it.
    fn send(&self, kind: Request, name: &str) -> Result<Journey> {
        if self.run.is_dead() {
            return Err(failed(StoreErrorKind::Permanent, kind, name, "the machine is gone"));
        }
        let mut state = self.store.lock();
        let counts = &mut state.counts;
        let count = match kind {
            Request::Put => &mut counts.put,
            Request::Get => &mut counts.get,
            Request::List => &mut counts.list,
            Request::Delete => &mut counts.delete,
        };
        *count += 1;
        let planned = state.plan.take(self.run.host, kind, name);
        let faults = if state.spared == Some(self.run.host) { Default::default() } else { state.faults };
        let drawn = draw(&faults, kind, &mut state.random);
        let fault = planned.or(drawn);
        let (there, back) = (state.leg(), state.leg());
        let back = match fault {
            Some(StoreFault::Stall(longer)) => back + longer,
            _ => back,
        };
        Ok(Journey { there, back, fault })
    }

    /// The way to the store. An error means that the request did not arrive.
    async fn go(&self, journey: &Journey, kind: Request, name: &str) -> Result<()> {
        self.sleep(journey.there).await;
        self.run.pass_request().await;
        if self.store.lock().is_out(self.store.executor.now(), self.run.host) {
            return Err(failed(StoreErrorKind::Transient, kind, name, "connection refused"));
        }
        match journey.fault {
            Some(StoreFault::Before(error)) => Err(failed(error, kind, name, "refused by the simulator")),
            _ => Ok(()),
        }
    }

    /// The way back. An error means that the answer was lost.
    async fn come_back(&self, journey: &Journey, kind: Request, name: &str) -> Result<()> {
        self.sleep(journey.back).await;
        self.run.pass_answer().await;
        let lost = || failed(StoreErrorKind::Transient, kind, name, "timed out");
        if self.run.is_dead() || self.store.lock().is_out(self.store.executor.now(), self.run.host) {
            return Err(lost());
        }
        match journey.fault {
            Some(StoreFault::After) => Err(lost()),
            _ => Ok(()),
        }
    }

    async fn sleep(&self, duration: Duration) {
        let executor = &self.store.executor;
        executor.sleep_until(executor.now() + duration).await;
    }

    async fn change(&self, kind: Request, name: &str, effect: Effect) -> Result<()> {
        check_name(kind, name)?;
        let journey = self.send(kind, name)?;
        let mut flight = Flight { store: &self.store, effect: Some(effect) };
        if let Err(error) = self.go(&journey, kind, name).await {
            flight.effect = None;
            return Err(error);
        }
        if self.run.is_dead() {
            return Err(failed(StoreErrorKind::Permanent, kind, name, "the machine is gone"));
        }
        let late = match journey.fault {
            Some(StoreFault::Late(after)) => {
                self.store.apply_later(flight.take(), after);
                true
            }
            Some(StoreFault::Parked) => {
                let effect = flight.take();
                self.store.lock().parked.push_back(effect);
                true
            }
            _ => false,
        };
        if late {
            self.come_back(&journey, kind, name).await?;
            return Err(failed(StoreErrorKind::Transient, kind, name, "timed out"));
        }
        let effect = flight.take();
        let done = self.run.step(|| self.store.apply(self.run.host, kind.verb(), effect));
        let Ok(result) = done else {
            return Err(failed(StoreErrorKind::Permanent, kind, name, "the machine is gone"));
        };
        self.come_back(&journey, kind, name).await?;
        result
    }

    async fn look<T>(
        &self,
        kind: Request,
        name: &str,
        look: impl FnOnce(&mut State, Option<StoreFault>) -> Result<T>,
    ) -> Result<T> {
        let journey = self.send(kind, name)?;
        self.go(&journey, kind, name).await?;
        let result = look(&mut self.store.lock(), journey.fault);
        let now = self.store.executor.now();
        let numbers = [u64::from(result.is_ok()), 0];
        let event = Event { now, host: self.run.host, kind: kind.verb(), path: name, numbers, content: None };
        self.store.executor.trace().record(&event);
        self.come_back(&journey, kind, name).await?;
        match journey.fault {
            Some(StoreFault::Late(_) | StoreFault::Parked) => {
                Err(failed(StoreErrorKind::Transient, kind, name, "timed out"))
            }
            _ => result,
        }
    }

    async fn read(&self, name: &str, range: Range) -> Result<Bytes> {
        check_name(Request::Get, name)?;
        let body = self.look(Request::Get, name, |state, fault| state.read(name, range, fault)).await?;
        self.store.lock().counts.bytes_got += body.len() as u64;
        Ok(body)
    }

    async fn names(&self, prefix: &str) -> Result<Vec<Listed>> {
        check_prefix(prefix)?;
        let list = |state: &mut State, _| {
            let from = state.objects.range(prefix.to_owned()..);
            let below = from.take_while(|(name, _)| name.starts_with(prefix));
            let line = |(name, object): (&String, &super::Object)| Listed {
                name: name.clone(),
                bytes: object.body.len() as u64,
            };
            Ok(below.map(line).collect())
        };
        self.look(Request::List, prefix, list).await
    }
}

/// Names that every store takes, as the real ones check them.
fn check_name(kind: Request, name: &str) -> Result<()> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'@');
    let good = |part: &str| !part.is_empty() && !part.starts_with('.') && part.bytes().all(plain);
    if name.len() <= NAME_BYTES_MAX && name.split('/').all(good) {
        Ok(())
    } else {
        Err(failed(StoreErrorKind::Permanent, kind, name, "not a name for an object"))
    }
}

/// A prefix is empty, or a name and a `/`.
fn check_prefix(prefix: &str) -> Result<()> {
    match prefix.strip_suffix('/') {
        Some(name) => check_name(Request::List, name),
        None if prefix.is_empty() => Ok(()),
        None => {
            Err(failed(StoreErrorKind::Permanent, Request::List, prefix, "a prefix is empty or ends with /"))
        }
    }
}

impl Objects for Connection {
    fn put_new<'a>(&'a self, name: &'a str, body: Bytes) -> BoxFuture<'a, Result<()>> {
        self.store.lock().counts.bytes_put += body.len() as u64;
        Box::pin(self.change(Request::Put, name, Effect::Put { name: name.to_owned(), body }))
    }

    fn get<'a>(&'a self, name: &'a str, range: Range) -> BoxFuture<'a, Result<Bytes>> {
        Box::pin(self.read(name, range))
    }

    fn list<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Vec<Listed>>> {
        Box::pin(self.names(prefix))
    }

    fn delete<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.change(Request::Delete, name, Effect::Delete { name: name.to_owned() }))
    }

    fn describe(&self) -> String {
        "memory://simulated".into()
    }
}
