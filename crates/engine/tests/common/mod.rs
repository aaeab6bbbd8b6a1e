//! What tests of the engine on real edges begin with.

use std::{path::Path, sync::Arc};

use esker_engine::{host::Host, pool::Pool, volume::Limits};
use esker_format::{ids::DirectoryId, property::Properties};
use esker_io::{InlineCpu, LocalDisk, Objects, SystemClock, SystemRandom, World};

/// A run in a directory, with a pool in `objects` that is made if there is none.
pub(crate) async fn host(directory: &Path, objects: Arc<dyn Objects>, id: u8, limits: Limits) -> Host {
    let world = World {
        disk: Arc::new(LocalDisk::open(directory).expect("a directory")),
        objects,
        clock: Arc::new(SystemClock::new()),
        random: Arc::new(SystemRandom),
        cpu: Arc::new(InlineCpu),
    };
    let pool = Pool::create(world, Properties::default(), 8 << 20).await.expect("a pool");
    let spawn = Arc::new(|work| {
        tokio::spawn(work);
    });
    Host::new(Arc::new(pool), DirectoryId([id; 16]), limits, spawn)
}
