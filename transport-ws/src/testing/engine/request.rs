//! A request, taken apart.

use super::reply::{Answer, Reply};

/// What the engine needs of an HTTP request.
pub(crate) struct Request<'a> {
    pub(crate) method: &'a str,
    /// Percent-encoded, without the query.
    pub(crate) path: &'a str,
    pub(crate) query: &'a str,
    pub(crate) authorization: Option<&'a str>,
    pub(crate) idempotency_key: Option<&'a str>,
    /// Whom the limits for unknown callers count.
    pub(crate) address: &'a str,
    pub(crate) body: &'a [u8],
}

impl Request<'_> {
    /// The path's segments, decoded.
    pub(crate) fn segments(&self) -> Vec<String> {
        self.path.split('/').skip(1).map(|segment| decoded(segment, false)).collect()
    }

    pub(crate) fn query(&self, name: &str) -> Option<String> {
        let pairs = self.query.split('&').filter(|pair| !pair.is_empty());
        pairs
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .find_map(|(key, value)| (decoded(key, true) == name).then(|| decoded(value, true)))
    }

    /// A number of the query that decides a page: within bounds, or the default if it is no number.
    pub(crate) fn page(&self, name: &str, default: u64, min: u64, max: u64) -> u64 {
        let Some(text) = self.query(name) else { return default };
        match text.trim().parse::<i64>() {
            Ok(number) => u64::try_from(number).unwrap_or(0).clamp(min, max),
            Err(_) => default,
        }
    }

    /// A whole number of the query that is not negative.
    pub(crate) fn cursor(&self, name: &str) -> Answer<Option<u64>> {
        let Some(text) = self.query(name) else { return Ok(None) };
        match text.parse() {
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(Reply::invalid(format!("{name} must be a non-negative integer"))),
        }
    }

    /// The key of `Authorization: Bearer <key>`; the scheme's case counts.
    pub(crate) fn key(&self) -> Option<&str> {
        self.authorization?.strip_prefix("Bearer ")
    }
}

fn decoded(text: &str, plus_is_space: bool) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let code = tail.get(..2).and_then(|pair| std::str::from_utf8(pair).ok());
        match (byte, code.and_then(|code| u8::from_str_radix(code, 16).ok())) {
            (b'%', Some(code)) => {
                bytes.push(code);
                rest = &tail[2..];
            }
            (b'+', _) if plus_is_space => {
                bytes.push(b' ');
                rest = tail;
            }
            _ => {
                bytes.push(byte);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
