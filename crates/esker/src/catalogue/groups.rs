//! What a pool says of groups of snapshots.

use std::collections::BTreeMap;

use esker_control::api;
use esker_engine::{Result, pool::Pool};
use esker_format::group::{GroupFate, GroupRecord};

/// Every group that exists, the oldest first.
pub(crate) async fn groups(pool: &Pool) -> Result<Vec<api::Group>> {
    let (records, names) = (pool.groups().await?, names(pool).await?);
    Ok(records.iter().filter_map(|record| group(record, &names)).collect())
}

/// What volumes and snapshots are called, by their ids.
pub(crate) async fn names(pool: &Pool) -> Result<BTreeMap<String, String>> {
    Ok(pool.names().await?.into_iter().map(|named| (named.volume.to_string(), named.name)).collect())
}

/// One group, as far as it exists.
pub(crate) fn group(record: &GroupRecord, names: &BTreeMap<String, String>) -> Option<api::Group> {
    let GroupFate::True { name, members } = &record.fate else { return None };
    let member = |id: String| api::Member { name: names.get(&id).cloned(), id };
    let mut members: Vec<_> = members.iter().map(|id| member(id.to_string())).collect();
    members.sort_by(|a, b| a.name.cmp(&b.name));
    Some(api::Group {
        id: record.group.to_string(),
        name: name.clone(),
        created_ms: record.written_ms,
        members,
    })
}
