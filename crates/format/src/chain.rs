//! What the records of reclaim's own chains have in common, the segment table's and the rounds': where one stands, who
//! wrote it, and which one it follows.
//!
//! ```text
//! pool 16 │ number u64 │ attempt 16 │ run 16 │ written u64, ms since 1970
//! …                                                     what only one of them has
//! the record before: u8 0 of number 1, else u8 1 │ attempt 16 │ hash 32
//! ```

use crate::error::{ensure, same};
use crate::wire::{Put, Reader};
use crate::{AttemptId, FormatError, Hash, PoolId, RunId};

/// The record that a record follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// Who wrote it.
    pub attempt: AttemptId,
    /// The hash of its bytes.
    pub hash: Hash,
}

/// A record's place in its chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The pool.
    pub pool: PoolId,
    /// Its number in the chain, from 1.
    pub number: u64,
    /// Who wrote this object.
    pub attempt: AttemptId,
    /// The run that did.
    pub run: RunId,
    /// When, in milliseconds since 1970, by the writer's clock.
    pub written_ms: u64,
    /// The record before; none of number 1 only.
    pub previous: Option<Link>,
}

impl Place {
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        out.put(&self.pool.0);
        out.put_u64(self.number);
        out.put(&self.attempt.0);
        out.put(&self.run.0);
        out.put_u64(self.written_ms);
    }

    pub(crate) fn put_previous(&self, out: &mut Vec<u8>) {
        out.put_u8(u8::from(self.previous.is_some()));
        if let Some(previous) = self.previous {
            out.put(&previous.attempt.0);
            out.put(&previous.hash.0);
        }
    }

    /// The first part; [`Self::parse_previous`] reads the other one.
    pub(crate) fn parse(from: &mut Reader<'_>) -> Result<Place, FormatError> {
        Ok(Place {
            pool: PoolId(from.array("pool")?),
            number: from.u64("number")?,
            attempt: AttemptId(from.array("attempt")?),
            run: RunId(from.array("run")?),
            written_ms: from.u64("time")?,
            previous: None,
        })
    }

    pub(crate) fn parse_previous(
        &mut self,
        what: &'static str,
        from: &mut Reader<'_>,
    ) -> Result<(), FormatError> {
        self.previous = match from.u8("previous")? {
            0 => None,
            1 => Some(Link {
                attempt: AttemptId(from.array("previous attempt")?),
                hash: Hash(from.array("previous hash")?),
            }),
            kind => return Err(FormatError::newer(what, "previous", "0 or 1", kind)),
        };
        Ok(())
    }

    /// It is of this pool and has the number of its object's name.
    pub(crate) fn verify(&self, what: &'static str, pool: PoolId, number: u64) -> Result<(), FormatError> {
        same(what, "pool", pool, self.pool)?;
        same(what, "number", number, self.number)?;
        let chained = number > 0 && number < u64::MAX && (number == 1) == self.previous.is_none();
        ensure(chained, what, "previous", "the record before, none for number 1", number)
    }
}
