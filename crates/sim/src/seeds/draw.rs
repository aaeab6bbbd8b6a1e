//! What a seed draws before anything happens.

use std::{fmt, time::Duration};

use esker_engine::volume::Limits;
use esker_format::property::{Durability, OnLag};

use crate::{
    Config, DiskFaults, Prng,
    lab::{Setup, small_limits},
};

/// Everything that a seed draws. Its `Display` shows all of it.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The world and the volume.
    pub setup: Setup,
    /// Operations of the safety phase.
    pub operations: u64,
    /// Distance of the writes of a batch; some overlap.
    pub stride: u64,
    /// How likely each kind of trouble is, in a thousand of all trouble, and by its number.
    pub troubles: Vec<u64>,
}

impl Plan {
    /// What `seed` draws.
    pub fn drawn(seed: u64) -> Self {
        let mut random = Prng::new(seed ^ 0x5eed);
        let mut config = Config::drawn(&mut random);
        config.steps_max = 3_000_000;
        if random.chance(150_000) {
            let ppm = *random.pick(&[500, 5_000]);
            config.disk = DiskFaults {
                write_error_ppm: ppm,
                no_space_ppm: ppm,
                sync_error_ppm: ppm,
                read_error_ppm: 0,
            };
        }
        let durability = match random.below(6) {
            0 => Durability::Ephemeral,
            5 => Durability::Sync,
            seconds => Durability::Bounded { seconds: seconds as u32 },
        };
        let on_lag = *random.pick(&[OnLag::Alarm, OnLag::Alarm, OnLag::Stall]);
        let limits = Limits {
            dirty_bytes_max: *random.pick(&[128 << 10, 1 << 20, 8 << 20, 1 << 30]),
            heads_kept: *random.pick(&[1, 2, 5, 100]),
            seal_age: Duration::from_millis(*random.pick(&[0, 2_000, 20_000, 120_000])),
            map_bytes_max: *random.pick(&[600, 6 << 10, 40 << 10, 1 << 30, 1 << 30]),
            ..small_limits()
        };
        let size_bytes = *random.pick(&[1 << 20, 2 << 20, 12 << 20]);
        let mut setup =
            Setup { seed, config, hosts: 2, size_bytes, durability, on_lag, limits, ..Setup::default() };
        let troubles = (0..super::trouble::KINDS).map(|_| *random.pick(&[0, 1, 1, 4])).collect();
        let (operations, stride) = (random.between(300, 600), random.between(1, 9));
        setup.disk_cache_bytes = *random.pick(&[0, 0, 512 << 10, 4 << 20]);
        Self { setup, operations, stride, troubles }
    }

    pub(super) fn is_bounded(&self) -> bool {
        self.setup.durability != Durability::Ephemeral
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The derived form names every field, also one that is added tomorrow.
        write!(f, "{self:?}")
    }
}
