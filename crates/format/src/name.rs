//! A name record: what the name of a volume or a snapshot stands for from this number of its chain on.
//!
//! ```text
//! envelope "ESKRNAME" version 1
//!   pool 16 │ number u64 │ attempt 16 │ written u64, ms since 1970
//!   previous record's attempt: u8 0, or u8 1 │ 16
//!   state: u8 0 free, or u8 1 bound │ volume 16
//!   name: length u16 │ bytes
//! ```

use crate::envelope::{self, Kind};
use crate::error::{ensure, same};
use crate::ids::excerpt;
use crate::names::valid_name;
use crate::wire::{Put, Reader};
use crate::{AttemptId, FormatError, PoolId, VolumeId};

pub(crate) const KIND: Kind = Kind { what: "name record", magic: b"ESKRNAME", version: 1 };

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameState {
    /// A volume.
    Bound(VolumeId),
    /// Nothing; it can be taken.
    Free,
}

/// An object under `names/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameRecord {
    /// The pool.
    pub pool: PoolId,
    /// The name.
    pub name: String,
    /// The record's number in the chain, from 1.
    pub number: u64,
    /// Who wrote this object.
    pub attempt: AttemptId,
    /// The attempt of the record before; none for number 1 only.
    pub previous: Option<AttemptId>,
    /// When, in milliseconds since 1970, by the writer's clock.
    pub written_ms: u64,
    /// What the name stands for.
    pub state: NameState,
}

/// A name record that was only parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnverifiedNameRecord(NameRecord);

impl NameRecord {
    /// The object's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let name_bytes = u16::try_from(self.name.len()).expect("a valid volume name");
        envelope::wrap(&KIND, |out| {
            out.put(&self.pool.0);
            out.put_u64(self.number);
            out.put(&self.attempt.0);
            out.put_u64(self.written_ms);
            out.put_u8(u8::from(self.previous.is_some()));
            if let Some(previous) = self.previous {
                out.put(&previous.0);
            }
            match self.state {
                NameState::Free => out.put_u8(0),
                NameState::Bound(volume) => {
                    out.put_u8(1);
                    out.put(&volume.0);
                }
            }
            out.put_u16(name_bytes);
            out.put(self.name.as_bytes());
        })
    }

    /// Reads a whole object.
    pub fn parse(bytes: &[u8]) -> Result<UnverifiedNameRecord, FormatError> {
        let mut from = Reader::new(KIND.what, envelope::unwrap(&KIND, bytes)?);
        let pool = PoolId(from.array("pool")?);
        let number = from.u64("number")?;
        let attempt = AttemptId(from.array("attempt")?);
        let written_ms = from.u64("time")?;
        let previous = match from.u8("previous")? {
            0 => None,
            1 => Some(AttemptId(from.array("previous attempt")?)),
            kind => return Err(FormatError::newer(KIND.what, "previous", "0 or 1", kind)),
        };
        let state = match from.u8("state")? {
            0 => NameState::Free,
            1 => NameState::Bound(VolumeId(from.array("volume")?)),
            kind => return Err(FormatError::newer(KIND.what, "state", "0 or 1", kind)),
        };
        let length = from.u16("name length")?;
        let name = String::from_utf8_lossy(from.take("name", usize::from(length))?).into_owned();
        valid_name(&name)?;
        from.finish()?;
        Ok(UnverifiedNameRecord(NameRecord { pool, name, number, attempt, previous, written_ms, state }))
    }
}

impl UnverifiedNameRecord {
    /// The record, if it is of this pool and is what its object's name says.
    pub fn verify(self, pool: PoolId, name: &str, number: u64) -> Result<NameRecord, FormatError> {
        let record = self.0;
        same(KIND.what, "pool", pool, record.pool)?;
        same(KIND.what, "name", excerpt(name), excerpt(&record.name))?;
        same(KIND.what, "number", number, record.number)?;
        let chained = number > 0 && (number == 1) == record.previous.is_none();
        ensure(
            chained,
            KIND.what,
            "previous",
            "the attempt of the record before, none for number 1",
            number,
        )?;
        Ok(record)
    }

    /// The record as it was parsed, to look at.
    pub fn peek(&self) -> &NameRecord {
        &self.0
    }
}
