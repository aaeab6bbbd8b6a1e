//! From a request to a call of the daemon, and from its answer to a response.

use std::{future::Future, sync::Arc};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{ALLOW, CONTENT_TYPE, HeaderValue},
};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    Answer, ApiError, Daemon, ErrorKind, Limits, Result,
    api::{
        CreateGroup, CreateSnapshot, CreateVolume, ForkVolume, LabelSnapshot, OpenVolume, ReclaimPool,
        ResizeVolume, RewindVolume, SetProperties,
    },
    error::ErrorBody,
    exposition::{self, exposition},
};

const JSON: &str = "application/json";

/// What a request's path asks for.
enum Route {
    Status,
    Requests,
    Metrics,
    /// Metrics as text.
    Exposition,
    Volumes,
    Volume(String),
    Open(String),
    Resize(String),
    Properties(String),
    History(String),
    Rewind(String),
    Snapshots,
    Groups,
    Snapshot(String),
    Labels(String),
    Fork(String),
    Reclaim,
    Space,
}

impl Route {
    fn of(path: &str) -> Option<Route> {
        if path == "/metrics" {
            return Some(Route::Exposition);
        }
        let mut parts = path.strip_prefix("/v1/")?.split('/');
        let route = match (parts.next()?, parts.next(), parts.next(), parts.next()) {
            ("status", None, ..) => Route::Status,
            ("requests", None, ..) => Route::Requests,
            ("metrics", None, ..) => Route::Metrics,
            ("reclaim", None, ..) => Route::Reclaim,
            ("space", None, ..) => Route::Space,
            ("volumes", None, ..) => Route::Volumes,
            ("snapshots", None, ..) => Route::Snapshots,
            ("groups", None, ..) => Route::Groups,
            ("volumes", Some(name), None, _) if !name.is_empty() => Route::Volume(name.to_owned()),
            ("volumes", Some(name), Some(what), None) if !name.is_empty() => Route::of_volume(name, what)?,
            _ => return None,
        };
        Some(route)
    }

    fn of_volume(name: &str, what: &str) -> Option<Route> {
        let route = match what {
            "open" => Route::Open,
            "resize" => Route::Resize,
            "properties" => Route::Properties,
            "history" => Route::History,
            "rewind" => Route::Rewind,
            "snapshots" => Route::Snapshot,
            "labels" => Route::Labels,
            "fork" => Route::Fork,
            _ => return None,
        };
        Some(route(name.to_owned()))
    }

    /// The methods it takes, as the header `Allow` wants them.
    fn allowed(&self) -> &'static str {
        match self {
            Route::Status | Route::Requests | Route::Metrics | Route::Exposition => "GET",
            Route::Snapshots | Route::History(_) | Route::Space => "GET",
            Route::Volumes | Route::Groups => "GET, POST",
            Route::Volume(_) => "GET, DELETE",
            Route::Open(_) | Route::Resize(_) | Route::Rewind(_) | Route::Reclaim => "POST",
            Route::Snapshot(_) | Route::Labels(_) | Route::Fork(_) | Route::Properties(_) => "POST",
        }
    }
}

fn no_endpoint(path: &str) -> ApiError {
    let message = format!(
        "there is no {path}; endpoints are /metrics and, behind /v1/, status, requests, metrics, volumes, snapshots, \
         groups, space, reclaim"
    );
    ApiError::new(ErrorKind::NotFound, message)
}

fn not_allowed(route: &Route, path: &str, method: &Method) -> Response<Full<Bytes>> {
    let allowed = route.allowed();
    let message = format!("{path} does not take {method}, only {allowed}");
    let mut response = failure(&ApiError::new(ErrorKind::MethodNotAllowed, message));
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    response
}

