use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    thread,
    time::Duration,
};

use bytes::Bytes;
use object_store::aws::AmazonS3Builder;

use super::{
    super::{Objects, Range, Result, Retry, StoreErrorKind},
    Client, CloudObjects,
    answer::Answer,
    failure::Failure,
    s3,
};
use crate::sync::{Arc, Mutex};

mod azure;
mod gcs;

fn refused(status: u16, code: &str) -> Failure {
    Failure::Refused(Answer { status, code: code.to_owned(), message: String::new(), retry_after: None })
}

fn delete(failure: Failure) -> Option<StoreErrorKind> {
    let answer: Result<()> = failure.of_delete("a");
    answer.err().map(|error| error.kind)
}

#[test]
fn refusals_have_the_kind_that_a_caller_can_act_on() {
    use StoreErrorKind::{Exists, NotFound, Permanent, Protocol, Throttled, Transient};
    let put = |status, code| refused(status, code).of_put("a").kind;
    let get = |status, code| refused(status, code).of_get("a").kind;
    let list = |status, code| refused(status, code).of_list("a/").kind;
    assert_eq!(put(412, "PreconditionFailed"), Exists);
    assert_eq!(put(409, ""), Exists);
    assert_eq!(put(409, "ConditionalRequestConflict"), Transient);
    assert_eq!(put(404, "NoSuchBucket"), Permanent);
    assert_eq!(put(409, "BlobAlreadyExists"), Exists);
    assert_eq!(put(412, "ConditionNotMet"), Exists);
    assert_eq!(put(403, "UnauthorizedBlobOverwrite"), Exists);
    assert_eq!(put(403, "AuthorizationPermissionMismatch"), Permanent);
    assert_eq!(put(409, "ContainerBeingDeleted"), Transient);
    assert_eq!(put(404, "ContainerNotFound"), Permanent);
    assert_eq!(put(400, "Md5Mismatch"), Transient);
    assert_eq!(put(503, "ServerBusy"), Throttled(Duration::ZERO));
    assert_eq!(get(404, "BlobNotFound"), NotFound);
    assert_eq!(get(404, "ContainerNotFound"), Permanent);
    assert_eq!(put(400, "BadDigest"), Transient);
    assert_eq!(put(400, "InvalidRequest"), Permanent);
    assert_eq!(put(501, "NotImplemented"), Permanent);
    assert_eq!(put(503, "SlowDown"), Throttled(Duration::ZERO));
    assert_eq!(put(503, "ServiceUnavailable"), Transient);
    assert_eq!(put(429, ""), Throttled(Duration::ZERO));
    // Of credentials that have run out: it passes when they are renewed.
    assert_eq!(put(403, "ExpiredToken"), Transient);
    assert_eq!(get(400, "ExpiredToken"), Transient);
    assert_eq!(put(403, "SignatureDoesNotMatch"), Permanent);
    assert_eq!(get(404, "NoSuchKey"), NotFound);
    assert_eq!(get(404, ""), NotFound);
    assert_eq!(get(404, "NoSuchBucket"), Permanent);
    assert_eq!(get(403, "AccessDenied"), Permanent);
    assert_eq!(get(416, "InvalidRange"), Protocol);
    assert_eq!(get(500, "InternalError"), Transient);
    assert_eq!(list(404, "NoSuchBucket"), Permanent);
    assert_eq!(list(504, ""), Transient);
    assert_eq!(delete(refused(404, "NoSuchKey")), None);
    assert_eq!(delete(refused(404, "BlobNotFound")), None);
    assert_eq!(delete(refused(404, "NoSuchBucket")), Some(Permanent));
    assert_eq!(delete(refused(404, "ContainerNotFound")), Some(Permanent));
    assert_eq!(delete(refused(500, "")), Some(Transient));
}

/// Unlike those that have run out, credentials that are wrong stay so.
#[tokio::test]
async fn wrong_credentials_fail_at_once() {
    let clock = || Arc::new(crate::SystemClock::new());
    for (status, code) in [
        ("403 Forbidden", "InvalidAccessKeyId"),
        ("403 Forbidden", "SignatureDoesNotMatch"),
        ("403 Forbidden", "AccessDenied"),
        ("403 Forbidden", "InvalidToken"),
        ("400 Bad Request", "InvalidToken"),
        ("400 Bad Request", "AuthorizationHeaderMalformed"),
        ("403 Forbidden", "RequestTimeTooSkewed"),
        ("401 Unauthorized", "UNAUTHENTICATED"),
        ("403 Forbidden", "AuthenticationFailed"),
        ("403 Forbidden", ""),
        ("401 Unauthorized", ""),
    ] {
        let body = format!("<Error><Code>{code}</Code><Message>No.</Message></Error>").leak();
        let canned = canned(status, "", body);
        let store = Retry::new(Arc::new(canned.store), clock(), Arc::new(crate::SystemRandom));
        let failures = [
            store.get("a", Range::All).await.unwrap_err(),
            store.list("a/").await.unwrap_err(),
            store.delete("a").await.unwrap_err(),
            store.put_new("a", Bytes::from_static(b"hello")).await.unwrap_err(),
        ];
        for failure in failures {
            assert_eq!(failure.kind, StoreErrorKind::Permanent, "{failure}");
            assert!(failure.to_string().contains(code), "{failure}");
        }
        assert_eq!(canned.requests.lock().len(), 4, "{status} {code}: tried again");
    }
}

