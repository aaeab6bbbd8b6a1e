//! The decorators of a store that may have bad weather, in their order.
//!
//! ```text
//!   reads ─▶ Retry ─┐
//!                   ├─▶ Budget ─▶ Hedge ─▶ Breaker ─▶ the store (or its counter: it sees what is really sent)
//!   PUTs ──▶ engine ┘
//! ```

use std::time::Duration;

use bytes::Bytes;

use super::{Breaker, BreakerState, Budget, Hedge, Listed, Objects, Range, Result, Turn};
use crate::{BoxFuture, Clock, Random, sync::Arc};

/// A store behind a breaker, with hedged reads and a budget for tries.
pub struct Sheltered {
    breaker: Arc<Breaker>,
    hedge: Arc<Hedge>,
    budget: Budget,
}

/// What the decorators have done, and what they let pass now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Strain {
    /// Requests that were sent again after a failure.
    pub tries: u64,
    /// Tries that had to wait because there were too many.
    pub budget_waits: u64,
    /// What the breaker lets pass.
    pub breaker: BreakerState,
    /// How often it has opened.
    pub opened: u64,
    /// Requests that it did not let pass.
    pub refused: u64,
    /// Second GETs sent.
    pub hedges: u64,
    /// Second GETs that answered first.
    pub hedges_won: u64,
}

impl Sheltered {
    /// Shelters `inner`.
    pub fn new(inner: Arc<dyn Objects>, clock: Arc<dyn Clock>, random: Arc<dyn Random>) -> Self {
        let breaker = Arc::new(Breaker::new(inner, clock.clone(), random));
        let hedge = Arc::new(Hedge::new(breaker.clone(), clock.clone()));
        let budget = Budget::new(hedge.clone(), clock);
        Self { breaker, hedge, budget }
    }

    /// The figures so far.
    pub fn strain(&self) -> Strain {
        Strain {
            tries: self.budget.tries(),
            budget_waits: self.budget.waits(),
            breaker: self.breaker.state(),
            opened: self.breaker.opened(),
            refused: self.breaker.refused(),
            hedges: self.hedge.sent(),
            hedges_won: self.hedge.won(),
        }
    }
}

impl Objects for Sheltered {
    fn put_new<'a>(&'a self, name: &'a str, body: Bytes) -> BoxFuture<'a, Result<()>> {
        self.budget.put_new(name, body)
    }

    fn get<'a>(&'a self, name: &'a str, range: Range) -> BoxFuture<'a, Result<Bytes>> {
        self.budget.get(name, range)
    }

    fn list<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Vec<Listed>>> {
        self.budget.list(prefix)
    }

    fn delete<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<()>> {
        self.budget.delete(name)
    }

    fn turn<'a>(&'a self, patience: Duration) -> BoxFuture<'a, Turn> {
        self.budget.turn(patience)
    }

    fn describe(&self) -> String {
        self.budget.describe()
    }
}
