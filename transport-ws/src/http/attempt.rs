//! One attempt: sent, answered and read to its end, or not, by its deadline.

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use agentchat_core::{ErrorKind, Reached};
use bytes::{Bytes, BytesMut};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, USER_AGENT};
use reqwest::{Method, Request, Response};

use super::answer::Answer;
use super::call::{Call, Target, Verb};
use super::client::{HttpClient, Manner};
use super::error::ApiError;
use super::hooks::RequestSeen;
use crate::key::ApiKey;

impl HttpClient {
    /// Makes one attempt within `limit`.
    pub(super) async fn attempt(
        &self,
        call: &Call,
        limit: Duration,
        manner: &Manner,
    ) -> Result<Answer, ApiError> {
        let request = self.request(call, manner)?;
        let client = self.connections.begin().map_err(|error| {
            ApiError::local(call.operation, error.kind(), "the HTTP client cannot be made").with_source(error)
        })?;
        let answered = tokio::time::timeout(limit, async {
            let response = client.execute(request).await.map_err(|error| lost(call, error))?;
            read(call, response, manner).await
        });
        answered.await.unwrap_or_else(|_| Err(ApiError::timeout(call.operation, Reached::Unknown)))
    }

    /// What hooks are shown of an attempt.
    pub(super) fn seen(&self, call: &Call, attempt: u32, manner: &Manner) -> RequestSeen {
        let headers = self.headers(call, manner).map(|headers| {
            let shown = |value: &HeaderValue| match value.is_sensitive() {
                true => "Bearer ***".to_owned(),
                false => value.to_str().unwrap_or_default().to_owned(),
            };
            headers.iter().map(|(name, value)| (name.as_str().to_owned(), shown(value))).collect()
        });
        RequestSeen {
            operation: call.operation,
            method: call.verb.as_str(),
            path: match &call.target {
                Target::Path(path) => path.clone(),
                // The query of a storage URL is its signature.
                Target::Elsewhere(_) => String::new(),
            },
            attempt,
            headers: headers.unwrap_or_default(),
            body_len: call.body.as_ref().map_or(0, |(_, bytes)| bytes.len()),
        }
    }

    fn request(&self, call: &Call, manner: &Manner) -> Result<Request, ApiError> {
        let url = match &call.target {
            Target::Path(path) => format!("{}{path}", self.base)
                .parse()
                .map_err(|_| ApiError::invalid(call.operation, "the path is no URL"))?,
            Target::Elsewhere(url) => url.clone(),
        };
        let method = match call.verb {
            Verb::Get => Method::GET,
            Verb::Post => Method::POST,
            Verb::Put => Method::PUT,
            Verb::Patch => Method::PATCH,
            Verb::Delete => Method::DELETE,
        };
        let mut request = Request::new(method, url);
        *request.headers_mut() = self.headers(call, manner)?;
        if let Some((_, bytes)) = &call.body {
            *request.body_mut() = Some(bytes.clone().into());
        }
        Ok(request)
    }

