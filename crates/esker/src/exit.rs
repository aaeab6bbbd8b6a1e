//! How the process ends. A wrong command line ends it with 2, before anything here.

/// The outcome of a command that could do its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It did what was asked, and nothing is wrong.
    Done,
    /// It could not, or it found something wrong.
    Failed,
    /// The daemon stopped before everything was in the store.
    NotAllStored,
}

impl Exit {
    /// The process's exit code.
    pub(crate) fn code(self) -> i32 {
        match self {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::NotAllStored => 3,
        }
    }
}
