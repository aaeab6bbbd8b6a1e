//! The pool record: that a prefix of an object store is a pool, and its settings.
//!
//! ```text
//! envelope "ESKRPOOL" version 1 │ pool 16 │ attempt 16 │ created u64, ms since 1970 │ properties
//! ```

use crate::envelope::{self, Kind};
use crate::wire::{Put, Reader};
use crate::{AttemptId, FormatError, PoolId, Properties};

pub(crate) const KIND: Kind = Kind { what: "pool record", magic: b"ESKRPOOL", version: 1 };

/// The object `pool`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolRecord {
    /// The pool.
    pub pool: PoolId,
    /// Who wrote this object.
    pub attempt: AttemptId,
    /// When, in milliseconds since 1970, by the writer's clock.
    pub created_ms: u64,
    /// What volumes inherit.
    pub properties: Properties,
}

/// A pool record that was only parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnverifiedPoolRecord(PoolRecord);

impl PoolRecord {
    /// The object's bytes.
    pub fn encode(&self) -> Vec<u8> {
        envelope::wrap(&KIND, |out| {
            out.put(&self.pool.0);
            out.put(&self.attempt.0);
            out.put_u64(self.created_ms);
            self.properties.encode(out);
        })
    }

    /// Reads a whole object.
    pub fn parse(bytes: &[u8]) -> Result<UnverifiedPoolRecord, FormatError> {
        let mut from = Reader::new(KIND.what, envelope::unwrap(&KIND, bytes)?);
        let record = PoolRecord {
            pool: PoolId(from.array("pool")?),
            attempt: AttemptId(from.array("attempt")?),
            created_ms: from.u64("creation time")?,
            properties: Properties::parse(&mut from)?,
        };
        from.finish()?;
        Ok(UnverifiedPoolRecord(record))
    }
}

impl UnverifiedPoolRecord {
    /// The record. Nothing is known of a pool before its record is read, so there is no fact to compare.
    pub fn verify(self) -> Result<PoolRecord, FormatError> {
        Ok(self.0)
    }

    /// The record as it was parsed, to look at.
    pub fn peek(&self) -> &PoolRecord {
        &self.0
    }
}
