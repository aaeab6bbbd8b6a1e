//! What the documents show works: their commands are run, in order, each document in a directory of its own.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use crate::bench::{Bench, Daemon, text};

/// The programs whose lines are run; a guest is not booted here.
const RUN: [&str; 4] = ["esker", "nbdinfo", "nbdcopy", "qemu-img"];

/// The commands in the console blocks of a document.
fn commands(document: &str) -> Vec<String> {
    let (mut commands, mut console) = (Vec::new(), false);
    for line in document.lines() {
        if let Some(info) = line.trim().strip_prefix("```") {
            console = info == "console";
        } else if console && let Some(command) = line.strip_prefix("$ ") {
            commands.push(command.to_owned());
        }
    }
    commands
}

/// Runs the commands of one document; how many of them were esker's.
fn run(document: &Path) -> usize {
    let bench = Bench::new();
    bench.random_file("disk.raw", 16 << 20);
    let here = bench.path("");
    let store = format!("file://{}", bench.path("bucket/prefix").display());
    let mut daemon: Option<Daemon> = None;
    let mut ran = 0;
    for command in commands(&fs::read_to_string(document).unwrap()) {
        let program = command.split(' ').next().unwrap();
        if !RUN.contains(&program) {
            continue;
        }
        ran += usize::from(program == "esker");
        let command = command.replace("s3://bucket/prefix", &store);
        if let Some(arguments) = command.strip_prefix("esker serve") {
            assert_eq!(daemon.take().map_or(0, Daemon::stop), 0, "before {command}");
            let arguments: Vec<&str> = ["serve"].into_iter().chain(arguments.split_whitespace()).collect();
            daemon = Some(Daemon::start(&here, &arguments));
            continue;
        }
        let binaries = Path::new(env!("CARGO_BIN_EXE_esker")).parent().unwrap();
        let path = format!("{}:{}", binaries.display(), std::env::var("PATH").unwrap());
        let output = Command::new("timeout")
            .args(["60", "sh", "-c", &command])
            .current_dir(&here)
            .env("PATH", path)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert!(
            output.status.success(),
            "{}: {command}: {}\n{out}\n{err}",
            document.display(),
            output.status
        );
    }
    assert_eq!(daemon.map_or(0, Daemon::stop), 0);
    ran
}

#[test]
fn their_commands_work() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    assert!(run(&root.join("README.md")) >= 5);
    let mut documents: Vec<_> =
        fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path()).collect();
    documents.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    documents.sort();
    let ran: usize = documents.iter().map(|document| run(document)).sum();
    assert!(ran >= 10, "{ran} commands in docs");
}
