//! What a store answered when it refused, before `object_store` folds it into its own few kinds.
//!
//! Its errors do not show the status: 400 and 500 look alike, and every 409 is "already exists". So
//! the HTTP client is wrapped, and a refusal travels through it as an error of our own type.

use std::{fmt, future::Future, pin::Pin, time::Duration};

use futures_util::TryStreamExt;
use object_store::{
    ClientOptions,
    client::{
        HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody,
        HttpService, ReqwestConnector,
    },
};

use super::proof::Proof;

/// The most of an error's text that is read.
const TEXT_BYTES_MAX: usize = 16 << 10;
/// The most of a message that is passed on.
const MESSAGE_CHARS_MAX: usize = 300;

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    /// The HTTP status.
    pub(super) status: u16,
    /// The store's word for it, e.g. `NoSuchKey`; empty when there is none.
    pub(super) code: String,
    /// The store's sentence, or the beginning of whatever came.
    pub(super) message: String,
    /// For how long it wants no further request, where it says so in seconds.
    pub(super) retry_after: Option<Duration>,
}

impl Answer {
    fn parse(status: u16, text: &str) -> Self {
        let code = element(text, "Code").unwrap_or_default().to_owned();
        let message = element(text, "Message").unwrap_or(text);
        // Azure's sentences have several lines.
        let message = message.split_whitespace().collect::<Vec<_>>().join(" ");
        let message = message.chars().take(MESSAGE_CHARS_MAX).collect();
        Self { status, code, message, retry_after: None }
    }

    /// Not the object is missing, but all of them.
    pub(super) fn no_bucket(&self) -> bool {
        matches!(self.code.as_str(), "NoSuchBucket" | "ContainerNotFound")
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the store answered {}", self.status)?;
        for word in [&self.code, &self.message].into_iter().filter(|word| !word.is_empty()) {
            write!(f, ", {word}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Answer {}

/// The text of the first element of this name.
fn element<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    rest.split_once(&format!("</{name}>")).map(|(inside, _)| inside)
}

/// Makes clients that show refusals, and take a PUT's [`Proof`] along.
#[derive(Debug)]
pub(super) struct Connector {
    inner: ReqwestConnector,
    is_for_the_store: IsForTheStore,
}

/// Tells requests to the store from those for credentials: these go through the same client, and `object_store`
/// reacts to their status.
type IsForTheStore = fn(&HttpRequest) -> bool;

impl Connector {
    pub(super) fn of(is_for_the_store: IsForTheStore) -> Self {
        Self { inner: ReqwestConnector::default(), is_for_the_store }
    }
}

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let (client, is_for_the_store) = (self.inner.connect(options)?, self.is_for_the_store);
        Ok(HttpClient::new(Showing { client, is_for_the_store }))
    }
}

#[derive(Debug)]
struct Showing {
    client: HttpClient,
    is_for_the_store: IsForTheStore,
}

impl Showing {
    async fn send(&self, mut request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let for_the_store = (self.is_for_the_store)(&request);
        let proof = request.extensions().get::<Proof>().cloned();
        let demanded = proof.as_ref().is_some_and(|proof| proof.demand(&mut request));
        let response = self.client.execute(request).await?;
        let status = response.status();
        if let Some(proof) = proof.filter(|_| status.is_success()) {
            proof.answered(demanded, &response);
        }
        if !for_the_store || !(status.is_client_error() || status.is_server_error()) {
            return Ok(response);
        }
        let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
        let code = header("x-ms-error-code").unwrap_or_default().to_owned();
        let pause = header("retry-after").and_then(|value| value.parse().ok());
        let text = beginning(response.into_body()).await;
        let answer = Answer::parse(status.as_u16(), &String::from_utf8_lossy(&text));
        let mut answer = Answer { retry_after: pause.map(Duration::from_secs), ..answer };
        if answer.code.is_empty() {
            answer.code = code;
        }
        Err(HttpError::new(HttpErrorKind::Unknown, answer))
    }
}

impl HttpService for Showing {
    // As `async_trait` writes it, which is how the trait is declared.
    fn call<'life0, 'async_trait>(
        &'life0 self,
        request: HttpRequest,
    ) -> Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'async_trait>>
    where
        'life0: 'async_trait,
        Self: 'async_trait,
    {
        Box::pin(self.send(request))
    }
}

/// The beginning of a body, as much as comes.
async fn beginning(body: HttpResponseBody) -> Vec<u8> {
    let mut text = Vec::new();
    let mut stream = body.bytes_stream();
    while let Ok(Some(part)) = stream.try_next().await {
        let room = TEXT_BYTES_MAX - text.len();
        text.extend_from_slice(&part[..part.len().min(room)]);
        if text.len() == TEXT_BYTES_MAX {
            break;
        }
    }
    text
}
