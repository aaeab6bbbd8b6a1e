//! Forks and snapshots made by this run; the steps are told in [`crate::birth`].

use std::{collections::BTreeMap, sync::Arc};

use esker_format::{
    head::{Head, HeadKind, Lineage, valid_label},
    names,
};
use esker_io::sync::Mutex;

use super::Host;
use crate::{
    EngineError, Result,
    birth::{Making, State, relabel},
    pool::describe,
    volume::{Status, Volume},
};

/// How often a source that moves on is looked at again.
pub(super) const TRIES_MAX: usize = 4;
/// Snapshots of which the newest head is remembered.
const KNOWN_MAX: usize = 256;

/// Newest heads of snapshots, by name. They do not change, unless somebody deletes or labels one: the look shows it.
#[derive(Default)]
pub(super) struct Known(Mutex<BTreeMap<String, Head>>);

impl Known {
    fn get(&self, name: &str) -> Option<Head> {
        self.0.lock().get(name).cloned()
    }

    fn keep(&self, name: &str, head: &Head) {
        let mut known = self.0.lock();
        if head.kind == HeadKind::Frozen {
            known.insert(name.to_owned(), head.clone());
        }
        if known.len() > KNOWN_MAX {
            known.pop_first();
        }
    }

    pub(super) fn forget(&self, name: &str) {
        self.0.lock().remove(name);
    }
}

pub use crate::birth::Labels;

impl Host {
    /// Makes a snapshot of a volume as it is now; of one that is written elsewhere, as of its last commit. Returns the
    /// snapshot's newest head.
    ///
    /// # Errors
    /// [`EngineError::Exists`] when the volume has a snapshot of this name.
    pub async fn snapshot(&self, volume: &str, snapshot: &str, mut labels: Labels) -> Result<Head> {
        names::valid_volume_name(volume)?;
        labels.sort();
        check_labels(&labels)?;
        let name = names::snapshot_name(volume, snapshot);
        let lineage = Lineage { labels, ..Lineage::default() };
        let head = self.make(volume, &name, (HeadKind::Frozen, lineage)).await?;
        self.known.keep(&name, &head);
        Ok(head)
    }

    /// Makes a volume whose first state is that of another one now, or of a snapshot. It has the source's settings, and
    /// none of its labels. Returns the new volume's newest head.
    ///
    /// # Errors
    /// [`EngineError::Exists`] when the name is taken.
    pub async fn fork(&self, source: &str, name: &str) -> Result<Head> {
        names::valid_volume_name(name)?;
        self.make(source, name, (HeadKind::Released, Lineage::default())).await
    }

    /// Changes the labels of a snapshot: first those to remove go, then those to set come.
    pub async fn label(&self, name: &str, set: &Labels, remove: &[String]) -> Result<Head> {
        set.iter().try_for_each(|(key, value)| valid_label(key, value))?;
        let volume = self.find(name).await?;
        let change = |labels: &mut Labels| {
            labels.retain(|(key, _)| !remove.contains(key) && !set.iter().any(|(new, _)| new == key));
            labels.extend(set.iter().cloned());
            labels.sort();
        };
        let head = relabel(&self.pool, self.owner, &describe(name), volume, change).await?;
        self.known.keep(name, &head);
        Ok(head)
    }

    async fn make(&self, source: &str, name: &str, what: (HeadKind, Lineage)) -> Result<Head> {
        if self.volume(name).is_some() {
            return Err(EngineError::Exists(describe(name)));
        }
        let _busy = self.occupy(name)?;
        let making = Making { pool: &self.pool, ids: &self.ids, owner: self.owner };
        for _ in 0..TRIES_MAX {
            let place = self.pool.place(name).await?;
            // Of one that was released the store has everything.
            let released = |open: &Arc<Volume>| matches!(open.status().status, Status::Closed);
            let open = self.volume(source).filter(|open| !open.read_only() && !released(open));
            let state = self.state(&making, source, open.as_ref()).await?;
            let own = || open.as_ref().map_or(0, |open| open.newest_own_head());
            if let Some(head) = making.make(state, place, what.clone(), own).await? {
                return Ok(head);
            }
            self.known.forget(source);
        }
        Err(EngineError::Invalid(format!(
            "{} moved on {TRIES_MAX} times while it was looked at; try again",
            describe(source)
        )))
    }

    async fn state(&self, making: &Making<'_>, source: &str, open: Option<&Arc<Volume>>) -> Result<State> {
        if let Some(open) = open {
            return open.point().await;
        }
        if let Some(head) = self.known.get(source) {
            return Ok(State::of(&head));
        }
        let state = making.newest(source, self.find(source).await?).await?;
        self.known.keep(source, state.head());
        Ok(state)
    }
}

pub(super) fn check_labels(labels: &Labels) -> Result<()> {
    labels.iter().try_for_each(|(key, value)| valid_label(key, value))?;
    let twice = labels.windows(2).find(|pair| pair[0].0 == pair[1].0);
    match twice {
        Some(pair) => Err(EngineError::Invalid(format!("label {} is given twice", pair[0].0))),
        None => Ok(()),
    }
}
