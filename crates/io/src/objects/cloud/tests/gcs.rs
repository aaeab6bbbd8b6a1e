use std::time::Duration;

use object_store::{
    StaticCredentialProvider,
    gcp::{GcpCredential, GoogleCloudStorageBuilder},
};

use super::{
    super::{StoreErrorKind, gcs},
    Canned, canned_for, put,
};
use crate::sync::Arc;

fn builder(endpoint: &str) -> GoogleCloudStorageBuilder {
    let token = StaticCredentialProvider::new(GcpCredential { bearer: "hidden".to_owned() });
    GoogleCloudStorageBuilder::new().with_base_url(endpoint).with_credentials(Arc::new(token))
}

fn answering(status: &'static str, headers: &'static str, body: &'static str) -> Canned {
    canned_for(status, headers, body, |endpoint| {
        gcs::configured(builder(&endpoint), "bucket", Some("true")).unwrap()
    })
}

#[tokio::test]
async fn a_put_is_conditional_has_a_checksum_and_is_sent_once() {
    let body = "<Error><Code>X</Code><Message>No.</Message></Error>";
    for (status, kind) in [
        ("412 Precondition Failed", StoreErrorKind::Exists),
        ("403 Forbidden", StoreErrorKind::Permanent),
        ("401 Unauthorized", StoreErrorKind::Permanent),
        ("500 Internal Server Error", StoreErrorKind::Transient),
        ("503 Service Unavailable", StoreErrorKind::Transient),
        ("429 Too Many Requests", StoreErrorKind::Throttled(Duration::ZERO)),
    ] {
        let canned = answering(status, "", body);
        let error = put(&canned).await.unwrap_err();
        assert_eq!(error.kind, kind, "{status}: {error}");
        let requests = canned.requests.lock();
        assert_eq!(requests.len(), 1, "{status}");
        assert!(requests[0].starts_with("put /bucket/p%2fa"), "{}", requests[0]);
        assert!(requests[0].contains("\r\nx-goog-if-generation-match: 0\r\n"), "{}", requests[0]);
        // Of "hello", in small letters as all of the request is here.
        assert!(requests[0].contains("\r\ncontent-md5: xufakrxlkna5cz2rebffkg==\r\n"), "{}", requests[0]);
    }
    let digest = "<Error><Code>BadDigest</Code></Error>";
    let damaged = answering("400 Bad Request", "", digest);
    assert_eq!(put(&damaged).await.unwrap_err().kind, StoreErrorKind::Transient);
    let created = "ETag: \"x\"\r\nx-goog-generation: 1\r\nContent-Length: 0\r\n";
    put(&answering("200 OK", created, "")).await.unwrap();
}

#[test]
fn what_is_wrong_is_said_without_secrets() {
    let error = gcs::configured(builder("http://host"), "b", None).unwrap_err();
    assert!(error.contains("GOOGLE_ALLOW_HTTP=true"), "{error}");
    let key = "{\"private_key\": \"hidden\"";
    let wrong = GoogleCloudStorageBuilder::new().with_service_account_key(key);
    let error = gcs::configured(wrong, "b", None).unwrap_err();
    assert!(!error.contains("hidden"), "{error}");
}
