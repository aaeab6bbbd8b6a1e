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

/// The hasher gets so many bytes at once: that is much cheaper than a few at a time.
const PENDING_BYTES: usize = 16 << 10;

struct State {
    hasher: blake3::Hasher,
    pending: Vec<u8>,
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
        let (hasher, pending) = (blake3::Hasher::new(), Vec::with_capacity(2 * PENDING_BYTES));
        let state = State { hasher, pending, events: 0, lines: VecDeque::new(), lines_max };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    pub(crate) fn record(&self, event: &Event<'_>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.events += 1;
        let pending = &mut state.pending;
        pending.extend((event.now.as_nanos() as u64).to_le_bytes());
        pending.extend(event.host.to_le_bytes());
        for text in [event.kind, event.path] {
            pending.extend((text.len() as u64).to_le_bytes());
            pending.extend(text.as_bytes());
        }
        event.numbers.iter().for_each(|number| pending.extend(number.to_le_bytes()));
        pending.push(u8::from(event.content.is_some()));
        pending.extend(event.content.unwrap_or_default());
        if state.pending.len() >= PENDING_BYTES {
            let pending = std::mem::take(&mut state.pending);
            state.hasher.update(&pending);
            state.pending = pending;
            state.pending.clear();
        }
        if state.lines_max > 0 {
            if state.lines.len() == state.lines_max {
                state.lines.pop_front();
            }
            state.lines.push_back(event.to_string());
        }
    }

    /// The digest of all events so far, in hex.
    pub fn digest(&self) -> String {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut hasher = state.hasher.clone();
        hasher.update(&state.pending).finalize().to_hex().to_string()
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
