//! What a scenario looks at or does behind the engine's back.

use esker_engine::pool::Pool;
use esker_format::{
    head::Head,
    ids::{AttemptId, VolumeId},
    names::{self, ObjectName},
    property::Properties,
};

use super::{CACHE_BYTES, Lab, Outcome, VOLUME, violation};

impl Lab {
    /// Lets virtual time pass, a millisecond at a time, until something is so; it has to come within a minute.
    pub fn run_until(&mut self, what: &str, mut is_so: impl FnMut(&mut Self) -> bool) -> Outcome {
        for _ in 0..60_000 {
            if is_so(self) {
                return Ok(());
            }
            self.run_ms(1)?;
        }
        Err(violation(format!("{what}: not within a minute")))
    }

    /// The last sequence that is in the owner's log.
    pub fn last(&self) -> u64 {
        self.book.last()
    }

    /// Log bytes of the owner's volume that no segment in the store holds.
    pub fn dirty(&self) -> u64 {
        self.volume(self.owner()).dirty_bytes()
    }

    /// The store has every write of the owner's volume, in segments or in pieces.
    pub fn expect_stored(&self) -> Outcome {
        let volume = self.volume(self.owner());
        let (committed, last) = (volume.committed_sequence(), volume.last_sequence());
        if committed == last && volume.status().lag_ms == 0 {
            return Ok(());
        }
        Err(violation(format!("the store has {committed:?} of {last:?}")))
    }

    /// The names of all heads in the store.
    pub fn head_names(&self) -> Vec<String> {
        let names = self.machine.store().names(&names::volumes());
        names.into_iter().filter(|name| matches!(names::parse(name), Some(ObjectName::Head { .. }))).collect()
    }

    fn newest_head(&self) -> Option<(VolumeId, u64, String)> {
        let number = |name: String| match names::parse(&name) {
            Some(ObjectName::Head { volume, number }) => Some((volume, number, name)),
            _ => None,
        };
        self.head_names().into_iter().filter_map(number).max_by_key(|(_, number, _)| *number)
    }

    /// The numbers of the volume's heads in the store, ascending.
    pub fn volume_heads(&self) -> Outcome<Vec<u64>> {
        let open = self.sites.iter().find_map(|site| site.volume.as_ref());
        let id = open.ok_or_else(|| violation("no site has had the volume"))?.id();
        let number = |name: String| match names::parse(&name) {
            Some(ObjectName::Head { volume, number }) => (volume == id).then_some(number),
            _ => None,
        };
        let mut numbers: Vec<u64> = self.head_names().into_iter().filter_map(number).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// The highest of them.
    pub fn volume_head(&self) -> Outcome<u64> {
        self.volume_heads()?.last().copied().ok_or_else(|| violation("the volume has no head"))
    }

    /// The highest number of a head in the store.
    pub fn newest_number(&self) -> u64 {
        self.newest_head().map_or(0, |(_, number, _)| number)
    }

    /// Puts a head on top that chains to none.
    pub fn plant_stray(&mut self) -> Outcome {
        let (volume, number, name) = self.newest_head().ok_or_else(|| violation("there is no head"))?;
        let bytes = self.machine.store().object(&name).ok_or_else(|| violation("the head is gone"))?;
        let parsed = Head::parse(&bytes).map_err(violation)?;
        let mut stray = parsed.peek().clone();
        stray.number = number + 1;
        stray.attempt = AttemptId([7; 16]);
        stray.tail.clear();
        stray.pieces.clear();
        stray.piece.clear();
        stray.sequence = stray.root_sequence;
        self.machine.store().replace(&names::head(volume, number + 1), Some(stray.encode().into()));
        Ok(())
    }

    /// The log chunk at a site that was created last.
    pub fn newest_chunk(&self, site: usize) -> Outcome<String> {
        let disk = self.sites[site].host.world().disk;
        let mut path = "logs".to_owned();
        for _ in 0..3 {
            let entries = disk.list(&path).map_err(violation)?;
            let last = entries.last().ok_or_else(|| violation(format!("{path} is empty")))?;
            path = format!("{path}/{}", last.name);
        }
        Ok(path)
    }

    /// Reads blocks at the owner, which may fail.
    pub fn try_read(&mut self, lba: u64, blocks: u64) -> Outcome<Result<Vec<u8>, esker_engine::EngineError>> {
        let owner = self.owner();
        let reading = self.volume(owner).read_later(lba * 4096, blocks as usize * 4096);
        let task = self.sites[owner].host.spawn("read", reading);
        self.wait(task)
    }

    /// Compares bytes that were read with the model.
    pub fn compare(&self, lba: u64, found: &[u8]) -> Outcome {
        self.book.compare(lba, found).map_err(violation)
    }

    /// The scenario ends here: the volume cannot be opened any more, as it should be.
    pub fn end(&mut self) -> Outcome {
        self.ended = true;
        Ok(())
    }

    /// Whether the scenario ended with a volume that cannot be opened.
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// Makes the pool anew from a site, with the probe of the store, and the volume in it.
    pub fn remake_pool(&mut self, site: usize) -> Outcome {
        let store = self.machine.store();
        for name in store.names("") {
            store.replace(&name, None);
        }
        let world = self.sites[site].host.world();
        let task = self.sites[site].host.spawn("make pool", async move {
            Pool::create(world, Properties::default(), CACHE_BYTES).await.map(drop)
        });
        self.pool_lost = true;
        self.wait(task)?.map_err(violation)?;
        self.create_volume(VOLUME)?;
        self.pool_lost = false;
        Ok(())
    }

    /// After a crash while the pool was made, somebody makes it again.
    pub(crate) fn mend_pool(&mut self) -> Outcome {
        if !self.pool_lost {
            return Ok(());
        }
        let world = self.auditor.world();
        let task = self.auditor.spawn("make pool", async move {
            let pool = Pool::create(world, Properties::default(), CACHE_BYTES).await?;
            pool.lookup(VOLUME).await
        });
        let found = self.wait(task)?.map_err(violation)?;
        if found.is_none() {
            self.create_volume(VOLUME)?;
        }
        self.pool_lost = false;
        Ok(())
    }
}
