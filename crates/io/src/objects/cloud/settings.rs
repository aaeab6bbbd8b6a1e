//! What the clients of all providers are set to.

use std::time::Duration;

use object_store::{BackoffConfig, ClientOptions, RetryConfig};

/// How long a connection may take to come about.
const CONNECT_TIME: Duration = Duration::from_secs(5);

pub(super) fn client_options(allow_http: bool) -> ClientOptions {
    ClientOptions::new()
        .with_allow_http(allow_http)
        .with_connect_timeout(CONNECT_TIME)
        // One limit for all requests would be too long for a head or too short for a segment: each
        // request has its own, by its size.
        .with_timeout_disabled()
}

/// Every request is sent once.
pub(super) fn no_retries() -> RetryConfig {
    RetryConfig { backoff: BackoffConfig::default(), max_retries: 0, retry_timeout: Duration::ZERO }
}

/// A variable that says yes or no.
pub(super) fn flag(variable: &str, value: Option<&str>) -> Result<bool, String> {
    match value {
        None | Some("" | "0" | "f" | "false" | "no" | "off" | "n") => Ok(false),
        Some("1" | "t" | "true" | "yes" | "on" | "y") => Ok(true),
        Some(other) => Err(format!("{variable}: expected true or false, found {other}")),
    }
}

/// Refuses an endpoint without encryption, unless `<PREFIX>_ALLOW_HTTP` allows it.
pub(super) fn check_endpoint(prefix: &str, endpoint: Option<&str>, allow_http: bool) -> Result<(), String> {
    match endpoint {
        Some(url) if url.starts_with("http://") && !allow_http => {
            Err(format!("the endpoint {url} has no encryption; to allow that, set {prefix}_ALLOW_HTTP=true"))
        }
        Some(url) if !url.starts_with("https://") && !url.starts_with("http://") => {
            Err(format!("the {prefix}_* environment's endpoint: expected https://… or http://…, found {url}"))
        }
        _ => Ok(()),
    }
}

/// A message of the library, without the values that nobody may see.
pub(super) fn without(message: &str, secrets: &[Option<String>]) -> String {
    let secrets = secrets.iter().flatten().filter(|secret| !secret.is_empty());
    secrets.fold(message.to_owned(), |message, secret| message.replace(secret.as_str(), "…"))
}
