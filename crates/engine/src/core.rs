//! The pure part of the engine: values in, values out. No I/O, no clock, no randomness, no waiting.

pub mod ahead;
pub mod coalesce;
pub mod diff;
pub mod fold;
pub mod grace;
pub mod heads;
pub mod kept;
pub mod map;
pub mod policy;
pub mod slots;
pub mod space;
pub mod state;
pub mod victims;
