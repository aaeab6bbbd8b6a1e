//! Deterministic simulation: one seed gives one schedule, one set of faults and one trace digest.
//!
//! A [`Machine`] holds an [`Executor`] with virtual time, one object store and any number of hosts. Each host
//! has a disk whose durability is modelled write by write, a clock, a random generator and a processor; its
//! [`esker_io::World`] is what the engine gets. Everything runs on the caller's thread.
#![forbid(unsafe_code)]

mod clock;
mod config;
mod disk;
pub mod enumerate;
mod executor;
pub mod family;
pub mod hunt;
pub mod lab;
mod machine;
mod model;
mod prng;
mod run;
pub mod scenarios;
pub mod seeds;
mod stamp;
mod store;
mod task;
mod trace;

pub use clock::{SimClock, SimCpu};
pub use config::{Config, DiskFaults, Latency, StoreFaults};
pub use disk::{FakeDisk, Survival, SyncFault, WriteFault};
pub use executor::{Executor, Group, Halt};
pub use machine::{Host, Machine};
pub use model::{Loss, Model, Operation};
pub use prng::{Prng, SimRandom};
pub use run::{Hold, Side};
pub use stamp::Stamp;
pub use store::{Counts, FakeStore, Request, StoreFault, When};
pub use task::{Cancelled, Task};
pub use trace::Trace;
