//! Metadata contexts: what a client may ask about the blocks of an export.
//!
//! ```text
//!   base:allocation            what a block holds
//!   esker:diff:STATE           bit 0: it has changed since STATE
//!   qemu:dirty-bitmap:STATE    the same, for those who know the bitmaps of qemu
//! ```
//! A query that ends in `:` asks for all that begin so, as far as they have names. What STATE may be, the device says.

use std::{fmt, future::Future, sync::Arc, time::Instant};

use tokio::{runtime::Handle, time};

use super::{limits::STATES_MAX, wire};
use crate::{Device, Since};

/// What comes before a state's name.
const FAMILIES: [&str; 2] = ["esker:diff:", "qemu:dirty-bitmap:"];

/// What was selected for a connection.
#[derive(Default, Clone)]
pub(crate) struct Contexts {
    /// `base:allocation`.
    pub(crate) allocation: bool,
    /// Comparisons, each with the number that the client knows it by.
    pub(crate) since: Vec<(u32, Arc<dyn Since>)>,
}

impl Contexts {
    pub(crate) fn is_empty(&self) -> bool {
        !self.allocation && self.since.is_empty()
    }
}

impl fmt::Debug for Contexts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "allocation {}, {} comparisons", self.allocation, self.since.len())
    }
}

/// A device that is asked in a handshake.
pub(crate) struct Asking<'a> {
    pub(crate) device: Arc<dyn Device>,
    pub(crate) runtime: &'a Handle,
    pub(crate) deadline: Instant,
}

impl Asking<'_> {
    /// Selects: what there is of these, each with its number and the name it was asked for by.
    pub(crate) fn select(&self, queries: &[&str]) -> (Contexts, Vec<(u32, String)>) {
        let mut contexts = Contexts::default();
        let mut told: Vec<(u32, String)> = Vec::new();
        if queries.contains(&wire::ALLOCATION) {
            contexts.allocation = true;
            told.push((wire::ALLOCATION_ID, wire::ALLOCATION.to_owned()));
        }
        for query in queries {
            let known = told.iter().any(|(_, name)| name == query);
            if known || contexts.since.len() == STATES_MAX {
                continue;
            }
            if let Some(since) = state_of(query).and_then(|state| self.since(state)) {
                let id = wire::ALLOCATION_ID + 1 + contexts.since.len() as u32;
                contexts.since.push((id, since));
                told.push((id, (*query).to_owned()));
            }
        }
        (contexts, told)
    }

    /// The names of what can be selected; all of them where nothing is asked for.
    pub(crate) fn list(&self, queries: &[&str]) -> Vec<String> {
        let all = queries.is_empty();
        let mut names = Vec::new();
        if all || queries.contains(&wire::ALLOCATION) || queries.contains(&"base:") {
            names.push(wire::ALLOCATION.to_owned());
        }
        let wanted = |family: &&str| all || queries.iter().any(|query| is_wildcard_of(query, family));
        let families: Vec<_> = FAMILIES.into_iter().filter(wanted).collect();
        if !families.is_empty() {
            let states = self.wait(self.device.clone().states()).unwrap_or_default();
            let of =
                |family: &str| states.iter().map(move |state| format!("{family}{state}")).collect::<Vec<_>>();
            names.extend(families.into_iter().flat_map(of));
        }
        for query in queries.iter().take(STATES_MAX) {
            let known = names.iter().any(|name| name == query);
            if !known && state_of(query).is_some_and(|state| self.since(state).is_some()) {
                names.push((*query).to_owned());
            }
        }
        names
    }

    fn since(&self, state: &str) -> Option<Arc<dyn Since>> {
        self.wait(self.device.clone().since(state.to_owned())).flatten()
    }

    /// The answer, unless it comes too late for the handshake.
    fn wait<T>(&self, answer: impl Future<Output = T>) -> Option<T> {
        let deadline = time::Instant::from_std(self.deadline);
        self.runtime.block_on(async { time::timeout_at(deadline, answer).await.ok() })
    }
}

/// The state that a query is about.
fn state_of(query: &str) -> Option<&str> {
    FAMILIES.iter().find_map(|family| query.strip_prefix(family)).filter(|state| !state.is_empty())
}

/// Whether a query asks for all of a family, or of its namespace.
fn is_wildcard_of(query: &str, family: &str) -> bool {
    query.ends_with(':') && family.starts_with(query)
}

#[cfg(test)]
mod tests {
    use super::{FAMILIES, is_wildcard_of, state_of};

    #[test]
    fn queries_are_understood() {
        assert_eq!(state_of("esker:diff:monday"), Some("monday"));
        assert_eq!(state_of("qemu:dirty-bitmap:#7"), Some("#7"));
        for other in ["esker:diff:", "esker:diff", "base:allocation", "x:esker:diff:monday"] {
            assert_eq!(state_of(other), None, "{other}");
        }
        for (query, families) in
            [("esker:", 1), ("qemu:", 1), ("esker:diff:", 1), ("esker:d", 0), ("base:", 0)]
        {
            let asked = FAMILIES.iter().filter(|family| is_wildcard_of(query, family)).count();
            assert_eq!(asked, families, "{query}");
        }
    }
}
