use std::time::Duration;

use object_store::azure::MicrosoftAzureBuilder;

use super::{
    super::{Objects, Range, StoreErrorKind, azure},
    Canned, canned_for, put,
};

const ACCOUNT: &str = "account";
/// Base64 of nothing that is secret.
const KEY: &str = "c2VjcmV0c2VjcmV0";
const CREATED: &str = "ETag: \"x\"\r\nLast-Modified: Sat, 21 Nov 2026 00:00:00 GMT\r\nContent-Length: 0\r\n";

fn builder(endpoint: String) -> MicrosoftAzureBuilder {
    MicrosoftAzureBuilder::new().with_account(ACCOUNT).with_endpoint(endpoint).with_allow_http(true)
}

fn by_key(status: &'static str, headers: &'static str, body: &'static str) -> Canned {
    canned_for(status, headers, body, |endpoint| {
        azure::configured(builder(endpoint).with_access_key(KEY), "container").unwrap()
    })
}

fn by_signature(status: &'static str, headers: &'static str, body: &'static str) -> Canned {
    canned_for(status, headers, body, |endpoint| {
        let sas = [("sv".to_owned(), "2023".to_owned()), ("sig".to_owned(), "hidden".to_owned())];
        azure::configured(builder(endpoint).with_sas_authorization(sas), "container").unwrap()
    })
}

/// The MD5 of "hello".
const MD5: &str = "XUFAKrxLKna5cZ2REBfFkg==";

#[tokio::test]
async fn a_put_is_conditional_and_is_sent_once() {
    let body = "<Error><Code>X</Code><Message>No.\nRequestId:1</Message></Error>";
    for (status, kind) in [
        ("409 The specified blob already exists.", StoreErrorKind::Exists),
        ("412 Precondition Failed", StoreErrorKind::Exists),
        ("403 Forbidden", StoreErrorKind::Permanent),
        ("500 Internal Server Error", StoreErrorKind::Transient),
        ("503 Server Busy", StoreErrorKind::Transient),
        ("429 Too Many Requests", StoreErrorKind::Throttled(Duration::ZERO)),
    ] {
        let canned = by_key(status, "", body);
        assert_eq!(put(&canned).await.unwrap_err().kind, kind, "{status}");
        let requests = canned.requests.lock();
        assert_eq!(requests.len(), 1, "{status}");
        assert!(requests[0].contains("\r\nif-none-match: *\r\n"), "{}", requests[0]);
    }
    let canned = by_key("500 Internal Server Error", "", body);
    assert_eq!(put(&canned).await.unwrap_err().message, "the store answered 500, X, No. RequestId:1");
}

#[tokio::test]
async fn a_put_counts_once_the_answer_says_what_was_received() {
    // The checksum of what was sent, in either of the two forms.
    for header in ["Content-MD5: XUFAKrxLKna5cZ2REBfFkg==\r\n", "x-ms-content-crc64: V0JSBnCFdzM=\r\n"] {
        let canned = by_key("201 Created", format!("{CREATED}{header}").leak(), "");
        put(&canned).await.unwrap();
        assert_eq!(canned.requests.lock().len(), 1, "{header}");
        assert!(!canned.requests.lock()[0].contains("content-md5"), "the signature does not cover it");
    }
    // Another checksum, or none: the object is read, and what comes is not what was sent.
    for header in ["Content-MD5: AAAAAAAAAAAAAAAAAAAAAA==\r\n", ""] {
        let canned = by_key("201 Created", format!("{CREATED}{header}").leak(), "");
        assert_eq!(put(&canned).await.unwrap_err().kind, StoreErrorKind::Transient);
        assert!(canned.requests.lock()[1].starts_with("get "), "{header}");
    }
}

#[tokio::test]
async fn with_a_signature_in_the_address_the_store_compares() {
    let canned = by_signature("201 Created", CREATED, "");
    put(&canned).await.unwrap();
    let requests = canned.requests.lock();
    assert_eq!(requests.len(), 1);
    assert!(requests[0].contains(&format!("\r\ncontent-md5: {MD5}\r\n").to_lowercase()), "{}", requests[0]);
}

#[tokio::test]
async fn a_signature_is_in_no_message() {
    for (status, headers) in [("500 Oh", ""), ("200 OK", "Content-Length: 900\r\n")] {
        let canned = by_signature(status, headers, "");
        for error in [
            put(&canned).await.unwrap_err(),
            super::get(&canned, Range::All).await.unwrap_err(),
            canned.store.list("").await.unwrap_err(),
        ] {
            assert!(!error.to_string().contains("hidden"), "{error}");
        }
    }
    // Nobody listens.
    let nobody = builder("http://127.0.0.1:1".to_owned());
    let nobody = nobody.with_sas_authorization([("sig".to_owned(), "hidden".to_owned())]);
    let nobody = azure::configured(nobody, "container").unwrap();
    let nobody = super::CloudObjects::with_client(nobody, "az://container", "");
    let error = nobody.list("").await.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Transient);
    assert!(!error.to_string().contains("hidden"), "{error}");
}

#[test]
fn what_is_missing_or_wrong_is_said_without_secrets() {
    let error = |builder: MicrosoftAzureBuilder| azure::configured(builder, "c").unwrap_err();
    assert!(error(MicrosoftAzureBuilder::new()).contains("AZURE_STORAGE_ACCOUNT_NAME"));
    let plain = MicrosoftAzureBuilder::new().with_account(ACCOUNT).with_access_key(KEY);
    assert!(error(plain.clone().with_endpoint("http://host/a".into())).contains("AZURE_ALLOW_HTTP=true"));
    azure::configured(plain.with_endpoint("https://host/a".into()), "c").unwrap();
    let wrong = MicrosoftAzureBuilder::new().with_account(ACCOUNT).with_access_key("not/base64/at all!");
    assert!(!error(wrong).contains("base64/at"));
}
