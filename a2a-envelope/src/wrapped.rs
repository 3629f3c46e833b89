use bytes::Bytes;

use crate::envelope::{Envelope, FORMAT};
use crate::error::{Error, MemberRule, Result, excerpt};
use crate::headers::Headers;
use crate::json::{self, Kind, Node, write_quoted};
use crate::limits::{LimitKind, Limits};
use crate::names;

impl Envelope {
    /// The wrapped carriage: one JSON text that holds the headers and, as a JSON string, the exact body.
    ///
    /// For networks without headers of their own. [`from_wrapped`](Self::from_wrapped) gives back the same
    /// headers and the same bytes.
    ///
    /// # Errors
    ///
    /// [`Error::NotUtf8`] for a body that is no text; [`Error::UnknownFormat`] for an envelope marked as
    /// another format; [`Error::Limit`] if body, header count or result are larger than `limits` allow.
    pub fn to_wrapped(&self, limits: &Limits) -> Result<Bytes> {
        self.check_format()?;
        limits.check(LimitKind::Body, self.body.len())?;
        limits.check(LimitKind::Headers, self.headers.len())?;
        let body = self.body_text()?;
        // Most texts need few escapes; what these leave over is small beside the body.
        let mut text = Vec::with_capacity(body.len() + body.len() / 8 + self.headers.total_bytes() + 512);
        text.push(b'{');
        write_quoted(&mut text, MARK);
        text.push(b':');
        write_quoted(&mut text, FORMAT);
        text.extend_from_slice(b",\"headers\":{");
        for (place, (name, value)) in self.headers.iter().enumerate() {
            if place > 0 {
                text.push(b',');
            }
            write_quoted(&mut text, name);
            text.push(b':');
            write_quoted(&mut text, value);
        }
        text.extend_from_slice(b"},\"body\":");
        write_quoted(&mut text, body);
        text.push(b'}');
        limits.check(LimitKind::Wrapped, text.len())?;
        Ok(text.into())
    }

    /// Reads the wrapped carriage. Members this version does not know are passed over.
    ///
    /// A2A service parameters may stand in `headers` or, as A2A suggests for bindings without headers, in an
    /// object `a2a-service-parameters` (values are strings or lists of strings, which are joined with `, `);
    /// where both name one, `headers` counts. The mark `amb-envelope` is set if `headers` lacks it.
    ///
    /// # Errors
    ///
    /// [`Error::Limit`], [`Error::NotUtf8`] or [`Error::NotJson`] for a text that cannot be read;
    /// [`Error::UnknownFormat`] for another format; [`Error::Member`] for a member missing, twice there or
    /// of the wrong type; [`Error::Header`] for a header that breaks a rule.
    pub fn from_wrapped(text: &[u8], limits: &Limits) -> Result<Self> {
        let root = json::parse(text, LimitKind::Wrapped, limits)?;
        if !root.is_object() {
            return Err(Error::member("$", MemberRule::NotAnObject));
        }
        let format = required_text(root, MARK)?;
        if format != FORMAT {
            return Err(Error::UnknownFormat { found: excerpt(&format) });
        }
        let body = required_text(root, "body")?;
        limits.check(LimitKind::Body, body.len())?;
        let headers = read_headers(root, limits)?;
        let envelope = Self::from_parts(headers, body);
        envelope.check_format()?;
        Ok(envelope)
    }
}

/// Whether a text is the wrapped carriage, of whatever format.
pub(crate) fn is_wrapped(root: Node<'_>) -> bool {
    root.get(MARK).is_some()
}

fn read_headers(root: Node<'_>, limits: &Limits) -> Result<Headers> {
    let mut headers = Headers::new();
    for (name, value) in entries(root, "headers")? {
        let Some(value) = value.as_str() else {
            return Err(Error::member(format!("headers.{}", excerpt(&name)), MemberRule::NotAString));
        };
        headers.set(&name, &value)?;
    }
    for (name, value) in entries(root, PARAMETERS)? {
        let value = parameter(value).ok_or_else(|| {
            Error::member(format!("{PARAMETERS}.{}", excerpt(&name)), MemberRule::NotAString)
        })?;
        if starts_with_ignoring_case(&name, names::A2A_PREFIX) && !headers.contains(&name) {
            headers.set(&name, &value)?;
        }
    }
    if !headers.contains(names::ENVELOPE) {
        headers.set(names::ENVELOPE, FORMAT)?;
    }
    limits.check(LimitKind::Headers, headers.len())?;
    Ok(headers)
}

/// The members of an object member, which may be absent.
fn entries<'a>(root: Node<'a>, member: &str) -> Result<Vec<(String, Node<'a>)>> {
    let Some(object) = root.only(member, member)? else { return Ok(Vec::new()) };
    if !object.is_object() {
        return Err(Error::member(member, MemberRule::NotAnObject));
    }
    object
        .items()
        .map(|item| match item.key() {
            Some(name) => Ok((name.into_owned(), item.value)),
            None => Err(Error::member(member, MemberRule::NotAString)),
        })
        .collect()
}

fn parameter(value: Node<'_>) -> Option<String> {
    if value.kind() == Kind::Array {
        let values: Option<Vec<_>> = value.items().map(|item| item.value.as_str()).collect();
        return values.map(|values| values.join(", "));
    }
    value.as_str().map(|text| text.into_owned())
}

fn required_text(root: Node<'_>, member: &str) -> Result<String> {
    let node = root.only(member, member)?.ok_or_else(|| Error::member(member, MemberRule::Missing))?;
    let text = node.as_str().ok_or_else(|| Error::member(member, MemberRule::NotAString))?;
    Ok(text.into_owned())
}

fn starts_with_ignoring_case(name: &str, prefix: &str) -> bool {
    name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

const MARK: &str = "a2aEnvelope";
const PARAMETERS: &str = "a2a-service-parameters";
