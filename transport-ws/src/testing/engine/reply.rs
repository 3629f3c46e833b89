//! What a request is answered with.

use serde_json::{Value, json};

/// An HTTP answer, before it is put on the wire.
#[derive(Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Body,
}

#[derive(Clone)]
pub(crate) enum Body {
    Json(Value),
    Text(String),
    /// The application fell over before it could say anything; there is no request id either.
    Crash,
}

/// An answer, or the refusal that ends the request early.
pub(crate) type Answer<T = Reply> = Result<T, Reply>;

impl Reply {
    pub(crate) fn json(status: u16, body: Value) -> Self {
        Reply { status, headers: Vec::new(), body: Body::Json(body) }
    }

    pub(crate) fn ok(body: Value) -> Self {
        Reply::json(200, body)
    }

    pub(crate) fn created(body: Value) -> Self {
        Reply::json(201, body)
    }

    pub(crate) fn text(status: u16, body: &str) -> Self {
        Reply { status, headers: Vec::new(), body: Body::Text(body.to_owned()) }
    }

    pub(crate) fn error(status: u16, code: &str, message: impl Into<String>) -> Self {
        Reply::json(status, json!({ "code": code, "message": message.into() }))
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Reply::error(400, "VALIDATION_ERROR", message)
    }

    pub(crate) fn internal() -> Self {
        Reply::error(500, "INTERNAL_ERROR", "An unexpected error occurred")
    }

    pub(crate) fn crash() -> Self {
        Reply { status: 500, headers: Vec::new(), body: Body::Crash }
    }

    pub(crate) fn unknown_route() -> Self {
        Reply::text(404, "404 Not Found")
    }

    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Puts a member beside `code`.
    pub(crate) fn member(mut self, name: &str, value: Value) -> Self {
        if let Body::Json(Value::Object(body)) = &mut self.body {
            body.insert(name.to_owned(), value);
        }
        self
    }

    pub(crate) fn details(self, details: Value) -> Self {
        self.member("details", details)
    }
}
