//! From the environment to a client of Azure's blob storage.

use object_store::{
    ClientConfigKey,
    azure::{AzureConfigKey, MicrosoftAzureBuilder},
};

use super::{Client, answer::Connector, settings};
use crate::sync::Arc;

/// A client for `container`. What is read: `AZURE_STORAGE_ACCOUNT_NAME`, `AZURE_STORAGE_ACCOUNT_KEY`,
/// `AZURE_STORAGE_SAS_TOKEN`, `AZURE_STORAGE_ENDPOINT`, `AZURE_ALLOW_HTTP`, `AZURE_STORAGE_USE_EMULATOR`, and what
/// `object_store` reads for other sources of credentials (`AZURE_CLIENT_ID`, `AZURE_CLIENT_SECRET`, `AZURE_TENANT_ID`,
/// managed identity …).
pub(super) fn from_env(container: &str) -> Result<Client, String> {
    configured(MicrosoftAzureBuilder::from_env(), container)
}

pub(super) fn configured(builder: MicrosoftAzureBuilder, container: &str) -> Result<Client, String> {
    let value = |key: AzureConfigKey| builder.get_config_value(&key);
    let emulator = value(AzureConfigKey::UseEmulator);
    let emulator = settings::flag("AZURE_STORAGE_USE_EMULATOR", emulator.as_deref())?;
    let allow_http = value(AzureConfigKey::Client(ClientConfigKey::AllowHttp));
    let allow_http = settings::flag("AZURE_ALLOW_HTTP", allow_http.as_deref())? || emulator;
    settings::check_endpoint("AZURE", value(AzureConfigKey::Endpoint).as_deref(), allow_http)?;
    if value(AzureConfigKey::AccountName).is_none() && !emulator {
        return Err("AZURE_STORAGE_ACCOUNT_NAME: expected the storage account, found nothing".to_owned());
    }
    let secrets = [
        AzureConfigKey::AccessKey,
        AzureConfigKey::SasKey,
        AzureConfigKey::Token,
        AzureConfigKey::ClientSecret,
        AzureConfigKey::EncryptionKey,
    ]
    .map(value);
    let builder = builder
        .with_container_name(container)
        .with_client_options(settings::client_options(allow_http))
        // Each request to the store says which version of its language it speaks; those for credentials do not.
        .with_http_connector(Connector::of(|request| request.headers().contains_key("x-ms-version")))
        .with_retry(settings::no_retries());
    let store = builder.build().map_err(|error| settings::without(&error.to_string(), &secrets))?;
    // It knows no range that counts from the end.
    Ok(Client { store: Arc::new(store), proves: true, suffixes: false })
}
