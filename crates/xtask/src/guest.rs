//! `cargo xtask guest`: a guest under QEMU that loses power while it writes, with the daemon killed too. What it
//! synced must be there after the next boot, and fsck must find nothing.

mod debian;
mod initramfs;

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};

use crate::{house::root, run::run};
use debian::Debian;

/// How long a boot with its checks may take; the processor is emulated.
const BOOT_MAX: Duration = Duration::from_secs(300);
const ROUNDS: u64 = 3;

/// File → hash, as the guest says them.
type Files = BTreeMap<String, String>;

/// Boots, lets the guest write, cuts its power; so many rounds.
pub(crate) fn guest(rest: &[String]) -> Result<()> {
    let rounds = match rest {
        [] => ROUNDS,
        [flag, rounds] if flag == "--rounds" => rounds.parse()?,
        _ => bail!("guest takes only --rounds N"),
    };
    run("cargo", &["build", "--quiet", "-p", "esker"])?;
    let directory = root().join("target/guest");
    let debian = Debian::unpacked(&directory)?;
    let initramfs = directory.join("initramfs");
    fs::write(&initramfs, initramfs::build(&debian)?)?;
    let data = directory.join("data");
    if data.exists() {
        fs::remove_dir_all(&data)?;
    }
    fs::create_dir(&data)?;
    let machine = Machine { debian, directory, initramfs, data };
    let mut synced = Files::new();
    for round in 0..rounds {
        let life = Duration::from_millis(1_500 + round * 1_237 % 4_000);
        let written = machine.round(round, life, &synced)?;
        eprintln!("round {round}: {} files found, {} more synced, power cut", synced.len(), written.len());
        synced.extend(written);
    }
    machine.last(&synced)?;
    println!(
        "{rounds} power cuts: write back, fsck clean, all {} synced files found each time",
        synced.len()
    );
    Ok(())
}

struct Machine {
    debian: Debian,
    directory: PathBuf,
    initramfs: PathBuf,
    data: PathBuf,
}

impl Machine {
    /// One boot that ends in a power cut; what was synced meanwhile.
    fn round(&self, round: u64, life: Duration, before: &Files) -> Result<Files> {
        let mut esker = self.serve()?;
        let mut guest = self.boot(&round.to_string())?;
        guest.wait_for("found everything")?;
        guest.check_found(before)?;
        guest.wait_for("synced")?;
        std::thread::sleep(life);
        guest.check_alive()?;
        // Whoever dies first, nothing that was synced may depend on the other.
        let mut victims = [&mut guest.process, &mut esker];
        if round % 2 == 1 {
            victims.reverse();
        }
        for victim in victims {
            victim.0.kill()?;
            victim.0.wait()?;
        }
        guest.files("synced")
    }

    /// The last boot, which ends in order, and the check of the pool.
    fn last(&self, synced: &Files) -> Result<()> {
        let mut esker = self.serve()?;
        let mut guest = self.boot("last")?;
        guest.wait_for("done")?;
        guest.check_found(synced)?;
        ensure!(guest.process.0.wait()?.success(), "QEMU");
        let pid = esker.0.id().to_string();
        run("kill", &["-TERM", &pid])?;
        ensure!(esker.0.wait()?.success(), "the daemon drains and ends with 0");
        run(&program().display().to_string(), &["check", "--data", &self.data.display().to_string()])
    }

    fn serve(&self) -> Result<Process> {
        let log = fs::File::options().create(true).append(true).open(self.data.join("daemon.log"))?;
        let mut serve = Command::new(program());
        serve.args(["serve", "--volume", "disk=2G", "--data"]).arg(&self.data);
        serve.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        let mut esker = Process(serve.spawn()?);
        let said = BufReader::new(esker.0.stdout.take().context("the daemon's output")?);
        for line in said.lines() {
            if line?.starts_with("ready") {
                return Ok(esker);
            }
        }
        bail!("the daemon did not get ready: {}", self.data.join("daemon.log").display())
    }

    fn boot(&self, round: &str) -> Result<Guest> {
        let console = self.directory.join(format!("console-{round}.txt"));
        fs::write(&console, "")?;
        let socket = self.data.join("nbd.sock");
        let drive = format!(
            "driver=nbd,server.type=unix,server.path={},export=disk,if=none,id=disk,cache.direct=on,discard=unmap",
            socket.display()
        );
        let mut qemu = self.debian.qemu()?;
        // Some releases of QEMU emulate cmpxchg16b wrongly.
        qemu.args(["-machine", "q35,accel=tcg", "-cpu", "max,-cx16", "-smp", "2", "-m", "768"]);
        qemu.args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]);
        qemu.arg("-kernel").arg(self.debian.entry("boot", "vmlinuz-")?);
        qemu.arg("-initrd").arg(&self.initramfs);
        qemu.args(["-append", &format!("console=ttyS0 quiet panic=-1 esker.round={round}")]);
        qemu.args(["-serial", &format!("file:{}", console.display())]);
        qemu.args(["-drive", &drive, "-device", "virtio-blk-pci,drive=disk"]);
        let process = Process(qemu.stdin(Stdio::null()).spawn().context("QEMU")?);
        Ok(Guest { process, console })
    }
}

fn program() -> PathBuf {
    root().join("target/debug/esker")
}

/// A process; killed when dropped.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Guest {
    process: Process,
    console: PathBuf,
}

impl Guest {
    fn said(&self) -> Result<Vec<String>> {
        said(&self.console)
    }

    fn wait_for(&mut self, words: &str) -> Result<()> {
        let begun = Instant::now();
        while !self.said()?.iter().any(|line| line.starts_with(words)) {
            self.check_alive()?;
            ensure!(
                begun.elapsed() < BOOT_MAX,
                "the guest did not say {words:?}: {}",
                self.console.display()
            );
            std::thread::sleep(Duration::from_millis(100));
        }
        let cache = self.said()?.into_iter().find_map(|line| line.strip_prefix("cache ").map(str::to_owned));
        ensure!(
            cache.as_deref() == Some("write back"),
            "the guest's write cache is {cache:?}, not write back"
        );
        Ok(())
    }

    /// Fails when the guest gave up.
    fn check_alive(&mut self) -> Result<()> {
        let ended = self.process.0.try_wait()?;
        let lines = self.said()?;
        let failed = lines.iter().find(|line| line.starts_with("failed"));
        let done = lines.iter().any(|line| line == "done");
        ensure!(failed.is_none(), "the guest {failed:?}: {}", self.console.display());
        ensure!(ended.is_none() || done, "the guest ended too early: {}", self.console.display());
        Ok(())
    }

    /// Lines `WORD FILE HASH .`; one without its dot was cut.
    fn files(&self, word: &str) -> Result<Files> {
        let mut files = Files::new();
        for line in self.said()? {
            if let [first, file, hash, "."] = line.split(' ').collect::<Vec<_>>()[..]
                && first == word
            {
                files.insert(file.to_owned(), hash.to_owned());
            }
        }
        Ok(files)
    }

    /// Every synced file is there, as it was.
    fn check_found(&self, synced: &Files) -> Result<()> {
        let found = self.files("found")?;
        for (file, hash) in synced {
            let there = found.get(file);
            ensure!(there == Some(hash), "{file} was synced with hash {hash}, found {there:?}");
        }
        Ok(())
    }
}

/// What a guest said so far.
fn said(console: &Path) -> Result<Vec<String>> {
    let text = String::from_utf8_lossy(&fs::read(console)?).replace('\r', "");
    Ok(text.lines().filter_map(|line| line.strip_prefix("GUEST ")).map(str::to_owned).collect())
}
