//! From the environment to a client.

use std::time::Duration;

use object_store::{
    BackoffConfig, ClientConfigKey, ClientOptions, RetryConfig,
    aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey, Checksum, S3ConditionalPut},
};

use super::answer::Connector;

/// How long a connection may take to come about.
const CONNECT_TIME: Duration = Duration::from_secs(5);

/// A client for `bucket`. What is read: `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`,
/// `AWS_SESSION_TOKEN`, `AWS_REGION` or `AWS_DEFAULT_REGION`, `AWS_ENDPOINT` or `AWS_ENDPOINT_URL`,
/// `AWS_ALLOW_HTTP`, `AWS_VIRTUAL_HOSTED_STYLE_REQUEST` (with an endpoint, which then names the bucket),
/// `AWS_CHECKSUM_ALGORITHM`, and what `object_store` reads for other sources of credentials.
pub(super) fn from_env(bucket: &str) -> Result<AmazonS3, String> {
    configured(AmazonS3Builder::from_env(), bucket)
}

pub(super) fn configured(builder: AmazonS3Builder, bucket: &str) -> Result<AmazonS3, String> {
    let value = |key: AmazonS3ConfigKey| builder.get_config_value(&key);
    let endpoint = value(AmazonS3ConfigKey::S3Endpoint).or_else(|| value(AmazonS3ConfigKey::Endpoint));
    let allow_http = match value(AmazonS3ConfigKey::Client(ClientConfigKey::AllowHttp)).as_deref() {
        None | Some("" | "0" | "f" | "false" | "no" | "off" | "n") => false,
        Some("1" | "t" | "true" | "yes" | "on" | "y") => true,
        Some(other) => return Err(format!("AWS_ALLOW_HTTP: expected true or false, found {other}")),
    };
    match &endpoint {
        Some(url) if url.starts_with("https://") => {}
        Some(url) if url.starts_with("http://") && allow_http => {}
        Some(url) if url.starts_with("http://") => {
            return Err(format!(
                "the endpoint {url} has no encryption; to allow that, set AWS_ALLOW_HTTP=true"
            ));
        }
        Some(url) => return Err(format!("AWS_ENDPOINT: expected https://… or http://…, found {url}")),
        None => {}
    }
    let checksum = value(AmazonS3ConfigKey::Checksum).is_some();
    let styled = std::env::var_os("AWS_VIRTUAL_HOSTED_STYLE_REQUEST").is_some();
    // Most stores that are not Amazon's know buckets by path only. Amazon's certificate does not cover
    // a bucket's host name that has dots.
    let by_host = endpoint.is_none() && !bucket.contains('.');
    let client = ClientOptions::new()
        .with_allow_http(allow_http)
        .with_connect_timeout(CONNECT_TIME)
        // One limit for all requests would be too long for a head or too short for a segment: each
        // request has its own, by its size.
        .with_timeout_disabled();
    let mut builder = builder
        .with_bucket_name(bucket)
        .with_client_options(client)
        .with_http_connector(Connector::default())
        .with_retry(no_retries())
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        // Not every store knows the request that deletes many objects at once.
        .with_disable_bulk_delete(true);
    if !checksum {
        // Rule W10: the log is recycled on the strength of the store's answer, so it has to check.
        builder = builder.with_checksum_algorithm(Checksum::SHA256);
    }
    if !styled {
        builder = builder.with_virtual_hosted_style_request(by_host);
    }
    builder.build().map_err(|error| error.to_string())
}

/// Every request is sent once.
fn no_retries() -> RetryConfig {
    RetryConfig { backoff: BackoffConfig::default(), max_retries: 0, retry_timeout: Duration::ZERO }
}
