//! A group record: whether the snapshots of several volumes at one point exist (rule W12).
//!
//! ```text
//! envelope "ESKRGRUP" version 1
//!   pool 16 │ group 16 │ attempt 16 │ written u64, ms since 1970
//!   fate: u8 0 buried, or u8 1 true
//!     │ name: length u16 │ bytes: what each of the snapshots is called behind its volume's @
//!     │ members: count u16 │ { volume 16 } …      ascending
//! ```
//! There is one record of a group, and nothing changes it: whoever makes it decides about all members at once.

use crate::envelope::{self, Kind};
use crate::error::{ensure, same};
use crate::names::valid_volume_name;
use crate::wire::{Put, Reader};
use crate::{AttemptId, FormatError, GroupId, PoolId, VolumeId};

pub(crate) const KIND: Kind = Kind { what: "group record", magic: b"ESKRGRUP", version: 1 };

/// The most members.
pub const GROUP_MEMBERS_MAX: usize = 256;

/// What became of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupFate {
    /// None of its members will ever be born.
    Buried,
    /// All of them are born, even where their own heads do not say so yet.
    True {
        /// The name that its snapshots share.
        name: String,
        /// The snapshots.
        members: Vec<VolumeId>,
    },
}

/// An object under `groups/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupRecord {
    /// The pool.
    pub pool: PoolId,
    /// The group.
    pub group: GroupId,
    /// Who wrote this object.
    pub attempt: AttemptId,
    /// When, in milliseconds since 1970, by the writer's clock.
    pub written_ms: u64,
    /// What became of it.
    pub fate: GroupFate,
}

/// A group record that was only parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnverifiedGroupRecord(GroupRecord);

impl GroupRecord {
    /// The object's bytes. Panics on members that [`GroupRecord::parse`] would refuse.
    pub fn encode(&self) -> Vec<u8> {
        envelope::wrap(&KIND, |out| {
            out.put(&self.pool.0);
            out.put(&self.group.0);
            out.put(&self.attempt.0);
            out.put_u64(self.written_ms);
            match &self.fate {
                GroupFate::Buried => out.put_u8(0),
                GroupFate::True { name, members } => {
                    check_members(members).expect("members that are checked where a group is made");
                    out.put_u8(1);
                    out.put_u16(u16::try_from(name.len()).expect("a valid name"));
                    out.put(name.as_bytes());
                    out.put_u16(members.len() as u16);
                    members.iter().for_each(|member| out.put(&member.0));
                }
            }
        })
    }

    /// Reads a whole object.
    pub fn parse(bytes: &[u8]) -> Result<UnverifiedGroupRecord, FormatError> {
        let what = KIND.what;
        let mut from = Reader::new(what, envelope::unwrap(&KIND, bytes)?);
        let pool = PoolId(from.array("pool")?);
        let group = GroupId(from.array("group")?);
        let attempt = AttemptId(from.array("attempt")?);
        let written_ms = from.u64("time")?;
        let fate = match from.u8("fate")? {
            0 => GroupFate::Buried,
            1 => {
                let length = from.u16("name length")?;
                let name = String::from_utf8_lossy(from.take("name", usize::from(length))?).into_owned();
                valid_volume_name(&name)?;
                let count = usize::from(from.u16("count of members")?);
                let count = from.warranted("count of members", count, 16)?;
                let mut members = Vec::with_capacity(count);
                for _ in 0..count {
                    members.push(VolumeId(from.array("member")?));
                }
                check_members(&members)?;
                GroupFate::True { name, members }
            }
            kind => return Err(FormatError::newer(what, "fate", "0 or 1", kind)),
        };
        from.finish()?;
        Ok(UnverifiedGroupRecord(GroupRecord { pool, group, attempt, written_ms, fate }))
    }
}

fn check_members(members: &[VolumeId]) -> Result<(), FormatError> {
    let count = members.len();
    let few = (1..=GROUP_MEMBERS_MAX).contains(&count);
    ensure(few, KIND.what, "members", "1 to 256", count)?;
    let ascending = members.windows(2).all(|pair| pair[0] < pair[1]);
    ensure(ascending, KIND.what, "members", "ascending volumes", "others")
}

impl UnverifiedGroupRecord {
    /// The record, if it is of this pool and of the group that its object's name says.
    pub fn verify(self, pool: PoolId, group: GroupId) -> Result<GroupRecord, FormatError> {
        same(KIND.what, "pool", pool, self.0.pool)?;
        same(KIND.what, "group", group, self.0.group)?;
        Ok(self.0)
    }

    /// The record as it was parsed, to look at.
    pub fn peek(&self) -> &GroupRecord {
        &self.0
    }
}
