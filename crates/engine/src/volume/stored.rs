//! What a volume is opened from.

use esker_format::{
    head::Head,
    ids::VolumeId,
    page::PageRef,
    property::{Compression, Durability, History, OnLag},
};

use super::Volume;
use crate::pieces::Pieces;

/// The settings of a volume after inheritance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Effective {
    /// What may be lost with the host.
    pub durability: Durability,
    /// How frames are compressed.
    pub compression: Compression,
    /// What happens while the store lags behind.
    pub on_lag: OnLag,
    /// How long old heads stay reachable.
    pub history: History,
}

/// What a volume is called and how it is set.
pub(crate) struct Identity {
    pub(crate) name: String,
    pub(crate) id: VolumeId,
    /// The map of the head that it is opened from.
    pub(crate) stored: StoredMap,
    /// The sequence of that head.
    pub(crate) sequence: u64,
    pub(crate) effective: Effective,
    /// What is in pieces of that head only, where nothing is written.
    pub(crate) pieces: Option<Pieces>,
}

/// A map in the store: its root and its size, both as a head names them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StoredMap {
    pub(crate) root: Option<PageRef>,
    pub(crate) size_bytes: u64,
    /// Up to which sequence the root holds everything.
    pub(crate) sequence: u64,
}

impl StoredMap {
    pub(crate) fn of(head: &Head) -> StoredMap {
        StoredMap { root: head.root, size_bytes: head.size_bytes, sequence: head.root_sequence }
    }
}

impl Volume {
    /// The map of the newest head.
    pub(crate) fn stored_map(&self) -> StoredMap {
        *self.stored.lock()
    }
}
