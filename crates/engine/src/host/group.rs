//! Snapshots of several volumes of this run at one point; the steps are told in [`crate::birth`]'s `group`.

use std::sync::Arc;

use esker_format::{
    group::{GROUP_MEMBERS_MAX, GroupFate, GroupRecord},
    head::{HeadKind, Lineage},
    ids::GroupId,
    names,
};
#[cfg(feature = "planted")]
use esker_io::{Bug, planted};
use futures_util::future::{join_all, try_join_all};

use super::{
    Host, Labels,
    fork::{TRIES_MAX, check_labels},
};
use crate::{
    EngineError, Result,
    birth::{Making, Pin, State, points},
    volume::Volume,
};

impl Host {
    /// Makes a snapshot of each of these volumes, all of which this run writes, at one point: a write that began after
    /// another one was answered is in none of them unless that one is.
    ///
    /// # Errors
    /// [`EngineError::Exists`] when one of the volumes has a snapshot of this name.
    pub async fn snapshot_group(
        &self,
        snapshot: &str,
        volumes: &[String],
        mut labels: Labels,
    ) -> Result<GroupRecord> {
        labels.sort();
        check_labels(&labels)?;
        let members = self.members(volumes)?;
        let names: Vec<_> = volumes.iter().map(|volume| names::snapshot_name(volume, snapshot)).collect();
        names.iter().try_for_each(|name| names::valid_name(name))?;
        let busy: Result<Vec<_>> = names.iter().map(|name| self.occupy(name)).collect();
        let _busy = busy?;
        for _ in 0..TRIES_MAX {
            let lineage = Lineage { labels: labels.clone(), ..Lineage::default() };
            if let Some(record) = self.try_group(snapshot, (&members, &names), lineage).await? {
                return Ok(record);
            }
        }
        Err(EngineError::Invalid(format!(
            "the volumes moved on {TRIES_MAX} times while they were looked at; try again"
        )))
    }

    /// The volumes of these names, each once.
    fn members(&self, volumes: &[String]) -> Result<Vec<Arc<Volume>>> {
        if !(1..=GROUP_MEMBERS_MAX).contains(&volumes.len()) {
            return Err(EngineError::Invalid(format!("a group has 1 to {GROUP_MEMBERS_MAX} volumes")));
        }
        let mut members: Vec<Arc<Volume>> = Vec::with_capacity(volumes.len());
        for name in volumes {
            let open = self.volume(name).filter(|open| !open.read_only()).ok_or_else(|| {
                EngineError::Invalid(format!(
                    "volume {name} is not open for writing here, so it cannot be in a group"
                ))
            })?;
            if members.iter().any(|member| member.id() == open.id()) {
                return Err(EngineError::Invalid(format!("volume {name} is named twice")));
            }
            members.push(open);
        }
        Ok(members)
    }

    /// Steps 1 to 6. `None` when a source is not what it was any more: nothing was made, look again.
    async fn try_group(
        &self,
        snapshot: &str,
        (members, names): (&[Arc<Volume>], &[String]),
        lineage: Lineage,
    ) -> Result<Option<GroupRecord>> {
        let places = try_join_all(names.iter().map(|name| self.pool.place(name))).await?;
        let states = states(members).await?;
        let group = GroupId(self.pool.world().random.id());
        let lineage = Lineage { group: Some(group), ..lineage };
        let pinning = states
            .into_iter()
            .zip(places)
            .map(|(state, place)| self.pool.pin(state, Some(place), lineage.clone(), self.owner));
        let (mut pins, mut problem) = (Vec::new(), None);
        for outcome in join_all(pinning).await {
            match outcome {
                Ok(pin) => pins.push(pin),
                Err(error) => problem = Some(error),
            }
        }
        let looked = match problem {
            Some(error) => Err(error),
            None => self.look(members, &pins).await,
        };
        if !matches!(looked, Ok(true)) {
            self.give_up_group(group, (&pins, names)).await?;
            return looked.map(|_| None);
        }
        #[cfg(feature = "planted")]
        if planted(Bug::MemberBornAlone) {
            for pin in &pins {
                pin.born(&self.pool, HeadKind::Frozen).await?;
            }
        }
        let mut members: Vec<_> = pins.iter().map(Pin::volume).collect();
        members.sort();
        let fate = GroupFate::True { name: snapshot.to_owned(), members };
        let record = self.pool.decide(group, fate).await?;
        if record.fate == GroupFate::Buried {
            self.give_up_group(group, (&pins, names)).await?;
            return Err(EngineError::Invalid(format!(
                "the snapshots {snapshot} were given up by somebody else before they were finished; make them again"
            )));
        }
        // The group exists. Who finds a member that could not be finished here finishes it.
        for outcome in join_all(pins.iter().map(|pin| pin.born(&self.pool, HeadKind::Frozen))).await {
            if let Err(error) = outcome {
                tracing::warn!(snapshot, %error, "a snapshot of a group exists, but its head could not be made now");
            }
        }
        Ok(Some(record))
    }

    async fn look(&self, members: &[Arc<Volume>], pins: &[Pin]) -> Result<bool> {
        let looks = pins.iter().zip(members);
        let looks = looks.map(|(pin, member)| pin.look(&self.pool, || member.newest_own_head()));
        Ok(try_join_all(looks).await?.into_iter().all(|there| there))
    }

    /// Step 6.
    async fn give_up_group(&self, group: GroupId, (pins, names): (&[Pin], &[String])) -> Result<()> {
        self.pool.decide(group, GroupFate::Buried).await?;
        let making = Making { pool: &self.pool, ids: &self.ids, owner: self.owner };
        for name in names {
            let Some(volume) = self.pool.lookup(name).await? else { continue };
            if let Some(pin) = pins.iter().find(|pin| pin.volume() == volume) {
                making.give_up(pin, name).await?;
            }
        }
        Ok(())
    }
}

/// Steps 1 and 2.
async fn states(members: &[Arc<Volume>]) -> Result<Vec<State>> {
    #[cfg(feature = "planted")]
    if planted(Bug::GroupNotHeld) {
        let mut states = Vec::new();
        for member in members {
            states.push(member.point().await?);
        }
        return Ok(states);
    }
    try_join_all(points(members)?.into_iter().map(|point| point.state())).await
}
