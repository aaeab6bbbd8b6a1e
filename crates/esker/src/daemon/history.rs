//! What a daemon answers about the states that a volume had, and how it goes back to one.

use esker_control::{ApiError, api};
use esker_engine::{EngineError, host};

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
        let rewound = match &request.new {
            Some(new) => {
                let rewound = self.host.rewind_as(name, &to, new).await.map_err(failed)?;
                // It exists from here on. If it cannot be served now, its status says why.
                let _ = self.open_volume(new, &api::OpenVolume::default()).await;
                rewound
            }
            None => {
                let clients = || self.clients(name);
                let rewound = self.host.rewind(name, &to, &clients).await;
                let closed = self.host.failures().into_iter().find(|(failed, _)| failed == name);
                if let Some((_, error)) = closed.filter(|_| served) {
                    self.not_opened(name, &error);
                }
                rewound.map_err(failed)?
            }
        };
        let head = rewound.target.number;
        let has_it = request.new.as_deref().unwrap_or(name);
        tracing::info!(volume = name, head, into = has_it, "went back");
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
