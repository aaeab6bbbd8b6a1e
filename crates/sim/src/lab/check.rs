//! What the store holds, looked at by somebody who takes no part.

use std::sync::Arc;

use esker_engine::pool::Pool;

use super::{CACHE_BYTES, Lab, Outcome, VOLUME, violation};
use crate::Task;

impl Lab {
    /// Everything that a volume's heads name is there and whole (I5).
    pub fn check_pool(&mut self) -> Outcome {
        self.check_roots_after_reclaim()?;
        self.check_groups()?;
        self.check_kept()?;
        let check = self.begin_check();
        self.end_check(check)
    }

    /// Starts to look.
    pub fn begin_check(&mut self) -> Task<Result<(), String>> {
        let world = self.auditor.world();
        self.auditor.spawn("audit", async move {
            let pool = Pool::open(world, CACHE_BYTES).await.map_err(|error| error.to_string())?;
            let report = esker_engine::check::check(&pool, &[], |_, _| ()).await;
            let problems = report.map_err(|error| error.to_string())?.problems;
            match problems.first() {
                None => Ok(()),
                Some(first) => Err(format!(
                    "{} problems in the pool, the first: {}: {}",
                    problems.len(),
                    first.object,
                    first.message
                )),
            }
        })
    }

    /// Waits for what was found.
    pub fn end_check(&mut self, check: Task<Result<(), String>>) -> Outcome {
        self.wait(check)?.map_err(violation)
    }

    /// What the store holds of the volume, read by somebody else, is all of its history.
    pub fn check_committed(&mut self) -> Outcome {
        let size = self.size.now() as usize;
        let image: Vec<u8> = self.audit(async move |pool: Arc<Pool>| {
            let id = pool.lookup(VOLUME).await.map_err(|error| error.to_string())?;
            let id = id.ok_or("the volume has no name")?;
            let volume = esker_engine::recover::open_read_only(pool, VOLUME, id).await;
            let volume = volume.map_err(|error| error.to_string())?;
            volume.read_later(0, size).await.map_err(|error| error.to_string())
        })?;
        self.book.compare(0, &image).map_err(|message| violation(format!("in the store: {message}")))
    }
}
