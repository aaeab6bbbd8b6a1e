//! Images of disks, in and out, with a daemon and without.

use std::{
    fs::{self, File},
    os::unix::fs::{FileExt, MetadataExt},
    path::Path,
    process::{Command, Stdio},
};

use crate::bench::{Bench, succeeded, text, tool};

const MIB: u64 = 1 << 20;

/// An image of `mib` MiB and a bit with data here and there: 5 MiB of it, and 100 bytes at its end.
fn sparse_image(bench: &Bench, name: &str, mib: u64) -> String {
    let random = fs::read(bench.random_file("random", 5 * MIB)).unwrap();
    let file = File::create(bench.path(name)).unwrap();
    file.set_len(mib * MIB + 100).unwrap();
    file.write_all_at(&random[..3 << 20], 4096).unwrap();
    file.write_all_at(&random[3 << 20..], (mib - 3) * MIB + 512).unwrap();
    file.write_all_at(&random[..100], mib * MIB).unwrap();
    bench.path(name).display().to_string()
}

/// The file is the image, and behind it nothing but zeros.
fn assert_holds(file: &Path, image: &str) {
    let (found, wanted) = (fs::read(file).unwrap(), fs::read(image).unwrap());
    assert!(found.starts_with(&wanted), "what came out is not what went in");
    assert!(found[wanted.len()..].iter().all(|byte| *byte == 0));
}

fn in_and_out(bench: &Bench, stored: bool) {
    let image = sparse_image(bench, "disk.raw", 64);
    let summary = bench.json(&["import", "raw", &image, "demo"]);
    assert_eq!(summary["size_bytes"], 64 * MIB + 4096, "rounded up to a block");
    assert_eq!(summary["image_bytes"], 64 * MIB + 100);
    let written = summary["written_bytes"].as_u64().unwrap();
    assert!((5 * MIB..5 * MIB + 16_384).contains(&written), "holes were skipped: {summary}");
    assert_eq!(summary["stored"], stored);
    let message = bench.fails(1, &["import", "raw", &image, "demo"]);
    assert!(message.contains("demo is not empty; --force overwrites"), "{message}");

    let out = bench.path("out.raw");
    let path = out.display().to_string();
    let summary = bench.json(&["export", "demo", &path]);
    assert_eq!(summary["written_bytes"], written);
    assert_holds(&out, &image);
    let taken = fs::metadata(&out).unwrap().blocks() * 512;
    assert!(taken < 8 * MIB, "the file takes {taken} bytes");
    let message = bench.fails(1, &["export", "demo", &path]);
    assert!(message.contains("exists already; --force"), "{message}");
    bench.ok(&["export", "demo", &path, "--force"]);
    assert_holds(&out, &image);

    let other = sparse_image(bench, "other.raw", 32);
    bench.ok(&["import", "raw", &other, "demo", "--force"]);
    bench.ok(&["export", "demo", &path, "--force"]);
    assert_holds(&out, &other);
    let left: Vec<_> =
        fs::read_dir(bench.path("")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_str().unwrap().contains("esker-partial")), "{left:?}");
}

