//! What may go wrong with one request.

use std::time::Duration;

use serde_json::json;

/// What happens to one request instead of, or besides, its being answered.
#[derive(Clone, Default)]
#[must_use = "a fault does nothing before it is scripted"]
pub struct HttpFault {
    pub(crate) canned: Option<Canned>,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) delay: Duration,
    pub(crate) work: Duration,
    pub(crate) cut_after: Option<u64>,
    pub(crate) drip: Option<(usize, Duration)>,
    pub(crate) hang: bool,
    pub(crate) unseen: bool,
}

/// An answer the server itself does not think of.
#[derive(Clone)]
pub(crate) struct Canned {
    pub(crate) status: u16,
    pub(crate) content_type: String,
    pub(crate) body: String,
}

impl HttpFault {
    /// The server answers as ever; for delays and cuts.
    pub fn passing() -> Self {
        HttpFault::default()
    }

    /// Answered with that status and the code that goes with it; the server does nothing.
    pub fn status(status: u16) -> Self {
        let code = match status {
            400 => "VALIDATION_ERROR",
            401 => "UNAUTHORIZED",
            403 => "FORBIDDEN",
            404 => "NOT_FOUND",
            410 => "GROUP_DELETED",
            429 => "RATE_LIMITED",
            503 => "STORAGE_UNAVAILABLE",
            _ => "INTERNAL_ERROR",
        };
        HttpFault::error(status, code, "Scripted")
    }

    /// Answered with an error; the server does nothing.
    pub fn error(status: u16, code: &str, message: &str) -> Self {
        let body = json!({ "code": code, "message": message }).to_string();
        HttpFault::answer(status, "application/json", &body)
    }

    /// Answered with this; the server does nothing.
    pub fn answer(status: u16, content_type: &str, body: &str) -> Self {
        let canned = Canned { status, content_type: content_type.to_owned(), body: body.to_owned() };
        HttpFault { canned: Some(canned), ..HttpFault::default() }
    }

    /// Answered with a page for people, as a proxy does; the server does nothing.
    pub fn html(status: u16) -> Self {
        let body = "<!doctype html><html><body><h1>Bad gateway</h1></body></html>";
        HttpFault::answer(status, "text/html; charset=utf-8", body)
    }

    /// Answered with 302 to somewhere else; the server does nothing.
    pub fn redirect(location: &str) -> Self {
        HttpFault::answer(302, "text/plain; charset=UTF-8", "").header("location", location)
    }

    /// Never answered; the connection stays open. The server does nothing.
    pub fn hang() -> Self {
        HttpFault { hang: true, unseen: true, ..HttpFault::default() }
    }

    /// The connection ends without an answer, after the server carried the request out.
    pub fn lose_answer() -> Self {
        HttpFault::passing().cut_after(0)
    }

    /// The connection ends without an answer, before the server saw the request.
    pub fn lose_request() -> Self {
        HttpFault { unseen: true, ..HttpFault::passing().cut_after(0) }
    }

    /// Adds a header to the answer.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds `Retry-After`.
    pub fn retry_after(self, value: &str) -> Self {
        self.header("retry-after", value)
    }

    /// Holds the finished answer back for so long.
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Takes so long to carry the request out; meanwhile its `Idempotency-Key` is locked.
    pub fn work(mut self, work: Duration) -> Self {
        self.work = work;
        self
    }

    /// Ends the connection after so many bytes of the answer, status line and headers included.
    pub fn cut_after(mut self, bytes: u64) -> Self {
        self.cut_after = Some(bytes);
        self
    }

    /// Writes the answer in pieces of so many bytes, with a pause before each.
    pub fn drip(mut self, bytes: usize, pause: Duration) -> Self {
        self.drip = Some((bytes.max(1), pause));
        self
    }
}

impl std::fmt::Debug for HttpFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpFault")
            .field("status", &self.canned.as_ref().map(|canned| canned.status))
            .field("delay", &self.delay)
            .field("work", &self.work)
            .field("cut_after", &self.cut_after)
            .field("drip", &self.drip)
            .field("hang", &self.hang)
            .finish_non_exhaustive()
    }
}

/// Whether a route names a request: `METHOD /path`, where `*` stands for one segment, `**` at the end for
/// any number of them, and `*` alone for every request.
pub(crate) fn names(route: &str, method: &str, path: &str) -> bool {
    if route == "*" {
        return true;
    }
    let Some((wanted, pattern)) = route.split_once(' ') else { return false };
    if wanted != "*" && wanted != method {
        return false;
    }
    let mut segments = path.split('/');
    for wanted in pattern.split('/') {
        match (wanted, segments.next()) {
            ("**", _) => return true,
            ("*", Some(_)) => {}
            (wanted, Some(segment)) if wanted == segment => {}
            _ => return false,
        }
    }
    segments.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::names;

    #[test]
    fn a_route_names_what_it_says() {
        assert!(names("POST /v1/messages", "POST", "/v1/messages"));
        assert!(!names("POST /v1/messages", "POST", "/v1/messages/sync/ack"));
        assert!(names("* /v1/messages/*/read", "POST", "/v1/messages/msg_1/read"));
        assert!(names("GET /v1/**", "GET", "/v1/messages/sync"));
        assert!(!names("GET /v1/**", "POST", "/v1/messages/sync"));
        assert!(names("*", "PUT", "/anything"));
    }
}
