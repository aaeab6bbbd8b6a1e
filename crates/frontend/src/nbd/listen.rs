//! Where the server listens.

use std::{
    fs, io,
    net::{SocketAddr, TcpListener},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::{
            fs::{FileTypeExt, MetadataExt, PermissionsExt},
            net::{UnixListener, UnixStream},
        },
    },
    path::{Path, PathBuf},
};

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, sockopt};

/// Where to listen: at least one of the two.
#[derive(Clone, Debug, Default)]
pub struct Listeners {
    /// A unix socket, made with mode 0600. A socket file that nobody answers on is replaced.
    pub unix: Option<PathBuf>,
    /// A TCP address. The protocol has no authentication here, so it must be a loopback address unless
    /// `allow_remote` says otherwise. Port 0 takes a free one.
    pub tcp: Option<SocketAddr>,
    /// Allow a TCP address that other machines can reach.
    pub allow_remote: bool,
}

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// No address was given.
    #[error("no address to listen on: give a unix socket, a TCP address or both")]
    NoAddress,
    /// The TCP address is not a loopback one.
    #[error(
        "{address} can be reached from other machines; NBD has no password here, so this must be allowed explicitly"
    )]
    Remote {
        /// The address asked for.
        address: SocketAddr,
    },
    /// Somebody answers on the unix socket.
    #[error("{} is in use: a server answers on it", path.display())]
    InUse {
        /// The socket's path.
        path: PathBuf,
    },
    /// The path of the unix socket holds something else.
    #[error("{} exists and is not a socket; it was left alone", path.display())]
    NotASocket {
        /// The path asked for.
        path: PathBuf,
    },
    /// The operating system refused.
    #[error("cannot {action} {place}: {source}")]
    System {
        /// What was tried.
        action: &'static str,
        /// The path or address.
        place: String,
        /// Why it failed.
        source: io::Error,
    },
}

fn system(action: &'static str, place: impl ToString) -> impl FnOnce(io::Error) -> ServerError {
    let place = place.to_string();
    move |source| ServerError::System { action, place, source }
}

/// A socket that accepts connections.
#[derive(Debug)]
pub(crate) enum Listener {
    /// The file is dropped, and so removed, first.
    Unix {
        _file: SocketFile,
        listener: UnixListener,
    },
    Tcp {
        listener: TcpListener,
    },
}

impl Listener {
    pub(crate) fn open(listeners: &Listeners) -> Result<Vec<Listener>, ServerError> {
        let mut open = Vec::new();
        if let Some(path) = &listeners.unix {
            open.push(listen_unix(path)?);
        }
        if let Some(address) = listeners.tcp {
            open.push(listen_tcp(address, listeners.allow_remote)?);
        }
        if open.is_empty() { Err(ServerError::NoAddress) } else { Ok(open) }
    }

    /// A connection that waits, if one does, with its socket set up.
    pub(crate) fn accept(&self) -> io::Result<OwnedFd> {
        match self {
            Listener::Unix { listener, .. } => Ok(listener.accept()?.0.into()),
            Listener::Tcp { listener } => {
                let stream = listener.accept()?.0;
                stream.set_nodelay(true)?;
                // Finds clients that vanished without a word.
                sockopt::set_socket_keepalive(&stream, true)?;
                Ok(stream.into())
            }
        }
    }

    pub(crate) fn tcp_address(&self) -> Option<SocketAddr> {
        match self {
            Listener::Unix { .. } => None,
            Listener::Tcp { listener } => listener.local_addr().ok(),
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Listener::Unix { listener, .. } => listener.as_fd(),
            Listener::Tcp { listener } => listener.as_fd(),
        }
    }
}

/// The file of a unix socket, removed on drop if it is still ours.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|found| found.dev() == self.device && found.ino() == self.inode);
        if ours && let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove the socket file");
        }
    }
}

fn listen_tcp(address: SocketAddr, allow_remote: bool) -> Result<Listener, ServerError> {
    if !address.ip().is_loopback() && !allow_remote {
        return Err(ServerError::Remote { address });
    }
    let listener = TcpListener::bind(address).map_err(system("listen on", address))?;
    listener.set_nonblocking(true).map_err(system("listen on", address))?;
    Ok(Listener::Tcp { listener })
}

fn listen_unix(path: &Path) -> Result<Listener, ServerError> {
    remove_stale(path)?;
    let place = path.display().to_string();
    let bound = || -> io::Result<(OwnedFd, SocketFile)> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let fd = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        rustix::net::bind(&fd, &SocketAddrUnix::new(path)?)?;
        let made = fs::symlink_metadata(path)?;
        let file = SocketFile { path: path.to_owned(), device: made.dev(), inode: made.ino() };
        // Nobody can connect before `listen`, so nobody connects with the mode that the umask gave.
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        rustix::net::listen(&fd, 1024)?;
        Ok((fd, file))
    };
    let (fd, file) = bound().map_err(system("listen on", place))?;
    Ok(Listener::Unix { _file: file, listener: fd.into() })
}

/// Removes a socket file that a server left behind when it was killed.
fn remove_stale(path: &Path) -> Result<(), ServerError> {
    let place = path.display().to_string();
    let found = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(system("look at", &place))?,
    };
    if !found.file_type().is_socket() {
        return Err(ServerError::NotASocket { path: path.to_owned() });
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(system("try", &place)(error)),
        Ok(_) => return Err(ServerError::InUse { path: path.to_owned() }),
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.map_err(system("remove", &place)),
    }
}
