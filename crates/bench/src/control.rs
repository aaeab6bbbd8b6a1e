//! What a running `esker` says of itself: a few questions to its control socket.
//!
//! Answers are taken as plain JSON, so that builds of Esker with other answers can be asked too.

use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(120);

/// A volume at one moment.
#[derive(Debug, Clone, Copy, Default)]
pub struct Figures {
    /// Records written since the volume was made.
    pub sequence: u64,
    /// Of these, records that the store holds.
    pub committed: u64,
    /// Log bytes that the store does not hold.
    pub dirty_bytes: u64,
}

/// A volume's figures; the data directory says which daemon.
pub fn figures(data: &Path, volume: &str) -> Result<Figures> {
    let status = ask(data, "GET", "/v1/status", "")?;
    let volumes = status["volumes"].as_array().context("a status without volumes")?;
    let found = volumes.iter().find(|served| served["name"] == volume);
    let figures = &found.with_context(|| format!("volume {volume} is not served"))?["figures"];
    let number = |name: &str| figures[name].as_u64().with_context(|| format!("a status without {name}"));
    Ok(Figures {
        sequence: number("sequence")?,
        committed: number("committed_sequence")?,
        dirty_bytes: number("dirty_bytes")?,
    })
}

/// Requests to the store since the daemon's start, by what they are called.
pub fn requests(data: &Path) -> Result<Vec<(String, u64)>> {
    let requests = ask(data, "GET", "/v1/requests", "")?;
    let kinds = requests.as_object().context("requests are no object")?;
    Ok(kinds.iter().filter_map(|(name, count)| Some((name.clone(), count.as_u64()?))).collect())
}

/// How many volumes serve.
pub fn running(data: &Path) -> Result<u64> {
    count(data, |served| served["state"] == "running")
}

/// How many are served, or were to be.
pub fn volumes(data: &Path) -> Result<u64> {
    count(data, |_| true)
}

fn count(data: &Path, which: impl Fn(&Value) -> bool) -> Result<u64> {
    let status = ask(data, "GET", "/v1/status", "")?;
    let volumes = status["volumes"].as_array().context("a status without volumes")?;
    Ok(volumes.iter().filter(|served| which(served)).count() as u64)
}

/// Makes a volume, which the daemon serves at once.
pub fn create(data: &Path, name: &str, size_bytes: u64, durability: &str) -> Result<()> {
    let body = json!({ "name": name, "size_bytes": size_bytes, "durability": durability });
    ask(data, "POST", "/v1/volumes", &body.to_string()).map(|_| ())
}

fn ask(data: &Path, method: &str, path: &str, body: &str) -> Result<Value> {
    let what = || format!("{method} {path} of the daemon in {}", data.display());
    let answer = exchange(data, method, path, body).with_context(what)?;
    let (head, body) = answer.split_once("\r\n\r\n").with_context(what)?;
    let status = head.split(' ').nth(1).unwrap_or_default();
    ensure!(status.starts_with('2'), "{}: status {status}: {body}", what());
    serde_json::from_str(body).with_context(what)
}

fn exchange(data: &Path, method: &str, path: &str, body: &str) -> Result<String> {
    let mut socket = UnixStream::connect(data.join("control.sock"))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let length = body.len();
    write!(
        socket,
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer)?;
    Ok(answer)
}
