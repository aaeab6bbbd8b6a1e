//! What happened, in order: a rolling digest of everything, and the last lines for people.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// The trace of one simulation. Cheap to clone; all clones are the same trace.
#[derive(Clone)]
pub struct Trace {
    state: Arc<Mutex<State>>,
}

struct State {
    hasher: blake3::Hasher,
    events: u64,
    lines: VecDeque<String>,
    lines_max: usize,
}

/// One event. Everything in it goes into the digest.
pub(crate) struct Event<'a> {
    pub(crate) now: Duration,
    pub(crate) host: u32,
    pub(crate) kind: &'static str,
    pub(crate) path: &'a str,
    /// Offset and length, or whatever two numbers say most.
    pub(crate) numbers: [u64; 2],
    pub(crate) content: Option<[u8; 32]>,
}

impl fmt::Display for Event<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, second] = self.numbers;
        write!(f, "{:?} host {} {} {} {first} {second}", self.now, self.host, self.kind, self.path)?;
        match self.content {
            Some([a, b, c, d, ..]) => write!(f, " {a:02x}{b:02x}{c:02x}{d:02x}"),
            None => Ok(()),
        }
    }
}

impl Trace {
    /// An empty trace that remembers its last `lines_max` events as text.
    pub fn new(lines_max: usize) -> Self {
        let hasher = blake3::Hasher::new();
        Self { state: Arc::new(Mutex::new(State { hasher, events: 0, lines: VecDeque::new(), lines_max })) }
    }

    pub(crate) fn record(&self, event: &Event<'_>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.events += 1;
        state.hasher.update(&(event.now.as_nanos() as u64).to_le_bytes());
        state.hasher.update(&event.host.to_le_bytes());
        for text in [event.kind, event.path] {
            state.hasher.update(&(text.len() as u64).to_le_bytes());
            state.hasher.update(text.as_bytes());
        }
        for number in event.numbers {
            state.hasher.update(&number.to_le_bytes());
        }
        state.hasher.update(&[u8::from(event.content.is_some())]);
        state.hasher.update(&event.content.unwrap_or_default());
        if state.lines_max > 0 {
            if state.lines.len() == state.lines_max {
                state.lines.pop_front();
            }
            state.lines.push_back(event.to_string());
        }
    }

    /// The digest of all events so far, in hex.
    pub fn digest(&self) -> String {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).hasher.finalize().to_hex().to_string()
    }

    /// How many events there were.
    pub fn events(&self) -> u64 {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).events
    }

    /// The last events, oldest first.
    pub fn lines(&self) -> Vec<String> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).lines.iter().cloned().collect()
    }
}
