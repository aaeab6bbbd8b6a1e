use object_store::aws::AmazonS3Builder;

use super::{
    super::{Result, StoreErrorKind},
    answer::Answer,
    failure::Failure,
    settings,
};

fn refused(status: u16, code: &str) -> Failure {
    Failure::Refused(Answer { status, code: code.to_owned(), message: String::new() })
}

fn delete(failure: Failure) -> Option<StoreErrorKind> {
    let answer: Result<()> = failure.of_delete("a");
    answer.err().map(|error| error.kind)
}

#[test]
fn refusals_have_the_kind_that_a_caller_can_act_on() {
    use StoreErrorKind::{Exists, NotFound, Permanent, Protocol, Transient};
    let put = |status, code| refused(status, code).of_put("a").kind;
    let get = |status, code| refused(status, code).of_get("a").kind;
    let list = |status, code| refused(status, code).of_list("a/").kind;
    assert_eq!(put(412, "PreconditionFailed"), Exists);
    assert_eq!(put(409, ""), Exists);
    assert_eq!(put(409, "ConditionalRequestConflict"), Transient);
    assert_eq!(put(404, "NoSuchBucket"), Permanent);
    assert_eq!(put(400, "BadDigest"), Transient);
    assert_eq!(put(400, "InvalidRequest"), Permanent);
    assert_eq!(put(501, "NotImplemented"), Permanent);
    assert_eq!(put(503, "SlowDown"), Transient);
    assert_eq!(put(429, ""), Transient);
    assert_eq!(get(404, "NoSuchKey"), NotFound);
    assert_eq!(get(404, ""), NotFound);
    assert_eq!(get(404, "NoSuchBucket"), Permanent);
    assert_eq!(get(403, "AccessDenied"), Permanent);
    assert_eq!(get(416, "InvalidRange"), Protocol);
    assert_eq!(get(500, "InternalError"), Transient);
    assert_eq!(list(404, "NoSuchBucket"), Permanent);
    assert_eq!(list(504, ""), Transient);
    assert_eq!(delete(refused(404, "NoSuchKey")), None);
    assert_eq!(delete(refused(404, "NoSuchBucket")), Some(Permanent));
    assert_eq!(delete(refused(500, "")), Some(Transient));
}

#[test]
fn an_endpoint_without_encryption_has_to_be_allowed() {
    let builder = || AmazonS3Builder::new().with_access_key_id("k").with_secret_access_key("s");
    let endpoint = |url: &str| builder().with_endpoint(url);
    let error = settings::configured(endpoint("http://127.0.0.1:1"), "b").unwrap_err();
    assert!(error.contains("AWS_ALLOW_HTTP=true"), "{error}");
    settings::configured(endpoint("http://127.0.0.1:1").with_allow_http(true), "b").unwrap();
    settings::configured(endpoint("https://127.0.0.1:1"), "b").unwrap();
    settings::configured(builder(), "b").unwrap();
    assert!(settings::configured(endpoint("127.0.0.1"), "b").is_err());
}
