//! The server and the client over a real socket, and clients that misbehave.

use std::{
    io::{Read, Write},
    os::unix::{fs::PermissionsExt, net::UnixStream},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use esker_control::{Answer, ApiError, Client, Daemon, ErrorKind, Limits, ListenError, Server, api};

/// A daemon that knows the volume `here`.
#[derive(Default)]
struct Fake {
    created: AtomicBool,
}

fn fail<T: Send + 'static>(kind: ErrorKind, message: &str) -> Answer<T> {
    let error = ApiError::new(kind, message);
    Box::pin(async move { Err(error) })
}

fn a_volume(name: String) -> api::Volume {
    api::Volume { name, id: "00".into(), stored: None, served: None, problem: None }
}

impl Daemon for Fake {
    fn status(self: Arc<Self>) -> Answer<api::Status> {
        Box::pin(async { panic!("a bug of the daemon") })
    }

    fn requests(self: Arc<Self>) -> Answer<api::Requests> {
        Box::pin(async { Ok(api::Requests { puts: 3, bytes_up: 1 << 40, ..api::Requests::default() }) })
    }

    fn metrics(self: Arc<Self>) -> Answer<api::Metrics> {
        let sample = api::Sample { labels: Default::default(), value: api::Value::Number(0.25) };
        let (kind, help) = (api::FamilyKind::Gauge, "A quarter".into());
        let family = api::Family { name: "a".into(), kind, help, samples: vec![sample] };
        Box::pin(async { Ok(api::Metrics { families: vec![family] }) })
    }

    fn volumes(self: Arc<Self>) -> Answer<api::Volumes> {
        let pool = api::Pool { url: "memory://".into(), id: "1".into() };
        Box::pin(async { Ok(api::Volumes { pool, volumes: vec![a_volume("here".into())] }) })
    }

    fn volume(self: Arc<Self>, name: String) -> Answer<api::Volume> {
        match name.as_str() {
            "here" => Box::pin(async { Ok(a_volume(name)) }),
            _ => fail(ErrorKind::NotFound, "volume gone does not exist"),
        }
    }

    fn snapshots(self: Arc<Self>) -> Answer<api::Snapshots> {
        let pool = api::Pool { url: "memory://".into(), id: "1".into() };
        Box::pin(async { Ok(api::Snapshots { pool, snapshots: Vec::new() }) })
    }

    fn snapshot(self: Arc<Self>, volume: String, request: api::CreateSnapshot) -> Answer<api::Snapshot> {
        fail(ErrorKind::Exists, &format!("snapshot {volume}@{} exists already", request.name))
    }

    fn groups(self: Arc<Self>) -> Answer<api::Groups> {
        fail(ErrorKind::NotFound, "no groups here")
    }

    fn group(self: Arc<Self>, request: api::CreateGroup) -> Answer<api::Group> {
        fail(ErrorKind::Invalid, &format!("no group {} of {:?}", request.name, request.volumes))
    }

    fn label(self: Arc<Self>, name: String, request: api::LabelSnapshot) -> Answer<api::Snapshot> {
        fail(ErrorKind::NotFound, &format!("snapshot {name} has no labels {:?}", request.remove))
    }

    fn fork(self: Arc<Self>, source: String, request: api::ForkVolume) -> Answer<api::Volume> {
        assert!(request.open);
        Box::pin(async move { Ok(a_volume(format!("{}-of-{source}", request.name))) })
    }

    fn create(self: Arc<Self>, request: api::CreateVolume) -> Answer<api::Volume> {
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(100)).await;
            self.created.store(true, Ordering::SeqCst);
            Ok(a_volume(request.name))
        })
    }

    fn delete(self: Arc<Self>, name: String) -> Answer<api::Deleted> {
        Box::pin(async { Ok(api::Deleted { deleted: name }) })
    }

    fn resize(self: Arc<Self>, name: String, request: api::ResizeVolume) -> Answer<api::Volume> {
        assert_eq!((name.as_str(), request.size_bytes), ("here", 8192));
        Box::pin(async { Ok(a_volume(name)) })
    }

    fn set(self: Arc<Self>, name: String, request: api::SetProperties) -> Answer<api::Volume> {
        assert_eq!((request.set["history"].as_str(), request.inherit.contains("on_lag")), ("7d", true));
        Box::pin(async { Ok(a_volume(name)) })
    }

    fn history(self: Arc<Self>, name: String) -> Answer<api::History> {
        let history = api::Setting { value: "1h".into(), source: api::Source::BuiltIn };
        Box::pin(async { Ok(api::History { name, history, points: Vec::new() }) })
    }

    fn rewind(self: Arc<Self>, _name: String, request: api::RewindVolume) -> Answer<api::Rewound> {
        assert_eq!((request.to, request.new.as_deref()), (api::Target::Head(7), Some("other")));
        fail(ErrorKind::NotFound, "head 7 is gone")
    }

    fn reclaim(self: Arc<Self>, request: api::ReclaimPool) -> Answer<api::Reclaimed> {
        assert!(request.dry_run);
        fail(ErrorKind::Invalid, "not alone")
    }

    fn space(self: Arc<Self>) -> Answer<api::Space> {
        fail(ErrorKind::Unavailable, "not measured")
    }

    fn open(self: Arc<Self>, _name: String, request: api::OpenVolume) -> Answer<api::Opened> {
        assert_eq!(request.discard_after, Some(7));
        fail(ErrorKind::Damaged, "still damaged")
    }
}

