//! A writer record: which run won a writer number.
//!
//! ```text
//! envelope "ESKRWRTR" version 1 │ pool 16 │ number u32 │ run 16 │ attempt 16
//! ```

use crate::envelope::{self, Kind};
use crate::error::{ensure, same};
use crate::wire::{Put, Reader};
use crate::{AttemptId, FormatError, PoolId, RunId, SegmentId};

pub(crate) const KIND: Kind = Kind { what: "writer record", magic: b"ESKRWRTR", version: 1 };

/// An object under `writers/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriterRecord {
    /// The pool.
    pub pool: PoolId,
    /// The number that was won.
    pub number: u32,
    /// By whom.
    pub run: RunId,
    /// Who wrote this object.
    pub attempt: AttemptId,
}

/// A writer record that was only parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnverifiedWriterRecord(WriterRecord);

impl WriterRecord {
    /// The object's bytes.
    pub fn encode(&self) -> Vec<u8> {
        envelope::wrap(&KIND, |out| {
            out.put(&self.pool.0);
            out.put_u32(self.number);
            out.put(&self.run.0);
            out.put(&self.attempt.0);
        })
    }

    /// Reads a whole object.
    pub fn parse(bytes: &[u8]) -> Result<UnverifiedWriterRecord, FormatError> {
        let mut from = Reader::new(KIND.what, envelope::unwrap(&KIND, bytes)?);
        let record = WriterRecord {
            pool: PoolId(from.array("pool")?),
            number: from.u32("number")?,
            run: RunId(from.array("run")?),
            attempt: AttemptId(from.array("attempt")?),
        };
        from.finish()?;
        Ok(UnverifiedWriterRecord(record))
    }
}

impl UnverifiedWriterRecord {
    /// The record, if it is of this pool and has the number of its object's name.
    pub fn verify(self, pool: PoolId, number: u32) -> Result<WriterRecord, FormatError> {
        let record = self.0;
        same(KIND.what, "pool", pool, record.pool)?;
        same(KIND.what, "number", number, record.number)?;
        ensure((1..SegmentId::WRITERS).contains(&number), KIND.what, "number", "1 to 2^22", number)?;
        Ok(record)
    }

    /// The record as it was parsed, to look at.
    pub fn peek(&self) -> &WriterRecord {
        &self.0
    }
}
