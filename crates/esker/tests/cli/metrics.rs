//! What a daemon measures, scraped from its socket and printed by the command.

use std::{
    fs,
    io::{Read, Write},
    os::unix::net::UnixStream,
    thread,
    time::Duration,
};

use crate::bench::Bench;

/// What a scraper gets.
fn scrape(bench: &Bench) -> String {
    let mut stream = UnixStream::connect(bench.data().join("control.sock")).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 ") && head.contains("text/plain; version=0.0.4"), "{head}");
    body.to_owned()
}

/// As [`scrape`], when the connections are gone: the last of what one has served is counted when it ends.
fn scrape_in_peace(bench: &Bench) -> String {
    for _ in 0..200 {
        let text = scrape(bench);
        if number(&text, "esker_nbd_connections{volume=\"demo\"}") == 0.0 {
            return text;
        }
        thread::sleep(Duration::from_millis(50));
    }
    panic!("a connection stays open");
}

/// The number behind a name with its labels.
fn number(text: &str, name: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{name} is not in\n{text}")).parse().unwrap()
}

#[test]
fn a_daemon_is_scraped() {
    let bench = Bench::new();
    let file = bench.path("settings.toml");
    let settings = "[prices]\nput_usd_per_million = 1000000\n[[volume]]\nname = 'demo'\nsize = '64M'\n";
    fs::write(&file, settings).unwrap();
    let daemon = bench.serve(&["--config", &file.display().to_string(), "--dirty-bound", "128M"]);
    let before = scrape(&bench);
    assert_eq!(number(&before, "esker_volume_lag_seconds{volume=\"demo\"}"), 0.0);
    assert_eq!(number(&before, "esker_volume_dirty_bound_bytes{volume=\"demo\"}"), f64::from(128 << 20));
    bench.write("demo", 1, "1M", "2M");
    bench.read("demo", 1, "1M", "1M");
    let after = scrape_in_peace(&bench);
    let nbd = |what: &str, kind: &str| {
        number(&after, &format!("esker_nbd_{what}{{kind=\"{kind}\",volume=\"demo\"}}"))
    };
    assert_eq!((nbd("bytes_total", "write"), nbd("bytes_total", "read")), (2097152.0, 1048576.0));
    let requests = ["read", "write", "flush"].map(|kind| nbd("requests_total", kind));
    assert!(requests.iter().all(|count| *count >= 1.0), "{requests:?}");
    // A write that asks for FUA is timed as a flush, and some clients always ask.
    let timed = ["read", "write", "flush"].map(|kind| nbd("latency_seconds_count", kind));
    assert_eq!((timed[0], timed[1] + timed[2]), (requests[0], requests[1] + requests[2]));
    assert!(nbd("latency_seconds_sum", "read") > 0.0 && nbd("latency_seconds_sum", "flush") > 0.0);
    assert!(number(&after, "esker_volume_log_files{volume=\"demo\"}") >= 1.0);
    assert_eq!(number(&after, "esker_nbd_errors_total{volume=\"demo\"}"), 0.0);
    // A dollar for each PUT.
    let puts = number(&after, "esker_store_requests_total{kind=\"put\"}");
    assert!(puts >= 1.0 && number(&after, "esker_store_cost_usd_total{kind=\"put\"}") == puts);
    let names = |text: &str| {
        let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        types.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(names(&bench.ok(&["metrics"])), names(&after));
    let json = bench.json(&["metrics"]);
    let families = json["families"].as_array().unwrap();
    assert_eq!(families.len(), names(&after).len());
    let info = families.iter().find(|family| family["name"] == "esker_info").unwrap();
    assert_eq!(info["samples"][0]["value"], 1.0);
    assert_eq!(daemon.stop(), 0);
    let message = bench.fails(1, &["metrics"]);
    assert!(message.contains("no daemon answers"), "{message}");
}

/// What a volume that is opened anew reads from the store is fetched once.
#[test]
fn the_cache_is_measured() {
    let bench = Bench::new();
    let daemon = bench.serve(&["--volume", "demo=8M"]);
    bench.write("demo", 1, "0", "1M");
    assert_eq!(daemon.stop(), 0);
    let daemon = bench.serve(&[]);
    bench.read("demo", 1, "0", "1M");
    let cold = scrape(&bench);
    let misses = number(&cold, "esker_cache_misses_total");
    assert!(misses > 0.0 && number(&cold, "esker_cache_bytes{kind=\"frame\"}") > 0.0, "{cold}");
    bench.read("demo", 1, "0", "1M");
    let warm = scrape(&bench);
    assert_eq!(number(&warm, "esker_cache_misses_total"), misses);
    assert!(number(&warm, "esker_cache_hits_total") > number(&cold, "esker_cache_hits_total"));
    assert_eq!(daemon.stop(), 0);
}