    fn headers(&self, call: &Call, manner: &Manner) -> Result<HeaderMap, ApiError> {
        let mut headers = HeaderMap::new();
        let line = |text: &str| {
            HeaderValue::from_str(text)
                .map_err(|_| ApiError::invalid(call.operation, "a header line has a character it cannot"))
        };
        if let Some(user_agent) = &self.user_agent {
            headers.insert(USER_AGENT, line(user_agent)?);
        }
        if let Some((media_type, _)) = &call.body {
            headers.insert(CONTENT_TYPE, line(media_type)?);
        }
        if matches!(call.target, Target::Elsewhere(_)) {
            return Ok(headers);
        }
        if call.authorized {
            let Some(key) = &manner.key else {
                let what = "this client has no API key";
                return Err(ApiError::local(call.operation, ErrorKind::Config, what));
            };
            let key = zeroize::Zeroizing::new(format!("Bearer {}", key.expose()));
            let mut value = line(&key)?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        if let Some(identity) = &self.identity {
            headers.insert("x-agentchat-client", line(&identity.name)?);
            if let Some(version) = &identity.version {
                headers.insert("x-agentchat-client-version", line(version)?);
            }
        }
        if let Some(key) = &call.idempotency_key {
            headers.insert("idempotency-key", line(key)?);
        }
        Ok(headers)
    }
}

/// Reads an answer and decides what it is.
async fn read(call: &Call, mut response: Response, manner: &Manner) -> Result<Answer, ApiError> {
    let mut answer = Answer::head(response.status(), response.headers());
    let key = manner.key.as_ref().map(ApiKey::expose);
    answer.mask(key);
    if (300..400).contains(&answer.status) {
        if call.takes_redirect && answer.location.is_some() {
            return Ok(answer);
        }
        return Err(ApiError::unreadable(
            call.operation,
            &answer,
            "an unexpected redirect; it was not followed",
        ));
    }
    let success = answer.is_success();
    let most = if success { MAX_ANSWER } else { MAX_REFUSAL };
    match body(&mut response, most).await.map_err(|error| lost(call, error))? {
        Some(body) => answer.body = body,
        None if success => {
            let what = format!("the answer is larger than {most} bytes");
            return Err(ApiError::unreadable(call.operation, &answer, what));
        }
        // A refusal is known by its status; a body of that size is not the server's.
        None => {}
    }
    if success {
        return Ok(answer);
    }
    answer.mask(key);
    Err(ApiError::refused(call.operation, &answer))
}

/// The body, or nothing when it is larger than `most` bytes: then the rest is not read.
async fn body(response: &mut Response, most: usize) -> Result<Option<Bytes>, reqwest::Error> {
    let announced = response.content_length().unwrap_or(0);
    if announced > most as u64 {
        return Ok(None);
    }
    let mut all = BytesMut::new();
    let mut only = Bytes::new();
    while let Some(chunk) = response.chunk().await? {
        if all.len() + only.len() + chunk.len() > most {
            return Ok(None);
        }
        if only.is_empty() && all.is_empty() {
            // The usual answer is one chunk: it is not copied.
            only = chunk;
            continue;
        }
        all.extend_from_slice(&std::mem::take(&mut only));
        all.extend_from_slice(&chunk);
    }
    Ok(Some(if only.is_empty() { all.freeze() } else { only }))
}

/// No answer: what is known of how far the request came.
fn lost(call: &Call, error: reqwest::Error) -> ApiError {
    let reached = if error.is_connect() || error.is_builder() { Reached::No } else { Reached::Unknown };
    if error.is_timeout() {
        return ApiError::timeout(call.operation, reached).with_source(root_cause(&error));
    }
    if let Some((what, is_settled)) = crate::tls::untrusted(&error) {
        let told = match is_settled {
            true => ApiError::local(call.operation, ErrorKind::Config, what),
            false => ApiError::connection(call.operation, reached, what),
        };
        return told.with_source(root_cause(&error));
    }
    let what = match reached {
        Reached::No => "no connection to the server",
        _ => "the connection was lost before the answer was complete",
    };
    ApiError::connection(call.operation, reached, what).with_source(root_cause(&error))
}

/// What lies at the bottom of an error. What lies above it names addresses.
fn root_cause(error: &reqwest::Error) -> Box<dyn StdError + Send + Sync> {
    let mut cause: &(dyn StdError + 'static) = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    match cause.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error) {
        Some(code) => io::Error::from_raw_os_error(code).into(),
        None if cause.is::<reqwest::Error>() => "the request failed".into(),
        None => cause.to_string().into(),
    }
}

/// A page of 500 rows of the largest size fits.
const MAX_ANSWER: usize = 32 * 1024 * 1024;
const MAX_REFUSAL: usize = 64 * 1024;
