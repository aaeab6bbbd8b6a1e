//! What a status says of the end of the log.

use super::Appender;

impl Appender {
    /// Monotonic milliseconds of the oldest record that no applied commit covers.
    pub(crate) fn oldest_ms(&self) -> Option<u64> {
        self.pending.front().map(|pending| pending.at_ms)
    }

    /// Files of the log, in use and spare.
    pub(crate) fn files(&self) -> usize {
        self.files.count()
    }
}
