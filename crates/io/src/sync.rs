//! Locks, atomics and wake-ups as the engine uses them.
//!
//! The engine takes all of these from here and never from `std`, so that a model checker of
//! interleavings can stand in for them in one place. A poisoned lock means that a thread panicked
//! halfway through a change; what it guards is no longer believed, and the wrappers panic.

mod counter;
mod event;
mod lock;
mod select;
#[allow(unsafe_code)]
mod sharded;

pub use counter::Counter;
pub use event::Event;
pub use lock::{Condvar, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};
pub use select::{Either, either, timeout};
pub use sharded::{ReadGuard, Sharded, WriteGuard};
pub use std::sync::{Arc, OnceLock, Weak};

/// Atomic integers and their orderings.
pub mod atomic {
    pub use std::sync::atomic::{
        AtomicBool, AtomicI64, AtomicPtr, AtomicU8, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering,
        fence,
    };
}
