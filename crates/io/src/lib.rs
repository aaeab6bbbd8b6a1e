//! The edges of the engine: a local disk, an object store, time, randomness and processor time.
//!
//! Each edge is a trait with one real implementation here and one faulty, seeded implementation in
//! the simulator. Everything the engine does to the world goes through [`World`].

#![deny(unsafe_code)]

mod clock;
mod cpu;
pub mod disk;
mod emptied;
pub mod objects;
mod planted;
mod random;
pub mod sync;
mod world;

pub use clock::{Clock, SystemClock};
pub use cpu::{Cpu, CpuPool, InlineCpu, Job, run, run_first};
pub use disk::{DirectoryLock, Disk, DiskError, File, LocalDisk};
pub use emptied::emptied;
pub use objects::{Listed, Objects, OpenError, Range, StoreError, StoreErrorKind};
#[cfg(feature = "planted")]
pub use planted::plant;
pub use planted::{Bug, planted};
pub use random::{Random, SystemRandom};
pub use world::World;

use std::{future::Future, pin::Pin};

/// A future that an edge returns: boxed, so that edges can be trait objects.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