struct Bench {
    directory: tempfile::TempDir,
    daemon: Arc<Fake>,
    _server: Server,
}

impl Bench {
    fn start() -> Bench {
        let (directory, daemon) = (tempfile::tempdir().unwrap(), Arc::new(Fake::default()));
        let limits = Limits { receive: Duration::from_millis(300), connections: 4, ..Limits::default() };
        let server = Server::start(&directory.path().join("s"), daemon.clone(), limits).unwrap();
        Bench { directory, daemon, _server: server }
    }

    fn socket(&self) -> std::path::PathBuf {
        self.directory.path().join("s")
    }

    async fn client(&self) -> Client {
        Client::find(&self.socket()).await.unwrap().expect("a server answers")
    }

    /// Sends bytes and reads until the server closes the connection.
    async fn raw(&self, request: Vec<u8>) -> String {
        let socket = self.socket();
        tokio::task::spawn_blocking(move || {
            let mut stream = UnixStream::connect(socket).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            // The server may close before it has read all.
            let _ = stream.write_all(&request);
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer);
            String::from_utf8_lossy(&answer).into_owned()
        })
        .await
        .unwrap()
    }
}

fn request(line: &str, body: &str) -> Vec<u8> {
    format!("{line} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_and_answers() {
    let bench = Bench::start();
    let mode = std::fs::metadata(bench.socket()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let client = bench.client().await;
    assert_eq!(client.requests().await.unwrap().bytes_up, 1 << 40);
    assert_eq!(client.volumes().await.unwrap().volumes[0].name, "here");
    assert_eq!(client.volume("here").await.unwrap().name, "here");
    let error = client.volume("gone").await.unwrap_err();
    assert_eq!((error.kind, error.message.as_str()), (ErrorKind::NotFound, "volume gone does not exist"));
    let wanted = api::CreateVolume {
        name: "new".into(),
        size_bytes: 1,
        durability: None,
        compression: None,
        on_lag: None,
        history: None,
    };
    assert_eq!(client.create(&wanted).await.unwrap().name, "new");
    assert_eq!(client.delete("here").await.unwrap().deleted, "here");
    let wanted = api::OpenVolume { discard_after: Some(7), read_only: false };
    assert_eq!(client.open("here", &wanted).await.unwrap_err().kind, ErrorKind::Damaged);
    assert_eq!(client.volume("../status").await.unwrap_err().kind, ErrorKind::Invalid);
    assert_eq!(client.history("here").await.unwrap().history.value, "1h");
    let wanted = api::RewindVolume { to: api::Target::Head(7), new: Some("other".into()) };
    assert_eq!(client.rewind("here", &wanted).await.unwrap_err().kind, ErrorKind::NotFound);
    let wanted = api::SetProperties {
        set: [("history".into(), "7d".into())].into(),
        inherit: ["on_lag".into()].into(),
    };
    assert_eq!(client.set("here", &wanted).await.unwrap().name, "here");
    // A bug of the daemon ends one call.
    assert_eq!(client.status().await.unwrap_err().kind, ErrorKind::Internal);
    assert_eq!(client.requests().await.unwrap().puts, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_make_no_sense() {
    let bench = Bench::start();
    let long = "x".repeat(100_000);
    for (sent, status, kind) in [
        (request("GET /", ""), 404, "not-found"),
        (request("GET /v1/volumes/a/b", ""), 404, "not-found"),
        (request("GET /v1/volumes/", ""), 404, "not-found"),
        (request("GET /v2/status", ""), 404, "not-found"),
        (request("PUT /v1/volumes", "{}"), 405, "method-not-allowed"),
        (request("POST /v1/status", "{}"), 405, "method-not-allowed"),
        (request("POST /metrics", "{}"), 405, "method-not-allowed"),
        (request("GET /metrics/", ""), 404, "not-found"),
        (request("POST /v1/volumes", "{"), 400, "invalid"),
        (request("POST /v1/volumes", ""), 400, "invalid"),
        (request("POST /v1/volumes", r#"{"name":"a","size_bytes":-1}"#), 400, "invalid"),
        (request("POST /v1/volumes", r#"{"name":"a","size_bytes":1,"colour":1}"#), 400, "invalid"),
        (request("POST /v1/volumes", &long), 413, "too-large"),
        (b"POST /v1/volumes HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{".to_vec(), 408, "timeout"),
    ] {
        let shown = String::from_utf8_lossy(&sent[..sent.len().min(60)]).into_owned();
        let answer = bench.raw(sent).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{shown}: {answer}");
        assert!(answer.contains(&format!(r#"{{"error":{{"kind":"{kind}","message":"#)), "{shown}: {answer}");
    }
    for junk in [b"\0\0\0\0\r\n\r\n".to_vec(), b"GET ".to_vec(), vec![b'a'; 1 << 20], Vec::new()] {
        let answer = bench.raw(junk).await;
        assert!(!answer.contains("200 OK"), "{answer}");
    }
    assert_eq!(bench.client().await.requests().await.unwrap().puts, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_text_and_json() {
    let bench = Bench::start();
    let answer = bench.raw(request("GET /metrics", "")).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 ") && head.contains("text/plain; version=0.0.4"), "{head}");
    assert_eq!(body, "# HELP a A quarter\n# TYPE a gauge\na 0.25\n");
    let metrics = bench.client().await.metrics().await.unwrap();
    assert_eq!(metrics.families[0].samples[0].value, api::Value::Number(0.25));
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_say_nothing_hold_up_nobody_for_long() {
    let bench = Bench::start();
    let silent: Vec<UnixStream> = (0..20).map(|_| UnixStream::connect(bench.socket()).unwrap()).collect();
    assert_eq!(bench.client().await.requests().await.unwrap().puts, 3);
    drop(silent);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_runs_to_its_end_without_its_caller() {
    let bench = Bench::start();
    let mut stream = UnixStream::connect(bench.socket()).unwrap();
    stream.write_all(&request("POST /v1/volumes", r#"{"name":"a","size_bytes":1}"#)).unwrap();
    tokio::time::sleep(Duration::from_millis(30)).await;
    drop(stream);
    for _ in 0..100 {
        if bench.daemon.created.load(Ordering::SeqCst) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the call was cut off");
}

#[tokio::test(flavor = "multi_thread")]
async fn sockets_are_handled_with_care() {
    let bench = Bench::start();
    let start = |path: &Path| Server::start(path, Arc::new(Fake::default()), Limits::default());
    assert!(matches!(start(&bench.socket()), Err(ListenError::InUse { .. })));
    let file = bench.directory.path().join("file");
    std::fs::write(&file, "precious").unwrap();
    assert!(matches!(start(&file), Err(ListenError::NotASocket { .. })));
    assert_eq!(std::fs::read(&file).unwrap(), b"precious");
    // What a killed daemon leaves behind is replaced.
    let stale = bench.directory.path().join("stale");
    drop(std::os::unix::net::UnixListener::bind(&stale).unwrap());
    assert!(Client::find(&stale).await.unwrap().is_none());
    let server = start(&stale).unwrap();
    assert!(Client::find(&stale).await.unwrap().is_some());
    drop(server);
    assert!(!stale.exists(), "a server that ends removes its socket");
    assert!(Client::find(&bench.directory.path().join("none")).await.unwrap().is_none());
}

#[tokio::test]
async fn snapshots_and_forks_are_asked_for_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("control.sock");
    let _server = Server::start(&path, Arc::new(Fake::default()), Limits::default()).unwrap();
    let client = Client::find(&path).await.unwrap().unwrap();
    assert!(client.snapshots().await.unwrap().snapshots.is_empty());
    let wanted = api::CreateSnapshot { name: "one".into(), labels: Default::default() };
    let error = client.snapshot("here", &wanted).await.unwrap_err();
    assert_eq!((error.kind, &error.message[..]), (ErrorKind::Exists, "snapshot here@one exists already"));
    let wanted = api::LabelSnapshot { remove: vec!["a".into()], ..Default::default() };
    let error = client.label("here@one", &wanted).await.unwrap_err();
    assert_eq!(error.message, "snapshot here@one has no labels [\"a\"]");
    let fork = client.fork("here@one", &api::ForkVolume { name: "new".into(), open: true }).await.unwrap();
    assert_eq!(fork.name, "new-of-here@one");
}
