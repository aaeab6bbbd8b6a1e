//! Protocols that serve volumes to guests.
//!
//! A front end translates: it parses the bytes of a protocol, checks bounds, calls a [`Device`] and completes
//! the request. It holds no policy and no cache. What a front end needs of a volume is the trait [`Device`].

#![forbid(unsafe_code)]

mod device;
pub mod nbd;
mod volume;

pub use device::{Change, Device, Exports, Extent, ExtentState, Failure, Owned, Since, Step};
