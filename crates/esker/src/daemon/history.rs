//! What a daemon answers about the states that a volume had, and how it goes back to one.

use esker_control::{ApiError, ErrorKind, api};
use esker_engine::{EngineError, host, pool::Point};
use esker_format::Time;

use super::Daemon;
use crate::{catalogue, errors};

impl Daemon {
    pub(super) async fn history_now(&self, name: &str) -> Result<api::History, ApiError> {
        let failed = |error: EngineError| errors::api(&error);
        let points = self.host.history(name).await.map_err(failed)?;
        catalogue::history(self.host.pool(), name, &points).await.map_err(failed)
    }

    /// Goes back, and serves what is to be served.
    pub(crate) async fn rewind_now(
        &self,
        name: &str,
        request: api::RewindVolume,
    ) -> Result<api::Rewound, ApiError> {
        self.check_not_draining()?;
        let failed = |error: EngineError| errors::api(&error);
        let to = match request.to {
            api::Target::Head(number) => host::Target::Head(number),
            api::Target::TimeMs(ms) => host::Target::Time(ms),
            api::Target::Snapshot(name) => host::Target::Snapshot(name),
        };
        let served = self.host.volume(name).is_some();
        let (has_it, rewound) = match &request.new {
            Some(new) => {
                let rewound = self.host.rewind_as(name, &to, new).await;
                (new.as_str(), rewound.map_err(failed)?)
            }
            None => {
                let clients = || self.clients(name);
                (name, self.host.rewind(name, &to, &clients).await.map_err(failed)?)
            }
        };
        let head = rewound.target.number;
        tracing::info!(volume = name, head, as = has_it, "went back");
        if (served || request.new.is_some()) && self.host.volume(has_it).is_none() {
            // It is what it should be. If it cannot be served now, its status says why.
            let _ = self.open_volume(has_it, &api::OpenVolume::default()).await;
        }
        Ok(api::Rewound {
            name: has_it.to_owned(),
            head,
            written_ms: rewound.target.written_ms,
            size_bytes: rewound.target.size_bytes,
            kept: rewound.kept,
        })
    }

    /// How many connections there are to a volume.
    fn clients(&self, name: &str) -> u64 {
        let traffic = self.nbd.get().map(|nbd| nbd.traffic()).unwrap_or_default();
        traffic.get(name).map_or(0, |traffic| traffic.connections)
    }
}
