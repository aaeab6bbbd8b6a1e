//! Whether an interrupted import may go on.
//!
//! A mark says: up to `done_bytes` everything is in the volume, nothing behind it is, and the volume's sequence was
//! this. What the import wrote after the mark is not known: it lies in the window behind it. Each write of the import
//! is one record of the log, so one sequence. So if the volume's sequence is higher by exactly the number of
//! those writes of the window that are found in the volume, nobody else has written, and the import goes on at the
//! mark. It writes the window once more.

use esker_frontend::nbd::client::{Answer, Ask};

use super::copy::Copy;
use crate::transfer::Mark;

impl Copy {
    /// Whether only the interrupted import has changed the volume since the mark.
    pub(super) fn is_untouched(&mut self, mark: &Mark, sequence: u64) -> anyhow::Result<bool> {
        let Some(since) = sequence.checked_sub(mark.sequence) else { return Ok(false) };
        if since == 0 {
            return Ok(true);
        }
        let mut landed = 0;
        self.window(mark.done_bytes, |client, offset, data| {
            let found = client.call(&Ask::Read { offset, length: data.len() as u32 })?;
            landed += u64::from(matches!(found, Answer::Data(_, found) if found == data));
            Ok(())
        })?;
        Ok(landed == since)
    }
}
