//! What a running `esker` says of itself: a few questions to its control socket.
//!
//! Answers are taken as plain JSON, so that builds of Esker with other answers can be asked too.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(600);

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

/// The same, of which nothing is kept that was overwritten.
pub fn create_without_history(data: &Path, name: &str, size_bytes: u64, durability: &str) -> Result<()> {
    let body = json!({ "name": name, "size_bytes": size_bytes, "durability": durability, "history": "0s" });
    ask(data, "POST", "/v1/volumes", &body.to_string()).map(|_| ())
}

/// Has the daemon serve a volume.
pub fn open(data: &Path, name: &str) -> Result<()> {
    ask(data, "POST", &format!("/v1/volumes/{name}/open"), "{}").map(|_| ())
}

/// Makes a snapshot.
pub fn snapshot(data: &Path, volume: &str, name: &str) -> Result<()> {
    let body = json!({ "name": name });
    ask(data, "POST", &format!("/v1/volumes/{volume}/snapshots"), &body.to_string()).map(|_| ())
}

/// Makes a snapshot of several volumes at one point.
pub fn group(data: &Path, volumes: &[&str], name: &str) -> Result<()> {
    let body = json!({ "name": name, "volumes": volumes });
    ask(data, "POST", "/v1/groups", &body.to_string()).map(|_| ())
}

/// Deletes a volume or a snapshot.
pub fn delete(data: &Path, name: &str) -> Result<()> {
    ask(data, "DELETE", &format!("/v1/volumes/{name}"), "").map(|_| ())
}

/// Makes a volume of another one or of a snapshot, and does not open it.
pub fn fork(data: &Path, source: &str, name: &str) -> Result<()> {
    let body = json!({ "name": name });
    ask(data, "POST", &format!("/v1/volumes/{source}/fork"), &body.to_string()).map(|_| ())
}

/// What a round of reclaim says it found and did.
#[derive(Debug, Clone, Copy, Default)]
pub struct Reclaimed {
    /// Bytes of objects that something reaches, and of those on their way.
    pub live_bytes: u64,
    /// Of these, bytes of dead blocks.
    pub dead_inside_bytes: u64,
    /// Bytes of objects that are dead, and not deleted yet.
    pub waiting_bytes: u64,
    /// Objects, dead or not.
    pub objects: u64,
    /// Segments that were rewritten.
    pub rewritten: u64,
}

/// Has a round of reclaim made as the daemon makes its own, or only looks.
pub fn reclaim(data: &Path, dry_run: bool) -> Result<Reclaimed> {
    let body = json!({ "dry_run": dry_run, "gently": true });
    let answer = ask(data, "POST", "/v1/reclaim", &body.to_string())?;
    let number = |class: &str, what: &str| {
        answer[class][what].as_u64().with_context(|| format!("a round without {class}.{what}"))
    };
    let sum =
        |classes: &[&str], what: &str| classes.iter().map(|class| number(class, what)).sum::<Result<u64>>();
    Ok(Reclaimed {
        live_bytes: sum(&["live", "in_flight"], "bytes")?,
        dead_inside_bytes: number("dead_inside", "bytes")?,
        waiting_bytes: sum(&["waiting", "due"], "bytes")?,
        objects: sum(&["live", "in_flight", "waiting", "due"], "objects")?,
        rewritten: number("rewritten", "objects")?,
    })
}

/// Everything that the daemon measures, by name; samples with labels are added up, and distributions left out.
pub fn metrics(data: &Path) -> Result<BTreeMap<String, f64>> {
    let metrics = ask(data, "GET", "/v1/metrics", "")?;
    let families = metrics["families"].as_array().context("metrics without families")?;
    let sum = |family: &Value| {
        let samples = family["samples"].as_array()?;
        samples.iter().map(|sample| sample["value"].as_f64()).sum::<Option<f64>>()
    };
    let told = |family: &Value| Some((family["name"].as_str()?.to_owned(), sum(family)?));
    Ok(families.iter().filter_map(told).collect())
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
