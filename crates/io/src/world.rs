//! Everything that the engine may touch, handed down explicitly.

use std::sync::Arc;

use crate::{Clock, Cpu, Disk, Objects, Random};

/// The edges of one run of the engine. Cheap to clone.
#[derive(Clone)]
pub struct World {
    /// The local directory with logs.
    pub disk: Arc<dyn Disk>,
    /// The object store, rooted at the pool's prefix.
    pub objects: Arc<dyn Objects>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness: ids, salts, jitter.
    pub random: Arc<dyn Random>,
    /// Processor time for compression, hashing and the like.
    pub cpu: Arc<dyn Cpu>,
}

impl World {
    /// How the object store is called in messages.
    pub fn store(&self) -> String {
        self.objects.describe()
    }
}
