//! A SeaweedFS S3 server on loopback, started and stopped by a test.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result};

use crate::loopback::Loopback;

const BUCKET: &str = "esker-test";

/// A server; killed when dropped.
pub struct Seaweed(Loopback);

impl Seaweed {
    /// The `weed` program of this checkout: `ESKER_WEED`, or where `cargo xtask ci` puts it.
    pub fn program() -> Result<PathBuf> {
        let program = std::env::var_os("ESKER_WEED").map(PathBuf::from);
        let program = program
            .context("ESKER_WEED names no program; run the tests with `cargo xtask ci`, which installs it")?;
        // The server runs in a directory of its own.
        Ok(std::path::absolute(program)?)
    }

    /// Starts a server with one empty bucket.
    pub fn start(program: &Path) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let ports = free_ports(5)?;
        let mut weed = Command::new(program);
        weed.arg("mini")
            .arg(format!("-dir={}", directory.path().display()))
            .args(["-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-webdav=false", "-admin.ui=false"])
            .args(["-s3.port.iceberg=0", "-s3.port.lance=0"])
            .arg(format!("-s3.port={}", ports[0]))
            .arg(format!("-master.port={}", ports[1]))
            .arg(format!("-filer.port={}", ports[2]))
            .arg(format!("-volume.port={}", ports[3]))
            .arg(format!("-admin.port={}", ports[4]))
            .env("AWS_ACCESS_KEY_ID", "key")
            .env("AWS_SECRET_ACCESS_KEY", "secret")
            .env("S3_BUCKET", BUCKET);
        let server = Self(Loopback::start(&mut weed, directory, ports[0])?);
        // The port opens a moment before the bucket is there.
        std::thread::sleep(Duration::from_secs(3));
        Ok(server)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.0.port).into()
    }

    /// A pool URL below `prefix`.
    pub fn url(&self, prefix: &str) -> String {
        format!("s3://{BUCKET}/{prefix}")
    }

    /// The environment that a client needs.
    pub fn environment(&self) -> Vec<(String, String)> {
        let endpoint = format!("http://127.0.0.1:{}", self.0.port);
        [
            ("AWS_ACCESS_KEY_ID", "key"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ALLOW_HTTP", "true"),
            ("AWS_ENDPOINT", &endpoint),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec()
    }
}

/// Ports that are free, and whose number plus 10,000 is a port (the server listens there too).
fn free_ports(count: usize) -> Result<Vec<u16>> {
    let mut held = Vec::new();
    while held.len() < count {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let port = listener.local_addr()?.port();
        if port < 55_000 && TcpListener::bind(("127.0.0.1", port + 10_000)).is_ok() {
            held.push(listener);
        }
    }
    held.iter().map(|listener| Ok(listener.local_addr()?.port())).collect()
}
