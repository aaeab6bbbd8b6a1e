//! From the environment to a client of Google Cloud Storage.

use object_store::{
    client::HttpRequest,
    gcp::{GoogleCloudStorageBuilder, GoogleConfigKey},
};

use super::{Client, answer::Connector, settings};
use crate::sync::Arc;

/// A client for `bucket`. What is read: `GOOGLE_APPLICATION_CREDENTIALS` or `GOOGLE_SERVICE_ACCOUNT` (paths),
/// `GOOGLE_SERVICE_ACCOUNT_KEY` (the key itself), `GOOGLE_BASE_URL`, `GOOGLE_ALLOW_HTTP`, `GOOGLE_SKIP_SIGNATURE`; with
/// none of them the credentials of `gcloud` or of the machine.
pub(super) fn from_env(bucket: &str) -> Result<Client, String> {
    let allow_http = std::env::var("GOOGLE_ALLOW_HTTP").ok();
    configured(GoogleCloudStorageBuilder::from_env(), bucket, allow_http.as_deref())
}

/// The builder itself allows HTTP whatever it is told, for the machine's metadata server.
pub(super) fn configured(
    builder: GoogleCloudStorageBuilder,
    bucket: &str,
    allow_http: Option<&str>,
) -> Result<Client, String> {
    let value = |key: GoogleConfigKey| builder.get_config_value(&key);
    let allow_http = settings::flag("GOOGLE_ALLOW_HTTP", allow_http)?;
    settings::check_endpoint("GOOGLE", value(GoogleConfigKey::BaseUrl).as_deref(), allow_http)?;
    let secrets = [GoogleConfigKey::ServiceAccountKey, GoogleConfigKey::BearerToken].map(value);
    let builder = builder
        .with_bucket_name(bucket)
        .with_client_options(settings::client_options(allow_http))
        .with_http_connector(Connector::of(is_for_the_store))
        .with_retry(settings::no_retries());
    let store = builder.build().map_err(|error| settings::without(&error.to_string(), &secrets))?;
    Ok(Client { store: Arc::new(store), proves: true, suffixes: true })
}

/// Tokens are got by POST, or from the machine's metadata server. Nothing of a pool is.
fn is_for_the_store(request: &HttpRequest) -> bool {
    request.method() != "POST" && !request.headers().contains_key("metadata-flavor")
}
