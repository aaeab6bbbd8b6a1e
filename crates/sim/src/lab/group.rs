//! Volumes beside the volume, written in turn by one who waits for each answer, and what must hold of their groups.

use std::{collections::BTreeMap, ops::Range, sync::Arc};

use bytes::Bytes;
use esker_engine::{
    EngineError,
    pool::Pool,
    volume::{OwnedChange, Scratch, Volume, WriteStep},
};
use esker_format::{
    BLOCK_BYTES,
    group::{GroupFate, GroupRecord},
    head::{Head, HeadKind},
    ids::{GroupId, VolumeId},
    names::{self, ObjectName},
};

use super::{Lab, Outcome, violation};
use crate::Task;

type Result<T> = std::result::Result<T, EngineError>;

impl Lab {
    /// Opens another volume by the engine of a site that has the volume open.
    pub fn open_beside(&mut self, site: usize, name: &'static str) -> Outcome<Arc<Volume>> {
        let engine = self.engine(site);
        let opening = self.sites[site].host.spawn("open", async move { engine.open(name, None).await });
        Ok(self.wait(opening)?.map_err(violation)?.0)
    }

    /// Begins to write each of these numbers to the first volume and, when that was answered, to the second.
    pub fn begin_in_turn(
        &mut self,
        site: usize,
        volumes: [Arc<Volume>; 2],
        numbers: Range<u64>,
    ) -> Task<Result<()>> {
        let host = &self.sites[site].host;
        let clock = host.world().clock;
        host.spawn("in turn", async move {
            for number in numbers {
                for volume in &volumes {
                    write(volume, number).await?;
                }
                clock.sleep(std::time::Duration::from_micros(300)).await;
            }
            Ok(())
        })
    }

    /// Begins to make snapshots of both at one point.
    pub fn begin_group(
        &mut self,
        site: usize,
        snapshot: &str,
        volumes: [&str; 2],
    ) -> Task<Result<GroupRecord>> {
        let engine = self.engine(site);
        let (snapshot, volumes) = (snapshot.to_owned(), volumes.map(str::to_owned));
        self.sites[site]
            .host
            .spawn("group", async move { engine.snapshot_group(&snapshot, &volumes, Vec::new()).await })
    }

    /// The number that was written last, as the store has it under a name.
    pub fn number_in(&mut self, name: &str) -> Outcome<u64> {
        let name = name.to_owned();
        self.audit(async move |pool: Arc<Pool>| {
            let text = |error: EngineError| format!("{name} cannot be read: {error}");
            let volume = pool.lookup(&name).await.map_err(text)?.ok_or(format!("{name} has no name"))?;
            let opened = esker_engine::recover::open_read_only(pool, &name, volume).await.map_err(text)?;
            let block = opened.read_later(0, BLOCK_BYTES).await.map_err(text)?;
            Ok(u64::from_le_bytes(std::array::from_fn(|i| block[i])))
        })
    }

    /// What the second volume has, the first has: whoever wrote it had waited for that (rule W12).
    pub fn check_one_point(&mut self, snapshot: &str, volumes: [&str; 2]) -> Outcome {
        let [first, second] = volumes.map(|volume| names::snapshot_name(volume, snapshot));
        let (first, second) = (self.number_in(&first)?, self.number_in(&second)?);
        if first == second || first == second + 1 {
            return Ok(());
        }
        Err(violation(format!("not one point: the first volume is at {first}, the second at {second}")))
    }

    /// All members of a group are born, or none, and its record says which (rule W12): as the store has them, and as
    /// whoever meets them finds them.
    pub fn check_groups(&mut self) -> Outcome {
        let mut members: BTreeMap<GroupId, BTreeMap<VolumeId, Vec<Head>>> = BTreeMap::new();
        for name in self.head_names() {
            let Some(bytes) = self.machine.store().object(&name) else { continue };
            let Ok(head) = Head::parse(&bytes) else { continue };
            let head = head.peek().clone();
            if let Some(group) = head.lineage.group {
                members.entry(group).or_default().entry(head.volume).or_default().push(head);
            }
        }
        let records = self.group_records();
        for (group, volumes) in &members {
            let named = match records.get(group).map(|record| &record.fate) {
                Some(GroupFate::True { members, .. }) => members.clone(),
                _ => Vec::new(),
            };
            for (volume, heads) in volumes {
                let born = heads.iter().any(|head| head.kind == HeadKind::Frozen);
                let buried = heads.iter().any(|head| head.kind == HeadKind::Deleted && head.number == 2);
                let exists = named.contains(volume);
                if born && !exists {
                    return Err(violation(format!("{volume} is born, and its group {group} is not")));
                }
                if buried && (exists || !records.contains_key(group)) {
                    return Err(violation(format!("{volume} is buried, and its group {group} is not")));
                }
            }
        }
        self.meet(members.into_values().flat_map(BTreeMap::into_keys).collect(), records)
    }

    /// Whoever asks for a member finds what the record says.
    fn meet(&mut self, members: Vec<VolumeId>, records: BTreeMap<GroupId, GroupRecord>) -> Outcome {
        self.audit(async move |pool: Arc<Pool>| {
            for member in members {
                let head = pool.newest_head(member).await.map_err(|error| error.to_string())?.head;
                let group = head.lineage.group.ok_or("a member forgets its group")?;
                let exists = records.get(&group).is_some_and(
                    |record| matches!(&record.fate, GroupFate::True { members, .. } if members.contains(&member)),
                );
                let lives = !matches!(head.kind, HeadKind::Unborn | HeadKind::Deleted);
                let was_deleted = head.kind == HeadKind::Deleted && head.number > 2;
                if lives != exists && !was_deleted {
                    return Err(format!("{member} is {}, and its group says otherwise", head.kind));
                }
            }
            Ok(())
        })
    }

    fn group_records(&self) -> BTreeMap<GroupId, GroupRecord> {
        let store = self.machine.store();
        let read = |name: String| match names::parse(&name) {
            Some(ObjectName::Group(group)) => {
                let record = GroupRecord::parse(&store.object(&name)?).ok()?;
                Some((group, record.peek().clone()))
            }
            _ => None,
        };
        store.names(&names::groups()).into_iter().filter_map(read).collect()
    }
}

async fn write(volume: &Arc<Volume>, number: u64) -> Result<()> {
    let mut block = vec![0; BLOCK_BYTES];
    block[..8].copy_from_slice(&number.to_le_bytes());
    let change = OwnedChange::Write { offset: 0, data: Bytes::from(block) };
    let mut scratch = Scratch::default();
    volume.change(&[change.borrow()], &mut scratch);
    match scratch.steps.pop() {
        Some(WriteStep::Done) => Ok(()),
        Some(WriteStep::Failed(error)) => Err(error),
        _ => volume.clone().change_later(change).await,
    }
}
