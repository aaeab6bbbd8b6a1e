//! Names of volumes: for each a chain of numbered records, the highest of which is true (rule H6).
//!
//! Records are never deleted, so a number that was taken stays taken, and a late PUT changes nothing.

use std::collections::BTreeMap;

use esker_format::{
    head::HeadKind,
    ids::{AttemptId, VolumeId},
    name::{NameRecord, NameState},
    names::{self as object_names, ObjectName},
};
use esker_io::Listed;
use futures_util::{StreamExt, TryStreamExt, stream};

use super::{GETS_AT_ONCE, Pool, create, damaged};
use crate::{
    EngineError, Result,
    birth::{Fate, Pin},
    upload::Settled,
};

/// A volume and its name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct NamedVolume {
    /// The name.
    pub name: String,
    /// What it stands for.
    pub volume: VolumeId,
}

impl Pool {
    /// What a name stands for; `None` when it is free.
    pub async fn lookup(&self, name: &str) -> Result<Option<VolumeId>> {
        Ok(self.name_record(name).await?.as_ref().and_then(bound))
    }

    /// All bound names, sorted. One LIST, and one GET for each name that was ever used.
    pub async fn names(&self) -> Result<Vec<NamedVolume>> {
        self.names_that(|_| true).await
    }

    async fn names_that(&self, wanted: impl Fn(&str) -> bool) -> Result<Vec<NamedVolume>> {
        let listed = self.fetcher.list(&object_names::names()).await?;
        let gets: Vec<_> = newest_of_each(&listed)
            .into_iter()
            .filter(|(name, _)| wanted(name))
            .map(|(name, number)| async move { self.get_name_record(&name, number).await })
            .collect();
        let records: Vec<NameRecord> = stream::iter(gets).buffered(GETS_AT_ONCE).try_collect().await?;
        let named =
            |record: NameRecord| bound(&record).map(|volume| NamedVolume { name: record.name, volume });
        Ok(records.into_iter().filter_map(named).collect())
    }

    /// The snapshots of the volume with this name, sorted, each without the volume's name. One LIST, and one GET for
    /// each that ever was.
    pub async fn snapshot_names(&self, volume: &str) -> Result<Vec<String>> {
        let snapshot = |name: &str| {
            let parts = object_names::snapshot_parts(name).filter(|(of, _)| *of == volume);
            parts.map(|(_, snapshot)| snapshot.to_owned())
        };
        let named = self.names_that(|name| snapshot(name).is_some()).await?;
        Ok(named.iter().filter_map(|named| snapshot(&named.name)).collect())
    }

    /// The newest record of a name; `None` when the name was never used.
    pub async fn name_record(&self, name: &str) -> Result<Option<NameRecord>> {
        object_names::valid_name(name)?;
        let listed = self.fetcher.list(&object_names::name_chain(name)).await?;
        match newest_of_each(&listed).pop_first() {
            Some((_, number)) => Ok(Some(self.get_name_record(name, number).await?)),
            None => Ok(None),
        }
    }

    /// Makes a name stand for something else, if it stands for `expected` now (`None`: if it is free).
    /// Doing what is done already succeeds.
    ///
    /// # Errors
    /// [`EngineError::Exists`] when the name stands for another volume than expected,
    /// [`EngineError::NotFound`] when it is free and should not be.
    pub async fn set_name(
        &self,
        name: &str,
        expected: impl Into<Option<VolumeId>>,
        state: NameState,
    ) -> Result<NameRecord> {
        let expected = expected.into();
        loop {
            let newest = self.name_record(name).await?;
            let now = newest.as_ref().and_then(bound);
            if let Some(newest) = newest.as_ref().filter(|newest| newest.state == state) {
                return Ok(newest.clone());
            }
            if now != expected {
                return Err(if now.is_some() { taken(name) } else { free(name) });
            }
            if let Some(record) = self.put_name(name, newest.as_ref(), state).await? {
                return Ok(record);
            }
            // Somebody was faster: what they made of the name decides.
        }
    }

    /// Makes the record behind `newest`; `None` when somebody else did.
    async fn put_name(
        &self,
        name: &str,
        newest: Option<&NameRecord>,
        state: NameState,
    ) -> Result<Option<NameRecord>> {
        let record = NameRecord {
            pool: self.id(),
            name: name.to_owned(),
            number: newest.map_or(0, |newest| newest.number) + 1,
            attempt: AttemptId(self.world.random.id()),
            previous: newest.map(|newest| newest.attempt),
            written_ms: self.world.clock.wall_ms(),
            state,
        };
        let object = object_names::name(name, record.number);
        let held = create(&self.world, &object, record.encode()).await?;
        Ok((held == Settled::Ours).then_some(record))
    }

    /// Looks whether a name can be given to a new volume. One that stands for a volume that was deleted, or was never
    /// born and is buried here, is free.
    ///
    /// # Errors
    /// [`EngineError::Exists`] when it stands for something that lives.
    pub async fn place(&self, name: &str) -> Result<Place> {
        let newest = self.name_record(name).await?;
        if let Some(volume) = newest.as_ref().and_then(bound)
            && !self.is_dead(volume).await?
        {
            return Err(taken(name));
        }
        Ok(Place { name: name.to_owned(), newest })
    }

    /// Gives the name to a volume, whose first head is there.
    pub(crate) async fn bind(&self, mut place: Place, volume: VolumeId) -> Result<()> {
        let state = NameState::Bound(volume);
        while self.put_name(&place.name, place.newest.as_ref(), state).await?.is_none() {
            // Somebody was faster: what they made of the name decides.
            place = self.place(&place.name).await?;
        }
        Ok(())
    }

    /// Whether nobody can use this volume any more, or ever could.
    async fn is_dead(&self, volume: VolumeId) -> Result<bool> {
        let newest = self.newest_head(volume).await?;
        Ok(match newest.head.kind {
            HeadKind::Deleted => true,
            HeadKind::Unborn => Pin::of(&newest).bury(self).await? == Fate::Buried,
            _ => false,
        })
    }

    async fn get_name_record(&self, name: &str, number: u64) -> Result<NameRecord> {
        let object = object_names::name(name, number);
        let bytes = self.record_bytes(&object).await?;
        let record = NameRecord::parse(&bytes).and_then(|record| record.verify(self.id(), name, number));
        record.map_err(|error| damaged(&object, &error))
    }
}

/// The highest number of each chain.
fn newest_of_each(listed: &[Listed]) -> BTreeMap<String, u64> {
    let mut newest = BTreeMap::new();
    for listed in listed {
        if let Some(ObjectName::Name { name, number }) = object_names::parse(&listed.name) {
            let highest = newest.entry(name).or_insert(number);
            *highest = number.max(*highest);
        }
    }
    newest
}

/// A name that can be given.
#[derive(Debug)]
pub struct Place {
    name: String,
    newest: Option<NameRecord>,
}

impl Place {
    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// What a name is the name of, for messages.
pub(crate) fn describe(name: &str) -> String {
    match object_names::snapshot_parts(name) {
        None => format!("volume {name}"),
        Some(_) => format!("snapshot {name}"),
    }
}

fn bound(record: &NameRecord) -> Option<VolumeId> {
    match record.state {
        NameState::Bound(volume) => Some(volume),
        NameState::Free => None,
    }
}

pub(super) fn taken(name: &str) -> EngineError {
    EngineError::Exists(describe(name))
}

fn free(name: &str) -> EngineError {
    EngineError::NotFound(describe(name))
}
