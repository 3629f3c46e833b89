//! Watching calls from outside.

use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use super::error::ApiError;

/// Watches the calls of a client. Every method has an empty body; a panic in one is contained and has no
/// effect on the call. They run on the calling task: be brief.
pub trait HttpHooks: Debug + Send + Sync + 'static {
    /// An attempt begins.
    fn on_request(&self, _request: &RequestSeen) {}
    /// An attempt was answered, with whatever status.
    fn on_response(&self, _request: &RequestSeen, _response: &ResponseSeen) {}
    /// An attempt failed.
    fn on_error(&self, _request: &RequestSeen, _error: &ApiError) {}
    /// The call will be tried again after `wait`.
    fn on_retry(&self, _request: &RequestSeen, _error: &ApiError, _wait: Duration) {}
}

/// An attempt as hooks see it. Bodies are not shown, the key is masked.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RequestSeen {
    /// The call, as in errors: `send`, `sync`, …
    pub operation: &'static str,
    /// `GET`, `POST`, …
    pub method: &'static str,
    /// The path with its query, below the base URL. Of an upload only its host's path is left out.
    pub path: String,
    /// Which attempt of the call it is, from 1.
    pub attempt: u32,
    /// The header lines, `authorization: Bearer ***` among them.
    pub headers: Vec<(String, String)>,
    /// The body's length in bytes.
    pub body_len: usize,
}

/// An answer as hooks see it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ResponseSeen {
    /// The status.
    pub status: u16,
    /// The server's request id.
    pub request_id: Option<String>,
    /// How long the attempt took.
    pub took: Duration,
}

/// Calls a hook and contains its panic.
pub(super) fn contained(hook: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(hook)).is_err() {
        tracing::warn!(target: "transport_ws", "an HTTP hook panicked");
    }
}
