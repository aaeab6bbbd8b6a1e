//! Going back in the volume's history.

use std::sync::Arc;

use esker_engine::{
    EngineError,
    host::{Host as Engine, Rewound, Target},
    pool::Pool,
};

use super::{Lab, Outcome, VOLUME, violation};
use crate::{Task, model};

/// A state that the volume had, and the head that says so.
#[derive(Debug, Clone)]
pub struct Kept {
    /// The head's number.
    pub number: u64,
    size_bytes: u64,
    state: model::Kept,
}

impl Lab {
    /// The owner's state, which the store has all of.
    pub fn keep_state(&mut self) -> Outcome<Kept> {
        self.try_keep_state()?.ok_or_else(|| violation("the store does not have all of this state"))
    }

    /// The same; `None` while the store does not have all of it.
    pub fn try_keep_state(&mut self) -> Outcome<Option<Kept>> {
        self.observe()?;
        let number = self.volume(self.owner()).status().head;
        let size_bytes = self.size.now();
        Ok(self.book.keep().map(|state| Kept { number, size_bytes, state }))
    }

    /// Starts taking the volume back at a site whose engine runs.
    pub fn begin_rewind(&mut self, site: usize, kept: &Kept) -> Task<Result<Rewound, EngineError>> {
        let engine = self.engine(site);
        self.begin_rewind_by(site, engine, (Target::Head(kept.number), kept))
    }

    /// The same, with an engine, and to whatever names the state.
    pub fn begin_rewind_by(
        &mut self,
        site: usize,
        engine: Arc<Engine>,
        (to, kept): (Target, &Kept),
    ) -> Task<Result<Rewound, EngineError>> {
        self.book.goes_back(&kept.state);
        self.size.may_be(kept.size_bytes);
        self.sites[site].host.spawn("rewind", async move { engine.rewind(VOLUME, &to, &|| 0).await })
    }

    /// Takes what came of it, and the volume as the site has it now.
    pub fn end_rewind(
        &mut self,
        site: usize,
        kept: &Kept,
        outcome: Result<Rewound, EngineError>,
    ) -> Outcome<Result<Rewound, EngineError>> {
        let open = self.sites[site].engine.as_ref().and_then(|engine| engine.volume(VOLUME));
        let before = self.sites[site].volume.take();
        self.sites[site].volume = open.clone();
        if let Some(open) = open
            // One that could not be drained is as it was.
            && !before.is_some_and(|before| Arc::ptr_eq(&before, &open))
        {
            let (sequence, expected) = (open.last_sequence().0, self.book.last() + 1);
            if outcome.is_ok() && (sequence, open.size_bytes()) != (expected, kept.size_bytes) {
                return Err(violation(format!("rewound to sequence {sequence}, expected {expected}")));
            }
            self.book.reopened(sequence).map_err(violation)?;
            self.size.found(open.size_bytes())?;
        }
        self.observe()?;
        Ok(outcome)
    }

    /// Takes the owner's volume back; it has to succeed. All of it is compared.
    pub fn rewind(&mut self, kept: &Kept) -> Outcome<Rewound> {
        let owner = self.owner();
        let running = self.begin_rewind(owner, kept);
        let outcome = self.wait(running)?;
        let outcome = self.end_rewind(owner, kept, outcome)?;
        let rewound = outcome.map_err(|error| violation(format!("a rewind fails: {error}")))?;
        self.read_all()?;
        Ok(rewound)
    }

    /// Whoever opens the volume or snapshot of this name finds that state.
    pub fn check_state(&mut self, name: &str, kept: &Kept) -> Outcome {
        let (of, size) = (name.to_owned(), kept.size_bytes as usize);
        let image: Vec<u8> = self.audit(async move |pool: Arc<Pool>| {
            let id = pool.lookup(&of).await.map_err(|error| error.to_string())?;
            let id = id.ok_or_else(|| format!("{of} has no volume"))?;
            let volume = esker_engine::recover::open_read_only(pool, &of, id).await;
            let volume = volume.map_err(|error| error.to_string())?;
            if volume.size_bytes() != size as u64 {
                return Err(format!("{of} has {} bytes, expected {size}", volume.size_bytes()));
            }
            volume.read_later(0, size).await.map_err(|error| error.to_string())
        })?;
        kept.state.compare(0, &image).map_err(|message| violation(format!("{name}: {message}")))
    }
}
