//! What a front end needs of a volume.
//!
//! The quick form of a call ([`Device::read`], [`Device::change`]) runs to its end on the connection's thread
//! and never waits for the store. Where it would have to, it answers [`Step::Later`] and has done nothing; the
//! front end then calls the `_later` form, whose future may wait.

use std::{fmt, sync::Arc, time::Duration};

pub use esker_engine::volume::{Change, OwnedChange as Owned};
use futures_util::future::BoxFuture;

/// What came of the quick form of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Done: a read's buffer is filled, a change is in the log.
    Done,
    /// Not done, and it will not be.
    Failed(Failure),
    /// Not done: call the `_later` form.
    Later,
}

/// Why a request failed, as far as a guest can act on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The data cannot be read or the log cannot be written.
    Io,
    /// There is no space left for what is to be written.
    NoSpace,
    /// The volume is served read-only.
    ReadOnly,
    /// The request makes no sense for this volume.
    Invalid,
    /// The volume is being closed.
    Shutdown,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Failure::Io => "input/output error",
            Failure::NoSpace => "no space left",
            Failure::ReadOnly => "the volume is read-only",
            Failure::Invalid => "invalid request",
            Failure::Shutdown => "the volume is being closed",
        })
    }
}

/// What is known of a range without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExtentState {
    /// Holds data, or it is not known.
    Data,
    /// Was never written or was trimmed; reads as zeros.
    Hole,
    /// Was written with zeros; reads as zeros.
    Zero,
}

/// `length` bytes of one state, following the extent before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Bytes, never zero.
    pub length: u64,
    /// What they are.
    pub state: ExtentState,
}

/// A comparison of a device with an earlier state of it, or of another one.
pub trait Since: Send + Sync + 'static {
    /// Which of `length` bytes at `offset` have changed, as (bytes, changed) in order from the first byte on: at most
    /// `most` stretches, so that less may be covered, but at least one.
    fn changed(
        self: Arc<Self>,
        offset: u64,
        length: u64,
        most: usize,
    ) -> BoxFuture<'static, Result<Vec<(u64, bool)>, Failure>>;
}

/// A volume as a front end sees it. All methods may be called from many threads at once.
pub trait Device: Send + Sync + 'static {
    /// The volume's name.
    fn name(&self) -> &str;

    /// The volume's size now. Every other call stays below it, as it was a moment ago: a call beyond it fails.
    fn size_bytes(&self) -> u64;

    /// Whether changes are refused.
    fn read_only(&self) -> bool;

    /// Fills `buffer` from `offset` on. After anything but [`Step::Done`] the buffer's contents are unspecified.
    fn read(&self, offset: u64, buffer: &mut [u8]) -> Step;

    /// Reads `length` bytes from `offset` on.
    fn read_later(
        self: Arc<Self>,
        offset: u64,
        length: usize,
    ) -> BoxFuture<'static, Result<Vec<u8>, Failure>>;

    /// Makes the changes in order and pushes one step for each. The whole batch goes to the log at once.
    fn change(&self, batch: &[Change<'_>], steps: &mut Vec<Step>);

    /// How long the same connection waits before it changes more, after `bytes` of changes were answered: longer
    /// than nothing when the device is being filled faster than it empties. Short: its reads wait as well meanwhile.
    fn pause_after(&self, bytes: u64) -> Duration {
        let _ = bytes;
        Duration::ZERO
    }

    /// How many processors the device keeps busy, or would, with work that no request waits for.
    fn background_jobs(&self) -> usize {
        0
    }

    /// Makes one change.
    fn change_later(self: Arc<Self>, change: Owned) -> BoxFuture<'static, Result<(), Failure>>;

    /// Blocks until everything that was acknowledged before the call is on stable storage here. [`Step::Later`]: it has
    /// to be in a store too, so call [`Device::stored_later`].
    fn flush(&self) -> Step;

    /// Waits until a store has everything that was acknowledged before the call.
    fn stored_later(self: Arc<Self>) -> BoxFuture<'static, Result<(), Failure>> {
        Box::pin(async { Ok(()) })
    }

    /// Pushes what is known of the range: extents in order that together cover exactly `length` bytes, or fewer where
    /// the device ends. After anything but [`Step::Done`] what was pushed says nothing.
    fn extents(&self, offset: u64, length: u64, out: &mut Vec<Extent>) -> Step;

    /// What is known of the range, as [`Device::extents`] has it.
    fn extents_later(
        self: Arc<Self>,
        offset: u64,
        length: u64,
    ) -> BoxFuture<'static, Result<Vec<Extent>, Failure>>;

    /// Brings the range near, so that later reads are quick.
    fn cache(self: Arc<Self>, offset: u64, length: u64) -> BoxFuture<'static, Result<(), Failure>>;

    /// The names of earlier states that it can be compared with; there may be more that are not told.
    fn states(self: Arc<Self>) -> BoxFuture<'static, Vec<String>> {
        Box::pin(async { Vec::new() })
    }

    /// Compares it with an earlier state; `None` when there is none of that name.
    fn since(self: Arc<Self>, state: String) -> BoxFuture<'static, Option<Arc<dyn Since>>> {
        drop(state);
        Box::pin(async { None })
    }
}

/// The volumes that can be served.
pub trait Exports: Send + Sync + 'static {
    /// The device of this name. The empty name asks for the default, where there is one.
    fn find(&self, name: &str) -> Option<Arc<dyn Device>>;

    /// Opens what [`Exports::find`] does not know, for somebody who asks for it by name; none when that makes no sense.
    fn open(&self, name: &str) -> Option<BoxFuture<'_, Option<Arc<dyn Device>>>> {
        let _ = name;
        None
    }

    /// The names of all volumes that are served to whoever asks what there is.
    fn names(&self) -> Vec<String>;
}