#[test]
fn an_endpoint_without_encryption_has_to_be_allowed() {
    let builder = || AmazonS3Builder::new().with_access_key_id("k").with_secret_access_key("s");
    let endpoint = |url: &str| builder().with_endpoint(url);
    let error = s3::configured(endpoint("http://127.0.0.1:1"), "b").unwrap_err();
    assert!(error.contains("AWS_ALLOW_HTTP=true"), "{error}");
    s3::configured(endpoint("http://127.0.0.1:1").with_allow_http(true), "b").unwrap();
    s3::configured(endpoint("https://127.0.0.1:1"), "b").unwrap();
    s3::configured(builder(), "b").unwrap();
    assert!(s3::configured(endpoint("127.0.0.1"), "b").is_err());
}

/// A store that gives one answer to everything, on a thread of its own that ends with the test's process.
struct Canned {
    store: CloudObjects,
    requests: Arc<Mutex<Vec<String>>>,
}

fn canned(status: &'static str, headers: &'static str, body: &'static str) -> Canned {
    canned_for(status, headers, body, |endpoint| {
        let builder = AmazonS3Builder::new().with_access_key_id("k").with_secret_access_key("s");
        s3::configured(builder.with_endpoint(endpoint).with_allow_http(true), "bucket").unwrap()
    })
}

fn canned_for(
    status: &'static str,
    headers: &'static str,
    body: &'static str,
    client: impl FnOnce(String) -> Client,
) -> Canned {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let requests = Arc::new(Mutex::new(Vec::new()));
    let seen = requests.clone();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            seen.lock().push(read_request(&mut stream));
            let answer = format!("HTTP/1.1 {status}\r\n{headers}Connection: close\r\n\r\n{body}");
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    Canned { store: CloudObjects::with_client(client(endpoint), "s3://bucket/p", "p"), requests }
}

/// The head of a request; bodies in these tests are five bytes.
fn read_request(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    let mut byte = [0];
    while !text.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() == 1 {
        text.push(byte[0]);
    }
    let text = String::from_utf8(text).unwrap().to_lowercase();
    if text.starts_with("put") {
        stream.read_exact(&mut [0; 5]).unwrap();
    }
    text
}

async fn put(canned: &Canned) -> Result<()> {
    canned.store.put_new("a", Bytes::from_static(b"hello")).await
}

async fn get(canned: &Canned, range: Range) -> Result<Bytes> {
    canned.store.get("a", range).await
}

#[tokio::test]
async fn a_put_is_conditional_has_a_checksum_and_is_sent_once() {
    let error = "<Error><Code>InternalError</Code><Message>We are sorry.</Message></Error>";
    for (status, kind) in [
        ("500 Internal Server Error", StoreErrorKind::Transient),
        ("503 Slow Down", StoreErrorKind::Transient),
        ("429 Too Many Requests", StoreErrorKind::Throttled(Duration::ZERO)),
        ("412 Precondition Failed", StoreErrorKind::Exists),
        ("304 Not Modified", StoreErrorKind::Exists),
        ("403 Forbidden", StoreErrorKind::Permanent),
        ("400 Bad Request", StoreErrorKind::Permanent),
    ] {
        let canned = canned(status, "", if status.starts_with("304") { "" } else { error });
        let failure = put(&canned).await.unwrap_err();
        assert_eq!(failure.kind, kind, "{failure}");
        let requests = canned.requests.lock();
        assert_eq!(requests.len(), 1, "{status}: object_store tried again");
        assert!(requests[0].starts_with("put /bucket/p/a http/1.1"), "{}", requests[0]);
        assert!(requests[0].contains("\r\nif-none-match: *\r\n"), "{}", requests[0]);
        // SHA-256 of "hello"; the text here is in lower case.
        let checksum = "LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=".to_lowercase();
        assert!(requests[0].contains(&format!("x-amz-checksum-sha256: {checksum}")), "{}", requests[0]);
    }
    let canned = canned("500 Internal Server Error", "", error);
    let message = put(&canned).await.unwrap_err().to_string();
    assert_eq!(message, "put a: the store answered 500, InternalError, We are sorry.");
}

