//! Recording what a script reads of a volume.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
    sync::mpsc::{Receiver, channel},
    thread::sleep,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use esker_format::{
    ids::SegmentId,
    names::{self, ObjectName},
    segment::{SegmentIndex, Trailer},
};

use super::Reference;
use crate::{control, daemon::Daemon, proxy::Proxy, seaweed::Seaweed};

/// The volume's name.
const VOLUME: &str = "v";

/// What to record.
#[derive(Debug, Clone)]
pub struct Config {
    /// The built program.
    pub esker: PathBuf,
    /// A shell script. It is run twice, with the volume in `URI` and in `STEP` what it is to do: `fill` the volume, and
    /// then `work` with it.
    pub script: PathBuf,
    /// The volume's size.
    pub size_bytes: u64,
}

/// Runs the script; what its second step asks for.
///
/// # Errors
/// Whatever fails.
pub fn record(config: &Config, directory: &Path) -> Result<Vec<Reference>> {
    let server = Seaweed::start(&Seaweed::program()?)?;
    let proxy = Proxy::start(server.address(), 1)?;
    let environment = proxy.environment(server.environment());
    // Nothing is cached and nothing is read ahead: what is read is asked for.
    let args = ["--pool", &server.url("hits"), "--cache", "0", "--disk-cache", "0"];
    let mut seen = Seen::default();
    let (sender, requests) = channel();
    proxy.watch(sender);
    let daemon = Daemon::start(&config.esker, directory, &args, &environment)?;
    control::create(&daemon.data, VOLUME, config.size_bytes, "bounded(5s)")?;
    run_script(config, &daemon, "fill")?;
    ensure!(daemon.terminate()? == 0, "the daemon drains and ends with 0");
    seen.take(&requests)?;
    let daemon = Daemon::start(&config.esker, directory, &args, &environment)?;
    while control::running(&daemon.data)? == 0 {
        sleep(Duration::from_millis(100));
    }
    seen.take(&requests)?;
    seen.references.clear();
    run_script(config, &daemon, "work")?;
    seen.take(&requests)?;
    ensure!(daemon.terminate()? == 0, "the daemon drains and ends with 0");
    Ok(seen.references)
}

fn run_script(config: &Config, daemon: &Daemon, step: &str) -> Result<()> {
    let uri = format!("nbd+unix:///{VOLUME}?socket={}", daemon.socket().display());
    let status = Command::new("sh").arg(&config.script).env("URI", uri).env("STEP", step).status()?;
    ensure!(status.success(), "step {step} of {}: {status}", config.script.display());
    Ok(())
}

/// What has passed.
#[derive(Default)]
struct Seen {
    /// By the segments that were uploaded.
    indexes: BTreeMap<SegmentId, SegmentIndex>,
    references: Vec<Reference>,
}

impl Seen {
    fn take(&mut self, requests: &Receiver<Vec<u8>>) -> Result<()> {
        while let Ok(request) = requests.try_recv() {
            let end = request.windows(4).position(|bytes| bytes == b"\r\n\r\n").context("a head")? + 4;
            let head = String::from_utf8_lossy(&request[..end]).into_owned();
            let mut words = head.split(' ');
            let (verb, path) = (words.next().context("a verb")?, words.next().context("a path")?);
            let Some(at) = path.find("segments/") else { continue };
            let Some(ObjectName::Segment(id)) = names::parse(&path[at..]) else { continue };
            match verb {
                "PUT" => drop(self.indexes.insert(id, index(&request[end..])?)),
                "GET" => self.got(id, &head)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// The frames of a GET, by the segment's index. A GET of the index itself brings no whole one.
    fn got(&mut self, id: SegmentId, head: &str) -> Result<()> {
        let range = head
            .lines()
            .find_map(|line| line.to_ascii_lowercase().strip_prefix("range: bytes=").map(str::to_owned));
        let Some((start, end)) = range.as_deref().and_then(|range| range.split_once('-')) else {
            return Ok(());
        };
        let (Ok(start), Ok(last)) = (start.parse::<u64>(), end.parse::<u64>()) else { return Ok(()) };
        let index = self.indexes.get(&id).context("what is read was uploaded")?;
        for frame in index.frames.iter().filter(|frame| start <= frame.offset && frame.end() <= last + 1) {
            self.references.push(Reference {
                segment: id,
                slot: u16::try_from(frame.first_place)?,
                bytes: frame.stored_bytes,
            });
        }
        Ok(())
    }
}

/// The index of a whole segment.
fn index(body: &[u8]) -> Result<SegmentIndex> {
    let trailer = Trailer::parse(body)?;
    let trailer = trailer.peek();
    let start = usize::try_from(trailer.index_offset)?;
    let bytes =
        body.get(start..start + trailer.index_bytes as usize).context("an index inside its segment")?;
    Ok(SegmentIndex::parse(bytes, trailer)?)
}
