//! Volumes and the pool: log, map, seal, upload, commit, fetch, recover, reclaim.
//!
//! `core` is pure: it takes values and returns values. Around it stand the few places that touch
//! the world, one for each dangerous thing: [`fetch`] reads remote bytes, [`upload`] writes them,
//! [`commit`] makes heads, [`recover`] makes a running volume, [`reclaim`] deletes.
#![forbid(unsafe_code)]

mod ahead;
pub mod birth;
mod budget;
pub mod cache;
pub mod check;
pub mod checkpoint;
pub mod commit;
pub mod core;
mod delete;
pub mod diff;
pub mod error;
pub mod fetch;
pub mod host;
mod log;
mod pace;
mod permits;
pub mod pieces;
pub mod pool;
mod prefetch;
pub mod reclaim;
pub mod recover;
mod seal;
mod segment_ids;
pub mod space;
pub mod table;
#[cfg(test)]
mod testing;
pub mod upload;
mod uses;
pub mod volume;

pub use error::{EngineError, Result};
