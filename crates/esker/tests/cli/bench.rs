//! A directory, daemons in it, and tools.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, ErrorKind, Read},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

/// How long a daemon may take to be ready on a machine that is busy with other tests.
const READY: Duration = Duration::from_secs(30);

/// Debian's package of each tool.
const PACKAGES: &[(&str, &str)] = &[
    ("nbdinfo", "libnbd-bin"),
    ("nbdcopy", "libnbd-bin"),
    ("qemu-img", "qemu-utils"),
    ("qemu-io", "qemu-utils"),
    ("strace", "strace"),
];

/// A directory of a test, with a data directory `d` in it.
pub(crate) struct Bench {
    directory: tempfile::TempDir,
}

impl Bench {
    pub(crate) fn new() -> Bench {
        Bench { directory: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The data directory.
    pub(crate) fn data(&self) -> PathBuf {
        self.path("d")
    }

    pub(crate) fn uri(&self, volume: &str) -> String {
        format!("nbd+unix:///{volume}?socket={}", self.data().join("nbd.sock").display())
    }

    /// Runs esker with `--data d` behind the arguments.
    pub(crate) fn esker(&self, arguments: &[&str]) -> Output {
        let data = self.data().display().to_string();
        tool(env!("CARGO_BIN_EXE_esker"), &[arguments, &["--data", &data]].concat())
    }

    /// Runs esker, which must succeed; what it printed.
    pub(crate) fn ok(&self, arguments: &[&str]) -> String {
        succeeded("esker", arguments, &self.esker(arguments))
    }

    /// Runs esker, which must fail with this exit code; what it said on stderr.
    pub(crate) fn fails(&self, code: i32, arguments: &[&str]) -> String {
        let output = self.esker(arguments);
        let err = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "esker {arguments:?}: {}\n{err}", text(&output.stdout));
        err
    }

    /// Runs esker with `--json`; the value behind a path of keys, as text.
    pub(crate) fn json(&self, arguments: &[&str]) -> serde_json::Value {
        serde_json::from_str(&self.ok(&[arguments, &["--json"]].concat())).unwrap()
    }

    pub(crate) fn serve(&self, arguments: &[&str]) -> Daemon {
        let data = self.data().display().to_string();
        Daemon::start(self.directory.path(), &[&["serve", "--data", &data], arguments].concat())
    }

    /// As [`Bench::serve`], from a line of shell that starts the daemon with `exec "$@"`.
    pub(crate) fn serve_from(&self, shell: &str, arguments: &[&str]) -> Daemon {
        let data = self.data().display().to_string();
        let mut command = Command::new("sh");
        command.args(["-c", shell, "sh", env!("CARGO_BIN_EXE_esker"), "serve", "--data", &data]);
        Daemon::spawn(command.args(arguments), self.directory.path())
    }

    /// Writes a pattern through NBD and flushes.
    pub(crate) fn write(&self, volume: &str, pattern: u8, offset: &str, length: &str) {
        let write = format!("write -P {pattern} {offset} {length}");
        let uri = self.uri(volume);
        let arguments = ["-f", "raw", "-c", &write, "-c", "flush", &uri];
        succeeded("qemu-io", &arguments, &tool("qemu-io", &arguments));
    }

    /// Reads through NBD and compares with a pattern.
    pub(crate) fn read(&self, volume: &str, pattern: u8, offset: &str, length: &str) {
        let read = format!("read -P {pattern} {offset} {length}");
        let uri = self.uri(volume);
        let arguments = ["-r", "-f", "raw", "-c", &read, &uri];
        let out = succeeded("qemu-io", &arguments, &tool("qemu-io", &arguments));
        assert!(!out.contains("verification failed"), "{volume} {offset} {length}: {out}");
    }

    /// A file of so many random bytes.
    pub(crate) fn random_file(&self, name: &str, bytes: u64) -> String {
        let path = self.path(name);
        let mut random = File::open("/dev/urandom").unwrap().take(bytes);
        std::io::copy(&mut random, &mut File::create(&path).unwrap()).unwrap();
        path.display().to_string()
    }

    /// All files below the data directory's part of this name.
    pub(crate) fn files(&self, part: &str) -> Vec<PathBuf> {
        let (mut files, mut open) = (Vec::new(), vec![self.data().join(part)]);
        while let Some(directory) = open.pop() {
            for entry in fs::read_dir(directory).into_iter().flatten() {
                let path = entry.unwrap().path();
                if path.is_dir() { open.push(path) } else { files.push(path) }
            }
        }
        files.sort();
        files
    }
}

/// A daemon that runs, until it is told to stop or dropped.
pub(crate) struct Daemon {
    child: Child,
    /// The line that says what is served where.
    pub(crate) ready: String,
}

impl Daemon {
    /// Starts esker with these arguments and waits until it is ready.
    pub(crate) fn start(directory: &Path, arguments: &[&str]) -> Daemon {
        Daemon::spawn(Command::new(env!("CARGO_BIN_EXE_esker")).args(arguments), directory)
    }

    fn spawn(command: &mut Command, directory: &Path) -> Daemon {
        let mut child =
            command.current_dir(directory).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || {
            // Nobody waits any more when the test has failed.
            let _ = sender.send(lines.next());
        });
        let line = receiver.recv_timeout(READY).ok().flatten().and_then(Result::ok);
        let Some(ready) = line.filter(|line| line.starts_with("ready: ")) else {
            let _ = child.kill();
            panic!("{command:?} did not become ready: {:?}", child.wait());
        };
        Daemon { child, ready }
    }

    /// The number of its process.
    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Asks it to stop; its exit code.
    pub(crate) fn stop(mut self) -> i32 {
        self.signal(Signal::TERM);
        self.child.wait().unwrap().code().expect("it ends by itself")
    }

    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs a tool for at most a minute.
pub(crate) fn tool(tool: &str, arguments: &[&str]) -> Output {
    let output = Command::new("timeout").arg("60").arg(tool).args(arguments).stdin(Stdio::null()).output();
    let missing = match &output {
        Err(error) => error.kind() == ErrorKind::NotFound,
        Ok(output) => output.status.code() == Some(127),
    };
    if missing {
        let package = PACKAGES.iter().find(|(name, _)| *name == tool).map_or("coreutils", |found| found.1);
        panic!("{tool} is not installed and this test needs it: apt-get install {package}");
    }
    output.unwrap()
}

/// What a tool printed that must succeed.
pub(crate) fn succeeded(tool: &str, arguments: &[&str], output: &Output) -> String {
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{tool} {arguments:?}: {}\n{out}\n{err}", output.status);
    out
}
