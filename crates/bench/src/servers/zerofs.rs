//! ZeroFS: its NBD exports are files in a directory of its file system, made through its 9P server.
//!
//! Only as much of 9P2000.L is spoken as making one file of a size takes. A message is its length, a type, a tag and
//! fields, all little-endian; a text is its length in two bytes and the text.

use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, ensure};

const VERSION: u8 = 100;
const ATTACH: u8 = 104;
const WALK: u8 = 110;
const CREATE: u8 = 14;
const SET_ATTRIBUTES: u8 = 26;
const NO_TAG: u16 = u16::MAX;
const NO_FID: u32 = u32::MAX;
const MESSAGE_BYTES_MAX: u32 = 64 << 10;
const READ_WRITE: u32 = 2;
const SIZE_IS_SET: u32 = 8;
const ROOT: u32 = 1;
const FILE: u32 = 2;

/// Its configuration, and how it is started.
pub(super) fn command(directory: &Path, socket: &Path) -> Result<Command> {
    let config = directory.join("zerofs.toml");
    let (place, socket) = (directory.display(), socket.display());
    // As much memory as Esker has for frames; no TCP.
    let text = format!(
        "[cache]\ndir = \"{place}/cache\"\ndisk_size_gb = 8.0\nmemory_size_gb = 1.0\n\
         [storage]\nurl = \"file://{place}/store\"\nencryption_password = \"of a measurement\"\n\
         [servers.ninep]\naddresses = []\nunix_socket = \"{place}/9p.sock\"\n\
         [servers.nbd]\naddresses = []\nunix_socket = \"{socket}\"\n"
    );
    std::fs::create_dir_all(directory.join("store"))?;
    std::fs::create_dir_all(directory.join("cache"))?;
    std::fs::write(&config, text)?;
    let mut command = Command::new("zerofs");
    command.arg("run").arg("-c").arg(config);
    Ok(command)
}

/// Whether files can be made.
pub(super) fn is_up(directory: &Path) -> bool {
    UnixStream::connect(files_socket(directory)).is_ok()
}

fn files_socket(directory: &Path) -> PathBuf {
    directory.join("9p.sock")
}

/// Makes the export `name`.
pub(super) fn make_export(directory: &Path, name: &str, size_bytes: u64) -> Result<()> {
    let mut files = Files(UnixStream::connect(files_socket(directory))?);
    files.0.set_read_timeout(Some(Duration::from_secs(30)))?;
    let version = [MESSAGE_BYTES_MAX.to_le_bytes().to_vec(), text("9P2000.L")].concat();
    files.ask(VERSION, NO_TAG, &version)?;
    let attach = [number(ROOT), number(NO_FID), text("root"), text(""), number(0)].concat();
    files.ask(ATTACH, 0, &attach)?;
    let walk = [number(ROOT), number(FILE), 1_u16.to_le_bytes().to_vec(), text(".nbd")].concat();
    files.ask(WALK, 0, &walk)?;
    let create = [number(FILE), text(name), number(READ_WRITE), number(0o600), number(0)].concat();
    files.ask(CREATE, 0, &create)?;
    let attributes = [number(FILE), number(SIZE_IS_SET), number(0), number(0), number(0)].concat();
    let times = [0; 4 * 8];
    files.ask(SET_ATTRIBUTES, 0, &[attributes, size_bytes.to_le_bytes().to_vec(), times.to_vec()].concat())
}

/// A connection to its 9P server.
struct Files(UnixStream);

impl Files {
    /// Sends a message; the answer to each is of the next type.
    fn ask(&mut self, kind: u8, tag: u16, fields: &[u8]) -> Result<()> {
        let length = (4 + 1 + 2 + fields.len()) as u32;
        let message = [&length.to_le_bytes(), &[kind][..], &tag.to_le_bytes(), fields].concat();
        self.0.write_all(&message)?;
        let mut head = [0; 7];
        self.0.read_exact(&mut head).context("9P server of zerofs")?;
        let length = u32::from_le_bytes(head[..4].try_into()?);
        ensure!((7..=MESSAGE_BYTES_MAX).contains(&length), "a 9P message of {length} bytes");
        let mut rest = vec![0; length as usize - 7];
        self.0.read_exact(&mut rest)?;
        ensure!(head[4] == kind + 1, "zerofs answers {} to 9P message {kind}: {rest:?}", head[4]);
        Ok(())
    }
}

fn number(number: u32) -> Vec<u8> {
    number.to_le_bytes().to_vec()
}

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u16).to_le_bytes(), text.as_bytes()].concat()
}
