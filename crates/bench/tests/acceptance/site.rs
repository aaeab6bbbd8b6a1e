//! A data directory with a daemon that is started, drained, killed and started again.

use std::{fs, path::PathBuf, process::Command};

use esker_bench::daemon::Daemon;

use crate::{program::esker, tools};

/// A daemon with its default pool.
pub(crate) struct Site {
    directory: tempfile::TempDir,
    volumes: Vec<String>,
    daemon: Option<Daemon>,
}

impl Site {
    /// Serves these volumes (NAME=SIZE).
    pub(crate) fn start(volumes: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("data")).unwrap();
        let volumes = volumes.iter().flat_map(|volume| ["--volume".to_owned(), (*volume).to_owned()]);
        let mut site = Self { directory, volumes: volumes.collect(), daemon: None };
        site.again();
        site
    }

    /// A path beside the data directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The same as text, for a tool.
    pub(crate) fn file(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// Where clients find a volume.
    pub(crate) fn uri(&self, volume: &str) -> String {
        format!("nbd+unix:///{volume}?socket={}", self.file("data/nbd.sock"))
    }

    /// Starts the daemon again.
    pub(crate) fn again(&mut self) {
        assert!(self.daemon.is_none(), "one daemon at a time");
        let args: Vec<&str> = self.volumes.iter().map(String::as_str).collect();
        self.daemon = Some(Daemon::start(&esker(), &self.path("data"), &args, &[]).unwrap());
    }

    /// Ends the daemon by SIGTERM: everything is in the store then.
    pub(crate) fn drain(&mut self) {
        let daemon = self.daemon.take().unwrap();
        assert_eq!(daemon.terminate().unwrap(), 0, "a drained daemon ends with 0");
    }

    /// Kills the daemon as `kill -9` does.
    pub(crate) fn kill(&mut self) {
        self.daemon.take().unwrap().kill().unwrap();
    }

    /// Drains, loses the local directory, and starts again.
    pub(crate) fn move_house(&mut self) {
        self.drain();
        fs::remove_dir_all(self.path("data/local")).unwrap();
        self.again();
    }

    /// Drains, and verifies every object and address of the pool.
    pub(crate) fn finish(mut self) {
        self.drain();
        let mut check = Command::new(esker());
        check.args(["check", "--data"]).arg(self.path("data"));
        tools::succeeds(check);
    }
}