#[test]
fn a_disk_goes_in_and_out_with_a_daemon() {
    let bench = Bench::new();
    let daemon = bench.serve(&["--volume", "small=1M"]);
    in_and_out(&bench, false);
    let image = sparse_image(&bench, "disk.raw", 8);
    let message = bench.fails(1, &["import", "raw", &image, "small"]);
    assert!(
        message.contains("the image holds a disk of 8.0 MiB") && message.contains("small has 1 MiB"),
        "{message}"
    );
    let message = bench.fails(1, &["export", "gone", &bench.path("gone.raw").display().to_string()]);
    assert!(message.contains("volume gone does not exist"), "{message}");
    assert!(!bench.path("gone.raw").exists());
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn a_disk_goes_in_and_out_without_a_daemon() {
    let bench = Bench::new();
    let message = bench.fails(1, &["import", "raw", "-", "demo"]);
    assert!(message.contains("there is no pool at file://"), "{message}");
    assert!(!bench.data().exists(), "a failure makes nothing");
    assert_eq!(bench.serve(&[]).stop(), 0);
    in_and_out(&bench, true);
    // All of it is in the store.
    fs::remove_dir_all(bench.data().join("local")).unwrap();
    let out = bench.path("again.raw");
    bench.ok(&["export", "demo", &out.display().to_string()]);
    assert_holds(&out, &bench.path("other.raw").display().to_string());
    assert!(!bench.data().join("local").exists(), "reading a released volume needs nothing local");
}

#[test]
fn what_is_only_in_the_log_is_exported_too() {
    let bench = Bench::new();
    let daemon = bench.serve(&["--volume", "demo=8M"]);
    bench.write("demo", 9, "1M", "1M");
    daemon.kill();
    let out = bench.path("out.raw");
    bench.ok(&["export", "demo", &out.display().to_string()]);
    let found = fs::read(out).unwrap();
    assert!(found[1 << 20..2 << 20].iter().all(|byte| *byte == 9) && found.len() == 8 << 20);
}

#[test]
fn what_another_directory_has_is_not_imported_to() {
    let (here, there) = (Bench::new(), Bench::new());
    let pool = format!("file://{}", here.path("shared").display());
    let daemon = here.serve(&["--pool", &pool, "--volume", "demo=8M"]);
    here.write("demo", 5, "0", "1M");
    let image = there.random_file("disk", MIB);
    let message = there.fails(1, &["import", "raw", &image, "demo", "--pool", &pool, "--force"]);
    assert!(message.contains("take it over with --volume demo"), "{message}");
    let out = there.path("out.raw").display().to_string();
    let output = there.esker(&["export", "demo", &out, "--pool", &pool]);
    assert!(output.status.success() && text(&output.stderr).contains("this is its last commit"));
    here.read("demo", 5, "0", "1M");
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn pipes() {
    let bench = Bench::new();
    let _daemon = bench.serve(&["--volume", "demo=8M"]);
    let image = sparse_image(&bench, "disk.raw", 7);
    let esker = env!("CARGO_BIN_EXE_esker");
    let run = |arguments: &[&str], from: Stdio, to: Stdio| {
        let data = bench.data().display().to_string();
        let output =
            Command::new(esker).args(arguments).args(["--data", &data]).stdin(from).stdout(to).output();
        output.unwrap()
    };
    let file = || Stdio::from(File::open(&image).unwrap());
    let refused = run(&["import", "raw", "-", "new"], file(), Stdio::piped());
    assert!(text(&refused.stderr).contains("say --size SIZE"), "{}", text(&refused.stderr));
    let small = run(&["import", "raw", "-", "new", "--size", "4M"], file(), Stdio::piped());
    assert!(text(&small.stderr).contains("larger than the volume"), "{}", text(&small.stderr));
    assert!(run(&["import", "raw", "-", "demo"], file(), Stdio::piped()).status.success());
    let out = bench.path("out.raw");
    let exported = run(&["export", "demo", "-"], Stdio::null(), File::create(&out).unwrap().into());
    assert!(exported.status.success() && text(&exported.stderr).contains("exported demo to standard output"));
    assert_eq!(fs::metadata(&out).unwrap().len(), 8 * MIB);
    assert_holds(&out, &image);
    let full = run(&["export", "demo", "-"], Stdio::null(), File::create("/dev/full").unwrap().into());
    assert_eq!(full.status.code(), Some(1));
    // Whoever reads has seen enough, and has no image.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    assert_eq!(run(&["export", "demo", "-"], Stdio::null(), writer.into()).status.code(), Some(1));
}

fn qemu_img(arguments: &[&str]) {
    succeeded("qemu-img", arguments, &tool("qemu-img", arguments));
}

/// An image of 40 MiB that compresses, with holes.
fn plain_image(bench: &Bench) -> String {
    let image = bench.path("disk.raw");
    let file = File::create(&image).unwrap();
    file.set_len(40 * MIB).unwrap();
    let words: Vec<u8> = (0..3 * MIB / 8).flat_map(|word| (word / 7).to_le_bytes()).collect();
    file.write_all_at(&words, 65_536).unwrap();
    file.write_all_at(&words, 30 * MIB + 4096).unwrap();
    file.write_all_at(&words[..70_000], 40 * MIB - 70_000).unwrap();
    image.display().to_string()
}

#[test]
fn what_qemu_img_makes_goes_in_and_comes_out() {
    let bench = Bench::new();
    let _daemon = bench.serve(&["--volume", "demo=40M"]);
    let raw = plain_image(&bench);
    let (qcow2, out) = (bench.path("disk.qcow2"), bench.path("out.raw"));
    let (qcow2, path) = (qcow2.display().to_string(), out.display().to_string());
    let kinds: [&[&str]; 9] = [
        &[],
        &["-o", "compat=0.10"],
        &["-c"],
        &["-c", "-o", "compat=0.10"],
        &["-c", "-o", "compression_type=zstd"],
        &["-o", "cluster_size=512"],
        &["-c", "-o", "cluster_size=2M"],
        &["-c", "-o", "compression_type=zstd,cluster_size=2M"],
        &["-S", "0", "-o", "preallocation=metadata"],
    ];
    for kind in kinds {
        let convert = ["convert", "-f", "raw", "-O", "qcow2"];
        qemu_img(&[&convert, kind, &[&raw, &qcow2]].concat());
        let summary = bench.json(&["import", "auto", &qcow2, "demo", "--force"]);
        assert_eq!(summary["image_bytes"], 40 * MIB, "{kind:?}");
        assert!(summary["written_bytes"].as_u64().unwrap() < 7 * MIB, "{kind:?}: {summary}");
        bench.ok(&["export", "demo", &path, "--force"]);
        qemu_img(&["compare", "-f", "qcow2", "-F", "raw", &qcow2, &path]);
        assert_holds(&out, &raw);
        qemu_img(&["compare", "-f", "raw", "-F", "raw", &raw, &bench.uri("demo")]);
    }
    // Without the daemon's word for what is a hole: as another server's client sees it.
    qemu_img(&["convert", "-n", "-f", "qcow2", "-O", "raw", &qcow2, &bench.uri("demo")]);
    bench.ok(&["export", "demo", &path, "--force"]);
    assert_holds(&out, &raw);
}

#[test]
fn images_that_are_not_whole_are_refused() {
    let bench = Bench::new();
    let _daemon = bench.serve(&[]);
    let raw = plain_image(&bench);
    let file = |name: &str| bench.path(name).display().to_string();
    qemu_img(&["create", "-f", "qcow2", "-F", "raw", "-b", &raw, &file("overlay.qcow2")]);
    let message = bench.fails(1, &["import", "qcow2", &file("overlay.qcow2"), "demo"]);
    assert!(
        message.contains("disk.raw") && message.contains("flatten it with qemu-img convert"),
        "{message}"
    );
    qemu_img(&[
        "create",
        "-f",
        "qcow2",
        "-o",
        &format!("data_file={}", file("data.raw")),
        &file("outside.qcow2"),
        "1M",
    ]);
    let message = bench.fails(1, &["import", "auto", &file("outside.qcow2"), "demo"]);
    assert!(message.contains("its data is in another file"), "{message}");
    qemu_img(&["create", "-f", "qcow2", "-o", "extended_l2=on", &file("extended.qcow2"), "1M"]);
    let message = bench.fails(1, &["import", "auto", &file("extended.qcow2"), "demo"]);
    assert!(message.contains("extended L2 entries"), "{message}");
    let message = bench.fails(1, &["import", "qcow2", &raw, "demo"]);
    assert!(message.contains("the magic of the image is wrong"), "{message}");
    let message = bench.fails(1, &["import", "qcow2", "-", "demo"]);
    assert!(message.contains("only raw images"), "{message}");
    assert_eq!(bench.json(&["volume", "list"])["volumes"], serde_json::json!([]), "nothing was made");
}

#[test]
fn a_killed_import_goes_on() {
    let bench = Bench::new();
    let _daemon = bench.serve(&["--volume", "demo=256M"]);
    let image = bench.random_file("disk.raw", 256 * MIB);
    let partial = bench.path("disk.raw.demo.esker-partial");
    let data = bench.data().display().to_string();
    let mut import = Command::new(env!("CARGO_BIN_EXE_esker"))
        .args(["import", "raw", &image, "demo", "--data", &data])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let done = || fs::read_to_string(&partial).is_ok_and(|mark| !mark.contains("\"done_bytes\":0"));
    while import.try_wait().unwrap().is_none() && !done() {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    import.kill().unwrap();
    let ended = import.wait().unwrap().success();
    assert!(!ended, "it was too quick to be killed");
    let summary = bench.json(&["import", "raw", &image, "demo"]);
    assert!(summary["resumed_bytes"].as_u64().unwrap() >= 64 * MIB, "{summary}");
    let out = bench.path("out.raw");
    bench.ok(&["export", "demo", &out.display().to_string()]);
    assert_holds(&out, &image);
}

/// Leaves a file beside an image as an interrupted command would have.
fn interrupt(bench: &Bench, partial: &str, done_bytes: u64, sequence: u64, image: Option<&str>) {
    let id = bench.json(&["volume", "show", "demo"])["id"].clone();
    let image = image.map(|image| {
        let file = fs::metadata(image).unwrap();
        serde_json::json!({
            "bytes": file.len(), "inode": file.ino(), "modified_s": file.mtime(), "modified_ns": file.mtime_nsec(),
        })
    });
    let mark = serde_json::json!({
        "version": 1, "volume": id, "size_bytes": 160 * MIB, "sequence": sequence,
        "done_bytes": done_bytes, "image": image,
    });
    fs::write(bench.path(partial), mark.to_string()).unwrap();
}

fn sequence(bench: &Bench) -> u64 {
    bench.json(&["status"])["volumes"][0]["figures"]["sequence"].as_u64().unwrap()
}

#[test]
fn an_interrupted_export_goes_on_where_it_was() {
    let bench = Bench::new();
    let _daemon = bench.serve(&["--volume", "demo=160M"]);
    bench.write("demo", 1, "0", "1M");
    bench.write("demo", 2, "100M", "1M");
    let out = bench.path("out.raw");
    let arguments = ["export", "demo", &out.display().to_string()].map(str::to_owned);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    // What stands in the part that is done shows that it was not written again.
    let begun = || {
        let file = File::create(&out).unwrap();
        file.set_len(160 * MIB).unwrap();
        file.write_all_at(&[7; 4096], 0).unwrap();
    };
    begun();
    interrupt(&bench, "out.raw.esker-partial", 64 * MIB, sequence(&bench), None);
    let summary = bench.json(&arguments);
    assert_eq!((&summary["resumed_bytes"], &summary["written_bytes"]), (&(64 * MIB).into(), &MIB.into()));
    let found = fs::read(&out).unwrap();
    assert!(
        found[..4096].iter().all(|byte| *byte == 7)
            && found[100 << 20..101 << 20].iter().all(|byte| *byte == 2)
    );

    begun();
    interrupt(&bench, "out.raw.esker-partial", 64 * MIB, sequence(&bench) - 1, None);
    let output = bench.esker(&arguments);
    assert!(output.status.success() && text(&output.stderr).contains("it starts again"), "{output:?}");
    let found = fs::read(&out).unwrap();
    assert!(found[..1 << 20].iter().all(|byte| *byte == 1) && found[1 << 20] == 0);
    assert!(!bench.path("out.raw.esker-partial").exists());
}

#[test]
fn an_interrupted_import_goes_on_where_it_was() {
    let bench = Bench::new();
    let _daemon = bench.serve(&["--volume", "demo=160M"]);
    let file = File::create(bench.path("disk.raw")).unwrap();
    file.set_len(160 * MIB).unwrap();
    file.write_all_at(&[1; 8192], 0).unwrap();
    // Two writes behind the mark: the second one is in the volume.
    file.write_all_at(&[2; 4096], 64 * MIB).unwrap();
    file.write_all_at(&[3; 4096], 66 * MIB).unwrap();
    file.write_all_at(&[4; 4096], 150 * MIB).unwrap();
    let image = bench.path("disk.raw").display().to_string();
    let partial = "disk.raw.demo.esker-partial";
    bench.write("demo", 9, "0", "4K");
    let marked = sequence(&bench);
    bench.write("demo", 3, "66M", "4K");
    interrupt(&bench, partial, 64 * MIB, marked, Some(&image));
    let summary = bench.json(&["import", "raw", &image, "demo"]);
    assert_eq!(summary["resumed_bytes"], 64 * MIB);
    for (pattern, at) in [(9, "0"), (2, "64M"), (3, "66M"), (4, "150M"), (0, "70M")] {
        bench.read("demo", pattern, at, "4K");
    }
    // More writes than those of the window, by somebody else.
    let marked = sequence(&bench);
    ["1M", "2M", "3M"].into_iter().for_each(|at| bench.write("demo", 8, at, "4K"));
    interrupt(&bench, partial, 64 * MIB, marked, Some(&image));
    let message = bench.fails(1, &["import", "raw", &image, "demo"]);
    assert!(message.contains("has changed since") && message.contains("--force"), "{message}");
    let summary = bench.json(&["import", "raw", &image, "demo", "--force"]);
    assert_eq!((&summary["resumed_bytes"], &summary["written_bytes"]), (&0.into(), &20_480.into()));
    bench.read("demo", 0, "1M", "4K");
    bench.read("demo", 1, "0", "8K");
}
