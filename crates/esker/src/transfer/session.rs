//! Who has the volume that is moved: the daemon that runs, or this process.

use std::{path::PathBuf, sync::Arc};

use anyhow::{Context, bail};
use esker_control::{
    ApiError, Client, Daemon as _, ErrorKind,
    api::{CreateVolume, Figures, OpenVolume, ResizeVolume, SetProperties, Volume, VolumeState},
};
use esker_engine::{host::Host, volume::Limits};
use esker_format::{head::HeadKind, ids::DirectoryId};
use esker_frontend::nbd;
use tokio::runtime::Handle;

use crate::{
    access::{CACHE_BYTES, Place, open_pool},
    catalogue::is_snapshot,
    commands::serve::{self, Drained, Settings, Started, drain},
    daemon::{Daemon, Told},
    exit::Exit,
    output::complain,
    progress::during,
    store,
};

/// What is known of a volume that is open.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    pub(crate) id: String,
    pub(crate) size_bytes: u64,
    /// Equal sequences mean equal contents.
    pub(crate) sequence: u64,
}

/// Volumes that can be reached over NBD.
pub(crate) enum Session {
    /// The daemon that runs has them.
    Asked { client: Client, socket: PathBuf },
    /// This process has them.
    Here { daemon: Arc<Daemon>, server: nbd::Server, started: Option<Started> },
}

impl Session {
    /// For changes to volumes: asks the daemon, or takes the data directory as `serve` does.
    pub(crate) async fn to_write(place: &Place) -> anyhow::Result<Session> {
        match Session::asked(place).await? {
            Some(session) => Ok(session),
            None => Session::started(place).await,
        }
    }

    /// For reading `name`: asks the daemon, or opens the last commit beside whoever writes it. What the local log
    /// holds may be newer than that, so where there is one, it is opened as `serve` does.
    pub(crate) async fn to_read(place: &Place, name: &str) -> anyhow::Result<Session> {
        if let Some(session) = Session::asked(place).await? {
            return Ok(session);
        }
        let edges = store::existing(&place.url()?)?;
        let pool = open_pool(edges.world, CACHE_BYTES).await?;
        let volume = pool.lookup(name).await?;
        if volume
            .is_some_and(|volume| place.data().volumes_with_log().is_ok_and(|logs| logs.contains(&volume)))
        {
            return Session::started(place).await;
        }
        let directory = DirectoryId(pool.world().random.id());
        let host = Host::new(Arc::new(pool), directory, Limits::default(), Arc::new(|_| {}));
        let told = Told { cache_bytes: CACHE_BYTES, ..Told::default() };
        Session::here(Daemon::new(host, edges.traffic, place.data(), told), None)
    }

    async fn asked(place: &Place) -> anyhow::Result<Option<Session>> {
        if place.pool.is_some() {
            return Ok(None);
        }
        let client = place.daemon().await?;
        Ok(client.map(|client| Session::Asked { client, socket: place.data().nbd_socket() }))
    }

    async fn started(place: &Place) -> anyhow::Result<Session> {
        store::must_exist(&place.url()?)?;
        let started = during("opening the pool", Settings::of(place).start()).await?;
        Session::here(started.daemon.clone(), Some(started))
    }

    fn here(daemon: Arc<Daemon>, started: Option<Started>) -> anyhow::Result<Session> {
        let server = nbd::Server::private(daemon.host.clone(), Handle::current())?;
        Ok(Session::Here { daemon, server, started })
    }

