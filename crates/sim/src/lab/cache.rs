//! The disk cache of a site.

use esker_engine::cache::DiskUsage;

use super::{Lab, Outcome, violation};

impl Lab {
    /// What a site's disk cache holds and has done.
    pub fn cache_usage(&self, site: usize) -> DiskUsage {
        self.engine(site).pool().fetcher().usage().disk
    }

    /// Writes to a site's disk cache what waits for it, as a daemon does at its end.
    pub fn close_cache(&mut self, site: usize) -> Outcome {
        let engine = self.engine(site);
        let close = async move { engine.pool().fetcher().close_disk_cache().await };
        let task = self.host(site).spawn("close", close);
        self.wait(task)
    }

    /// From here on files of the disk cache may hold anything.
    pub fn damages_cache(&mut self) {
        self.cache_damaged = true;
    }

    /// Whoever is killed leaves nothing in the disk cache that is not what it should be.
    pub(super) fn check_cache(&self, site: usize) -> Outcome {
        let refused = self.cache_usage(site).refused;
        if self.cache_damaged || refused == 0 {
            return Ok(());
        }
        Err(violation(format!(
            "{refused} entries of the disk cache are damaged, and nothing happened to them"
        )))
    }
}
