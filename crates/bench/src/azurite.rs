//! Azurite, an Azure blob server, on loopback, started and stopped by a test.

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

use crate::loopback::Loopback;

const CONTAINER: &str = "esker-test";
const ACCOUNT: &str = "devstoreaccount1";
/// The account's key, the same in every Azurite; no secret.
const KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// A server; killed when dropped.
pub struct Azurite(Loopback);

impl Azurite {
    /// Where it is installed: `ESKER_AZURITE`, or where `cargo xtask ci` puts it.
    pub fn installed() -> Result<PathBuf> {
        let installed = std::env::var_os("ESKER_AZURITE").map(PathBuf::from).context(
            "ESKER_AZURITE names no directory; run the tests with `cargo xtask ci`, which installs Azurite",
        )?;
        // The server runs in a directory of its own.
        Ok(std::path::absolute(installed)?)
    }

    /// Starts a server with one empty container.
    pub fn start(installed: &Path) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let mut node = Command::new("node");
        node.arg(installed.join("node_modules/azurite/dist/src/blob/main.js"))
            .args(["--blobHost", "127.0.0.1", "--blobPort", &port.to_string(), "--location"])
            .arg(directory.path())
            .args(["--silent", "--skipApiVersionCheck", "--disableTelemetry"]);
        let server = Self(Loopback::start(&mut node, directory, port)?);
        let made = Command::new("node")
            .arg(installed.join("container.js"))
            .args([&server.endpoint(), ACCOUNT, KEY, CONTAINER])
            .output()?;
        ensure!(made.status.success(), "no container: {}", String::from_utf8_lossy(&made.stderr));
        Ok(server)
    }

    fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}/{ACCOUNT}", self.0.port)
    }

    /// A pool URL below `prefix`.
    pub fn url(&self, prefix: &str) -> String {
        format!("az://{CONTAINER}/{prefix}")
    }

    /// The environment that a client needs.
    pub fn environment(&self) -> Vec<(String, String)> {
        [
            ("AZURE_STORAGE_ACCOUNT_NAME", ACCOUNT),
            ("AZURE_STORAGE_ACCOUNT_KEY", KEY),
            ("AZURE_STORAGE_ENDPOINT", &self.endpoint()),
            ("AZURE_ALLOW_HTTP", "true"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec()
    }
}
