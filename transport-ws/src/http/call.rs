//! A call on its way out.

use bytes::Bytes;
use serde::Serialize;

use super::error::ApiError;

/// A call: what is asked, and what may be done when it fails.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(super) operation: &'static str,
    pub(super) verb: Verb,
    /// Below the base URL; or a whole URL, for bytes that go to a storage host.
    pub(super) target: Target,
    pub(super) body: Option<(String, Bytes)>,
    pub(super) authorized: bool,
    pub(super) idempotency_key: Option<String>,
    pub(super) repeatable: bool,
    pub(super) takes_redirect: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Get,
    Post,
    Put,
    Patch,
    Delete,
}

#[derive(Debug, Clone)]
pub(super) enum Target {
    Path(String),
    Elsewhere(url::Url),
}

impl Verb {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }
}

impl Call {
    /// A call with the key, that is repeated when its verb says that it may be.
    pub(crate) fn new(operation: &'static str, verb: Verb, path: String) -> Self {
        Self {
            operation,
            verb,
            target: Target::Path(path),
            body: None,
            authorized: true,
            idempotency_key: None,
            repeatable: matches!(verb, Verb::Get | Verb::Put | Verb::Delete),
            takes_redirect: false,
        }
    }

    /// Bytes to a storage host. The key does not go there.
    pub(crate) fn elsewhere(operation: &'static str, url: url::Url, media_type: &str, bytes: Bytes) -> Self {
        let mut call = Self::new(operation, Verb::Put, String::new()).anonymous();
        call.target = Target::Elsewhere(url);
        call.body = Some((media_type.to_owned(), bytes));
        call
    }

    pub(crate) fn operation(&self) -> &'static str {
        self.operation
    }

    /// Adds a query member.
    pub(crate) fn with_query(mut self, name: &str, value: impl ToString) -> Self {
        if let Target::Path(path) = &mut self.target {
            let separator = if path.contains('?') { '&' } else { '?' };
            let value =
                url::form_urlencoded::byte_serialize(value.to_string().as_bytes()).collect::<String>();
            *path = format!("{path}{separator}{name}={value}");
        }
        self
    }

    /// Sets a JSON body.
    pub(crate) fn with_json(mut self, body: &impl Serialize) -> Result<Self, ApiError> {
        let bytes = serde_json::to_vec(body)
            .map_err(|error| ApiError::invalid(self.operation, format!("the body is no JSON: {error}")))?;
        self.body = Some((JSON.to_owned(), bytes.into()));
        Ok(self)
    }

    /// Sets the body to `bytes` of `media_type`.
    pub(crate) fn with_body(mut self, media_type: &str, bytes: Bytes) -> Self {
        self.body = Some((media_type.to_owned(), bytes));
        self
    }

    /// Leaves the key out.
    pub(crate) fn anonymous(mut self) -> Self {
        self.authorized = false;
        self
    }

    /// Says that repeating it cannot do it twice.
    pub(crate) fn repeatable(mut self) -> Self {
        self.repeatable = true;
        self
    }

    /// Says that it must not be repeated, whatever its verb.
    pub(crate) fn once(mut self) -> Self {
        self.repeatable = false;
        self
    }

    /// Takes a redirect for an answer.
    pub(crate) fn taking_redirect(mut self) -> Self {
        self.takes_redirect = true;
        self
    }

    /// Repeats it under `key`, by which the server knows a repetition.
    ///
    /// # Errors
    /// For a key that the server would refuse.
    pub(crate) fn with_idempotency_key(mut self, key: Option<&str>) -> Result<Self, ApiError> {
        let Some(key) = key else { return Ok(self) };
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if !(8..=128).contains(&key.len()) || !key.bytes().all(legal) {
            let what = "an idempotency key has 8 to 128 letters, digits, `-` and `_`";
            return Err(ApiError::invalid(self.operation, what));
        }
        self.idempotency_key = Some(key.to_owned());
        Ok(self.repeatable())
    }
}

const JSON: &str = "application/json";