/// Answers one request.
pub(crate) async fn answer(
    daemon: Arc<dyn Daemon>,
    request: Request<Incoming>,
    limits: Limits,
) -> Response<Full<Bytes>> {
    let path = request.uri().path().to_owned();
    let Some(route) = Route::of(&path) else {
        return failure(&no_endpoint(&path));
    };
    let method = request.method().clone();
    let answered = match (&method, &route) {
        (&Method::GET, Route::Status) => call(daemon.status()).await,
        (&Method::GET, Route::Requests) => call(daemon.requests()).await,
        (&Method::GET, Route::Metrics) => call(daemon.metrics()).await,
        (&Method::GET, Route::Space) => call(daemon.space()).await,
        (&Method::GET, Route::Exposition) => match run(daemon.metrics()).await {
            Ok(metrics) => return respond(StatusCode::OK, exposition::CONTENT_TYPE, exposition(&metrics)),
            Err(error) => Err(error),
        },
        (&Method::GET, Route::Volumes) => call(daemon.volumes()).await,
        (&Method::GET, Route::Volume(name)) => call(daemon.volume(name.clone())).await,
        (&Method::GET, Route::History(name)) => call(daemon.history(name.clone())).await,
        (&Method::DELETE, Route::Volume(name)) => call(daemon.delete(name.clone())).await,
        (&Method::POST, Route::Volumes) => match body::<CreateVolume>(request, limits).await {
            Ok(wanted) => call(daemon.create(wanted)).await,
            Err(error) => Err(error),
        },
        (&Method::POST, Route::Reclaim) => match body::<ReclaimPool>(request, limits).await {
            Ok(wanted) => call(daemon.reclaim(wanted)).await,
            Err(error) => Err(error),
        },
        (&Method::GET, Route::Snapshots) => call(daemon.snapshots()).await,
        (&Method::GET, Route::Groups) => call(daemon.groups()).await,
        (&Method::POST, Route::Groups) => {
            with_body(request, limits, |wanted: CreateGroup| daemon.group(wanted)).await
        }
        (&Method::POST, Route::Snapshot(name)) => {
            with_body(request, limits, |wanted: CreateSnapshot| daemon.snapshot(name.clone(), wanted)).await
        }
        (&Method::POST, Route::Labels(name)) => {
            with_body(request, limits, |wanted: LabelSnapshot| daemon.label(name.clone(), wanted)).await
        }
        (&Method::POST, Route::Fork(name)) => {
            with_body(request, limits, |wanted: ForkVolume| daemon.fork(name.clone(), wanted)).await
        }
        (&Method::POST, Route::Open(name)) => match body::<OpenVolume>(request, limits).await {
            Ok(wanted) => call(daemon.open(name.clone(), wanted)).await,
            Err(error) => Err(error),
        },
        (&Method::POST, Route::Resize(name)) => match body::<ResizeVolume>(request, limits).await {
            Ok(wanted) => call(daemon.resize(name.clone(), wanted)).await,
            Err(error) => Err(error),
        },
        (&Method::POST, Route::Properties(name)) => {
            with_body(request, limits, |wanted: SetProperties| daemon.set(name.clone(), wanted)).await
        }
        (&Method::POST, Route::Rewind(name)) => {
            with_body(request, limits, |wanted: RewindVolume| daemon.rewind(name.clone(), wanted)).await
        }
        _ => return not_allowed(&route, &path, &method),
    };
    match answered {
        Ok(json) => respond(StatusCode::OK, JSON, json),
        Err(error) => failure(&error),
    }
}

/// Runs a call to its end, also when the one who asked goes away meanwhile.
async fn run<T: Send + 'static>(call: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
    match tokio::spawn(call).await {
        Ok(answer) => answer,
        Err(error) => {
            Err(ApiError::new(ErrorKind::Internal, format!("the call ended without an answer: {error}")))
        }
    }
}

/// As [`run`]; the answer as JSON.
async fn call<T: Serialize + Send + 'static>(
    call: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<Vec<u8>> {
    serde_json::to_vec(&run(call).await?).map_err(|error| {
        ApiError::new(ErrorKind::Internal, format!("the answer cannot be written as JSON: {error}"))
    })
}

/// As [`call`], of what the request's body asks for.
async fn with_body<B: DeserializeOwned, T: Serialize + Send + 'static>(
    request: Request<Incoming>,
    limits: Limits,
    asked: impl FnOnce(B) -> Answer<T>,
) -> Result<Vec<u8>> {
    call(asked(body(request, limits).await?)).await
}

/// The request's body, which is small and comes in time, or is refused. An empty one is an empty object.
async fn body<T: DeserializeOwned>(request: Request<Incoming>, limits: Limits) -> Result<T> {
    let limited = Limited::new(request.into_body(), limits.body_bytes);
    let collected = match tokio::time::timeout(limits.receive, limited.collect()).await {
        Ok(Ok(collected)) => collected.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            let message = format!("the body is longer than {} bytes", limits.body_bytes);
            return Err(ApiError::new(ErrorKind::TooLarge, message));
        }
        Ok(Err(error)) => {
            return Err(ApiError::new(ErrorKind::Invalid, format!("the body broke off: {error}")));
        }
        Err(_) => {
            let message = format!("the body did not come within {} s", limits.receive.as_secs());
            return Err(ApiError::new(ErrorKind::Timeout, message));
        }
    };
    let text: &[u8] = if collected.is_empty() { b"{}" } else { &collected };
    serde_json::from_slice(text).map_err(|error| {
        ApiError::new(ErrorKind::Invalid, format!("the body is not what is expected: {error}"))
    })
}

fn failure(error: &ApiError) -> Response<Full<Bytes>> {
    let body = serde_json::to_vec(&ErrorBody { error: error.clone() });
    respond(error.kind.status(), JSON, body.unwrap_or_default())
}

fn respond(status: StatusCode, content: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content));
    response
}