    /// What is known of a volume; none when there is none of that name.
    pub(crate) async fn find(&self, name: &str) -> anyhow::Result<Option<Volume>> {
        let found = match self {
            Session::Asked { client, .. } => client.volume(name).await,
            Session::Here { daemon, .. } => daemon.clone().volume(name.to_owned()).await,
        };
        match found {
            Ok(volume) => Ok(Some(volume)),
            Err(ApiError { kind: ErrorKind::NotFound, .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes a volume.
    pub(crate) async fn create(&self, wanted: &CreateVolume) -> anyhow::Result<()> {
        match self {
            Session::Asked { client, .. } => during("creating", client.create(wanted)).await?,
            Session::Here { daemon, .. } => during("creating", daemon.clone().create(wanted.clone())).await?,
        };
        Ok(())
    }

    /// Gives a volume that is open another size.
    pub(crate) async fn resize(&self, name: &str, wanted: &ResizeVolume) -> anyhow::Result<()> {
        match self {
            Session::Asked { client, .. } => during("resizing", client.resize(name, wanted)).await?,
            Session::Here { daemon, .. } => {
                during("resizing", daemon.clone().resize(name.to_owned(), *wanted)).await?
            }
        };
        Ok(())
    }

    /// Changes properties of a volume that is open.
    pub(crate) async fn set(&self, name: &str, wanted: &SetProperties) -> anyhow::Result<()> {
        match self {
            Session::Asked { client, .. } => during("changing", client.set(name, wanted)).await?,
            Session::Here { daemon, .. } => {
                during("changing", daemon.clone().set(name.to_owned(), wanted.clone())).await?
            }
        };
        Ok(())
    }

    /// Opens `volume`, if nobody has. A snapshot is opened by who connects to it.
    pub(crate) async fn open(&self, volume: &Volume) -> anyhow::Result<Facts> {
        let name = &volume.name;
        if is_snapshot(name) {
            return self.facts(name).await;
        }
        if let Session::Here { daemon, started, .. } = self {
            let request = OpenVolume { discard_after: None, read_only: started.is_none() };
            let head = match daemon.host.pool().lookup(name).await? {
                Some(id) => daemon.host.pool().newest_head(id).await?.head,
                None => bail!("volume {name} is gone"),
            };
            match started {
                Some(started) => serve::check_free(name, &head, started.directory)?,
                None if head.kind != HeadKind::Released => {
                    let number = head.number;
                    complain(&format!(
                        "volume {name} is open elsewhere: this is its last commit, head {number}"
                    ))?;
                }
                None => {}
            }
            during("opening", daemon.open_volume(name, &request)).await?;
        }
        self.facts(name).await
    }

    /// What is known of a volume that is served, or of a snapshot.
    pub(crate) async fn facts(&self, name: &str) -> anyhow::Result<Facts> {
        if is_snapshot(name) {
            let found = self.find(name).await?.with_context(|| format!("snapshot {name} is gone"))?;
            let stored = found.stored.with_context(|| found.problem.unwrap_or_default())?;
            anyhow::ensure!(stored.kind == "frozen", "snapshot {name} was never finished");
            return Ok(Facts { id: found.id, size_bytes: stored.size_bytes, sequence: stored.sequence });
        }
        let status = match self {
            Session::Asked { client, .. } => client.status().await?,
            Session::Here { daemon, .. } => daemon.clone().status().await?,
        };
        let served = status.volumes.into_iter().find(|served| served.name == name);
        let Some(served) = served else {
            bail!(
                "the daemon of {} does not serve volume {name} now: it was started without it, or something else is done \
                 with it; esker volume open {name} serves it",
                status.data
            )
        };
        match (served.state, served.figures) {
            (
                VolumeState::Running | VolumeState::ReadOnly,
                Some(Figures { id, size_bytes, sequence, .. }),
            ) => Ok(Facts { id, size_bytes, sequence }),
            (state, _) => {
                let reason = served.problem.map(|problem| format!(": {problem}")).unwrap_or_default();
                bail!("volume {name} is {state}{reason}")
            }
        }
    }

    /// A connection to a volume that is served. Blocks.
    pub(crate) fn connect(&self, name: &str) -> anyhow::Result<nbd::Client> {
        Ok(match self {
            Session::Asked { socket, .. } => nbd::Client::connect(socket, name)?,
            Session::Here { server, .. } => {
                nbd::Client::over(server.connect().context("cannot connect to the server inside")?, name)?
            }
        })
    }

    /// Whether a daemon is asked.
    pub(crate) fn is_asked(&self) -> bool {
        matches!(self, Session::Asked { .. })
    }

    /// Brings what this process has opened into the store, and gives it back.
    pub(crate) async fn end(&self) -> Exit {
        let Session::Here { daemon, started: Some(_), .. } = self else { return Exit::Done };
        match drain(daemon, None).await {
            Drained::All => Exit::Done,
            Drained::NotAll => Exit::NotAllStored,
        }
    }
}