#[tokio::test]
async fn a_store_that_throttles_says_for_how_long() {
    let busy = "<Error><Code>SlowDown</Code></Error>";
    let canned = canned("503 Slow Down", "Retry-After: 7\r\n", busy);
    let kind = StoreErrorKind::Throttled(Duration::from_secs(7));
    assert_eq!(put(&canned).await.unwrap_err().kind, kind);
    assert_eq!(get(&canned, Range::All).await.unwrap_err().kind, kind);
}

#[tokio::test]
async fn a_put_whose_answer_is_cut_off_may_have_happened() {
    let canned = canned("500 Internal Server Error", "Content-Length: 1000\r\n", "<Err");
    assert_eq!(put(&canned).await.unwrap_err().kind, StoreErrorKind::Transient);
    assert_eq!(canned.requests.lock().len(), 1);
}

/// What every good answer to a GET has, for five bytes.
const FIVE: &str = "ETag: \"x\"\r\nLast-Modified: Sat, 21 Nov 2026 00:00:00 GMT\r\nContent-Length: 5\r\n";

#[tokio::test]
async fn a_range_must_be_answered_by_that_range() {
    let asked = Range::Bytes { start: 2, end: 7 };
    // The whole object instead of a part of it.
    let whole = canned("200 OK", FIVE, "hello");
    assert_eq!(get(&whole, asked).await.unwrap_err().kind, StoreErrorKind::Protocol);
    assert_eq!(whole.requests.lock().len(), 1);
    assert!(whole.requests.lock()[0].contains("\r\nrange: bytes=2-6\r\n"));
    let with_range = |range: &str| -> &'static str { format!("{FIVE}Content-Range: {range}\r\n").leak() };
    for wrong in ["bytes 3-7/20", "bytes 2-6", "octets 2-6/20"] {
        let wrong = canned("206 Partial Content", with_range(wrong), "hello");
        assert_eq!(get(&wrong, asked).await.unwrap_err().kind, StoreErrorKind::Protocol);
    }
    // A part that ends with the object, before the range does.
    let short = canned("206 Partial Content", with_range("bytes 2-6/7"), "hello");
    assert_eq!(
        get(&short, Range::Bytes { start: 2, end: 9 }).await.unwrap_err().kind,
        StoreErrorKind::Protocol
    );
    let good = canned("206 Partial Content", with_range("bytes 2-6/20"), "hello");
    assert_eq!(get(&good, asked).await.unwrap(), "hello");
    let suffix = canned("206 Partial Content", with_range("bytes 0-4/5"), "hello");
    assert_eq!(get(&suffix, Range::Suffix(100)).await.unwrap(), "hello");
    assert!(suffix.requests.lock()[0].contains("\r\nrange: bytes=-100\r\n"));
}

#[tokio::test]
async fn a_get_that_breaks_off_may_pass() {
    let cut = canned("200 OK", "ETag: \"x\"\r\nContent-Length: 500\r\n", "hello");
    let error = get(&cut, Range::All).await.unwrap_err();
    assert!(matches!(error.kind, StoreErrorKind::Transient | StoreErrorKind::Protocol), "{error}");
    assert_eq!(cut.requests.lock().len(), 1);
    let missing = canned("404 Not Found", "", "");
    assert_eq!(get(&missing, Range::All).await.unwrap_err().kind, StoreErrorKind::NotFound);
}

#[tokio::test]
async fn the_last_bytes_of_an_empty_object_are_none() {
    let none = "ETag: \"x\"\r\nLast-Modified: Sat, 21 Nov 2026 00:00:00 GMT\r\nContent-Length: 0\r\n";
    for empty in [canned("416 Range Not Satisfiable", "", ""), canned("200 OK", none, "")] {
        assert_eq!(get(&empty, Range::Suffix(9)).await.unwrap(), "");
    }
    let whole = canned("200 OK", FIVE, "hello");
    assert_eq!(get(&whole, Range::Suffix(9)).await.unwrap_err().kind, StoreErrorKind::Protocol);
}

#[tokio::test]
async fn a_list_that_is_no_list_is_an_error() {
    for body in ["", "<html>", "not xml at all"] {
        let list = canned("200 OK", "", body).store.list("").await;
        assert_eq!(list.unwrap_err().kind, StoreErrorKind::Protocol, "{body}");
    }
    let refused = canned("404 Not Found", "", "<Error><Code>NoSuchBucket</Code></Error>");
    assert_eq!(refused.store.list("").await.unwrap_err().kind, StoreErrorKind::Permanent);
}

#[tokio::test]
async fn a_store_that_says_nothing_is_not_waited_for_for_ever() {
    assert_eq!(super::time_for(32 << 20), Duration::from_secs(148));
    let silence = std::future::pending::<object_store::Result<()>>();
    let error = super::within(Duration::from_millis(1), silence).await.unwrap_err().of_put("a");
    assert_eq!((error.kind, &*error.message), (StoreErrorKind::Transient, "no answer within 1ms"));
}
