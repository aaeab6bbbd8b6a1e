//! The clients that users have, run as processes.

use std::{
    fs,
    io::ErrorKind,
    path::Path,
    process::{Command, Output, Stdio},
    sync::atomic::Ordering::SeqCst,
};

use esker_frontend::nbd::Limits;

use crate::host::{Host, SIZE, pattern};

/// Debian's package of each tool.
const PACKAGES: &[(&str, &str)] = &[
    ("nbdinfo", "libnbd-bin"),
    ("nbdcopy", "libnbd-bin"),
    ("qemu-img", "qemu-utils"),
    ("qemu-io", "qemu-utils"),
    ("fio", "fio"),
    ("/usr/bin/python3", "python3-libnbd"),
];

/// Runs a tool for at most a minute.
fn run(tool: &str, arguments: &[&str]) -> Output {
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

/// Runs a tool that must succeed; what it printed.
fn ok(tool: &str, arguments: &[&str]) -> String {
    let output = run(tool, arguments);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{tool} {arguments:?}: {}\n{out}\n{err}", output.status);
    out.into_owned() + &err
}

fn python(host: &Host, script: &str) {
    let begin = format!(
        "import nbd, errno\nURI = {:?}\nSIZE = {SIZE}\ndef fails(number, call, *a, **k):\n    try:\n        call(*a, \
         **k)\n    except nbd.Error as error:\n        assert error.errnum == number, (error.errnum, number)\n    \
         else:\n        raise AssertionError('no error')\n",
        uri(host, "disk")
    );
    ok("/usr/bin/python3", &["-c", &(begin + script)]);
}

fn uri(host: &Host, name: &str) -> String {
    format!("nbd+unix:///{name}?socket={}", host.socket.display())
}

fn file(host: &Host, name: &str) -> String {
    host.directory.path().join(name).display().to_string()
}

#[test]
fn nbdinfo_sees_everything() {
    let host = Host::start();
    let info = ok("nbdinfo", &["--json", &uri(&host, "disk")]);
    for line in [
        "\"protocol\": \"newstyle-fixed\"",
        "\"structured\": true",
        "\"export-name\": \"disk\"",
        "\"description\": \"Esker volume\"",
        "\"base:allocation\"",
        "\"is_read_only\": false",
        "\"can_cache\": true",
        "\"can_df\": true",
        "\"can_fast_zero\": true",
        "\"can_flush\": true",
        "\"can_fua\": true",
        "\"can_multi_conn\": true",
        "\"can_trim\": true",
        "\"can_zero\": true",
        "\"block_size_minimum\": 1",
        "\"block_size_preferred\": 4096",
        "\"block_size_maximum\": 33554432",
        &format!("\"export-size\": {SIZE}"),
    ] {
        assert!(info.contains(line), "{line} is missing in\n{info}");
    }
    let list = ok("nbdinfo", &["--list", &uri(&host, "")]);
    assert!(list.contains("export=\"disk\"") && list.contains("export=\"fixed\""), "{list}");
    ok("nbdinfo", &["--is", "read-only", &uri(&host, "fixed")]);
    host.disk.fill(1 << 20, &[1; 8192]);
    let map = ok("nbdinfo", &["--map", &uri(&host, "disk")]);
    let fields: Vec<Vec<&str>> = map.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(fields[0], ["0", "1048576", "3", "hole,zero"], "{map}");
    assert_eq!(fields[1], ["1048576", "8192", "0", "data"], "{map}");
}

#[test]
fn libnbd_every_command() {
    let host = Host::start();
    python(
        &host,
        r#"
for structured in (True, False):
    h = nbd.NBD()
    h.set_request_structured_replies(structured)
    if structured: h.add_meta_context(nbd.CONTEXT_BASE_ALLOCATION)
    h.connect_uri(URI)
    assert h.get_size() == SIZE
    assert h.get_structured_replies_negotiated() == structured
    data = bytes(range(256)) * 300
    h.pwrite(data, 12345)
    assert h.pread(len(data), 12345) == data
    h.pwrite(data, 12345, nbd.CMD_FLAG_FUA)
    h.flush()
    h.trim(8192, 4096, nbd.CMD_FLAG_FUA)
    assert h.pread(4096, 8192) == bytes(4096)
    h.zero(8192, 16384, nbd.CMD_FLAG_FUA | nbd.CMD_FLAG_NO_HOLE | nbd.CMD_FLAG_FAST_ZERO)
    h.cache(1 << 20, 0)
    if structured:
        chunks = []
        h.pread_structured(5 << 20, 100, lambda buf, off, status, err: chunks.append((off, len(buf), status)))
        assert sum(c[1] for c in chunks) == 5 << 20 and len(chunks) == 6, chunks
        chunks = []
        h.pread_structured(1 << 20, 100, lambda buf, off, status, err: chunks.append(off), nbd.CMD_FLAG_DF)
        assert chunks == [100], chunks
        fails(errno.EOVERFLOW, h.pread_structured, 2 << 20, 0, lambda *a: 0, nbd.CMD_FLAG_DF)
        found = []
        h.block_status(SIZE, 0, lambda name, off, entries, err: found.append((name, off, entries)))
        assert found[0][0] == 'base:allocation' and sum(found[0][2][::2]) == SIZE, found
    h.set_strict_mode(0)
    fails(errno.EINVAL, h.pread, 512, SIZE)
    fails(errno.ENOSPC, h.pwrite, b'x' * 512, SIZE - 511)
    fails(errno.ENOSPC, h.zero, 512, SIZE)
    fails(errno.EINVAL, h.trim, 512, SIZE)
    fails(errno.EINVAL, h.flush, 1 << 9)
    assert h.pread(4, 0) == bytes(4)
    h.shutdown()
"#,
    );
    assert!(host.disk.flushes.load(SeqCst) >= 8);
}

#[test]
fn libnbd_option_by_option() {
    let host = Host::start();
    python(
        &host,
        r#"
h = nbd.NBD()
h.set_opt_mode(True)
h.set_full_info(True)
h.connect_uri(URI)
names = []
h.opt_list(lambda name, description: names.append(name))
assert names == ['disk', 'fixed'], names
contexts = []
h.opt_list_meta_context(lambda name: contexts.append(name))
assert contexts == ['base:allocation', 'esker:diff:before', 'qemu:dirty-bitmap:before'], contexts
h.set_export_name('nothing')
fails(errno.ENOENT, h.opt_info)
h.set_export_name('fixed')
h.opt_info()
assert h.is_read_only() and h.get_canonical_export_name() == 'fixed'
assert h.get_export_description() == 'Esker volume, read-only'
h.set_export_name('disk')
h.add_meta_context('base:allocation')
h.opt_go()
assert h.can_meta_context('base:allocation') and not h.is_read_only()
h.shutdown()
h = nbd.NBD()
h.set_opt_mode(True)
h.connect_uri(URI)
h.opt_abort()
h = nbd.NBD()
h.set_tls(nbd.TLS_ALLOW)
h.connect_uri(URI)
assert not h.get_tls_negotiated()
h.shutdown()
"#,
    );
}

#[test]
fn libnbd_many_in_flight_with_late_requests() {
    let host = Host::start();
    host.disk.late_reads.store(true, SeqCst);
    host.disk.late_changes.store(true, SeqCst);
    python(
        &host,
        r#"
h = nbd.NBD()
h.connect_uri(URI)
def drain(cookies):
    for c in cookies:
        while not h.aio_command_completed(c):
            h.poll(-1)
writes = [h.aio_pwrite(nbd.Buffer.from_bytearray(bytearray([i % 251]) * 3000), i * 3000) for i in range(500)]
drain(writes)
buffers = [nbd.Buffer(3000) for i in range(500)]
drain([h.aio_pread(b, i * 3000) for i, b in enumerate(buffers)])
for i, b in enumerate(buffers):
    assert b.to_bytearray() == bytearray([i % 251]) * 3000, i
h.shutdown()
"#,
    );
}

#[test]
fn nbdcopy_in_and_out() {
    let host = Host::with(48 << 20, Limits::default());
    let (source, target) = (file(&host, "source"), file(&host, "target"));
    let mut data = pattern(3, 48 << 20);
    data[5 << 20..20 << 20].fill(0);
    fs::write(&source, &data).unwrap();
    ok("nbdcopy", &["--connections=4", "--flush", &source, &uri(&host, "disk")]);
    assert!(host.disk.bytes(0, 48 << 20) == data);
    assert!(host.disk.flushes.load(SeqCst) > 0);
    ok("nbdcopy", &["--connections=4", &uri(&host, "disk"), &target]);
    assert!(fs::read(&target).unwrap() == data);
    host.disk.late_reads.store(true, SeqCst);
    let late = file(&host, "late");
    ok("nbdcopy", &["--request-size=2097152", &uri(&host, "disk"), &late]);
    assert!(fs::read(&late).unwrap() == data);
}

#[test]
fn qemu_img_converts_compares_and_maps() {
    let host = Host::with(48 << 20, Limits::default());
    let (source, back) = (file(&host, "source"), file(&host, "back.qcow2"));
    let mut data = pattern(4, 48 << 20);
    data[10 << 20..30 << 20].fill(0);
    fs::write(&source, &data).unwrap();
    let disk = uri(&host, "disk");
    let info = ok("qemu-img", &["info", &disk]);
    assert!(info.contains("48 MiB"), "{info}");
    ok("qemu-img", &["convert", "-n", "-f", "raw", "-O", "raw", &source, &disk]);
    assert!(host.disk.bytes(0, 48 << 20) == data);
    ok("qemu-img", &["compare", "-f", "raw", "-F", "raw", &source, &disk]);
    let map = ok("qemu-img", &["map", "--output=json", "-f", "raw", &disk]);
    assert!(map.contains("\"zero\": true") && map.contains("\"data\": true"), "{map}");
    ok("qemu-img", &["convert", "-f", "raw", "-O", "qcow2", &disk, &back]);
    ok("qemu-img", &["compare", "-f", "raw", "-F", "qcow2", &source, &back]);
}

#[test]
fn qemu_io_patterns() {
    let host = Host::start();
    let disk = uri(&host, "disk");
    let commands = [
        "write -P 0xab 0 1M",
        "write -f -P 0xcd 64k 64k",
        "write -z 128k 64k",
        "write -z -u 256k 64k",
        "discard 512k 128k",
        "flush",
        "read -P 0xab 0 64k",
        "read -P 0xcd 64k 64k",
        "read -P 0 128k 64k",
        "read -P 0xab 192k 64k",
        "read -P 0 256k 64k",
        "write -P 0x11 4097 511",
        "read -P 0x11 4097 511",
        "read -P 0xab 4096 1",
        "aio_write -P 0x22 2M 8M",
        "aio_flush",
        "read -P 0x22 2M 8M",
    ];
    let arguments: Vec<&str> =
        ["-f", "raw", &disk].into_iter().chain(commands.iter().flat_map(|command| ["-c", command])).collect();
    let output = ok("qemu-io", &arguments);
    assert!(!output.contains("failed") && !output.contains("error"), "{output}");
    assert!(host.disk.flushes.load(SeqCst) >= 2);
    let refused = run("qemu-io", &["-f", "raw", "-c", "write 0 512", &uri(&host, "fixed")]);
    assert!(!refused.status.success(), "a read-only export was written");
}

#[test]
fn fio_verifies() {
    let host = Host::with(64 << 20, Limits::default());
    let directory: &Path = host.directory.path();
    let log = directory.join("fio");
    for late in [false, true] {
        host.disk.late_changes.store(late, SeqCst);
        host.disk.late_reads.store(late, SeqCst);
        let output = ok(
            "fio",
            &[
                "--name=nbd",
                "--ioengine=nbd",
                &format!("--uri={}", uri(&host, "disk")),
                "--rw=randrw",
                "--bsrange=512-128k",
                "--bs_unaligned=1",
                "--iodepth=32",
                "--size=32M",
                "--verify=crc32c",
                "--verify_backlog=1024",
                "--fsync=64",
                &format!("--aux-path={}", directory.display()),
                &format!("--output={}", log.display()),
                "--verify_state_save=0",
            ],
        );
        let report = fs::read_to_string(&log).unwrap();
        assert!(report.contains("err= 0"), "{output}\n{report}");
    }
}
