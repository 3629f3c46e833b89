//! What the server answered.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use reqwest::StatusCode;
use reqwest::header::{HeaderMap, LOCATION, RETRY_AFTER};
use serde::de::DeserializeOwned;

use super::error::ApiError;
use super::retry_after;

/// An answer, read to its end.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) request_id: Option<String>,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) backlog_warning: Option<String>,
    pub(crate) location: Option<String>,
    /// The server's clock, to the second.
    #[cfg(feature = "doctor")]
    pub(crate) date: Option<SystemTime>,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(super) fn head(status: StatusCode, headers: &HeaderMap) -> Self {
        let line = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        // An id is for a log line: a long or empty one is of no use there.
        let request_id = line("x-request-id").filter(|id| (1..=128).contains(&id.len()));
        let date = line("date").and_then(|it| httpdate::parse_http_date(&it).ok());
        // A moment to wait for is one of the server's clock; this one may be hours away from it.
        let now = || date.unwrap_or_else(SystemTime::now);
        Self {
            status: status.as_u16(),
            request_id,
            retry_after: line(RETRY_AFTER.as_str()).and_then(|it| retry_after::parse(&it, now())),
            backlog_warning: line("x-backlog-warning"),
            location: line(LOCATION.as_str()),
            #[cfg(feature = "doctor")]
            date,
            body: Bytes::new(),
        }
    }

    /// Takes the key out of what errors tell: a server may say it back.
    pub(super) fn mask(&mut self, key: Option<&str>) {
        let Some(key) = key else { return };
        let masked = |text: &str| text.contains(key).then(|| text.replace(key, "***"));
        if let Some(id) = self.request_id.as_deref().and_then(masked) {
            self.request_id = Some(id);
        }
        if !self.is_success()
            && let Some(body) = std::str::from_utf8(&self.body).ok().and_then(masked)
        {
            self.body = body.into();
        }
    }

    pub(super) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    pub(super) fn reason(&self) -> &'static str {
        let status = StatusCode::from_u16(self.status).ok();
        status.and_then(|status| status.canonical_reason()).unwrap_or("the server refused")
    }

    /// The body as a `T`.
    ///
    /// # Errors
    /// [`Failure::Unreadable`](super::Failure::Unreadable) when it is none.
    pub(crate) fn json<T: DeserializeOwned>(&self, operation: &'static str) -> Result<T, ApiError> {
        serde_json::from_slice(&self.body).map_err(|error| {
            let what = if error.is_data() { "has other members than it should" } else { "is no JSON" };
            ApiError::unreadable(operation, self, format!("the answer {what}"))
        })
    }
}
