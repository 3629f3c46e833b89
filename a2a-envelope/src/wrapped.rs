//! The wrapped carriage: an envelope as one JSON text. `agent/wrapped_connector.rs` puts it under a whole agent.

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
        let members = Members::of(root);
        let format = members.required_text(MARK)?;
        if format != FORMAT {
            return Err(Error::UnknownFormat { found: excerpt(&format) });
        }
        let body = members.required_text(BODY)?;
        limits.check(LimitKind::Body, body.len())?;
        let headers = read_headers(&members, limits)?;
        let envelope = Self::from_parts(headers, body);
        envelope.check_format()?;
        Ok(envelope)
    }
}

/// Whether a text is the wrapped carriage, of whatever format.
pub(crate) fn is_wrapped(root: Node<'_>) -> bool {
    root.get(MARK).is_some()
}

/// The members this format knows, found in one pass: beside a large body, looking for each would be four.
struct Members<'a> {
    found: [(Option<Node<'a>>, bool); 4],
}

impl<'a> Members<'a> {
    const NAMES: [&'static str; 4] = [MARK, HEADERS, PARAMETERS, BODY];

    fn of(root: Node<'a>) -> Self {
        let mut found = [(None, false); 4];
        for item in root.items() {
            if let Some(place) = Self::NAMES.iter().position(|name| item.is_named(name)) {
                let twice = found[place].0.is_some();
                found[place] = (Some(item.value), twice || found[place].1);
            }
        }
        Self { found }
    }

    /// The member of this name, provided there is only one.
    fn only(&self, name: &str) -> Result<Option<Node<'a>>> {
        match Self::NAMES.iter().position(|known| *known == name).map(|place| self.found[place]) {
            Some((_, true)) => Err(Error::member(name, MemberRule::Duplicate)),
            Some((found, false)) => Ok(found),
            None => Ok(None),
        }
    }

    fn required_text(&self, name: &str) -> Result<String> {
        let node = self.only(name)?.ok_or_else(|| Error::member(name, MemberRule::Missing))?;
        let text = node.as_str().ok_or_else(|| Error::member(name, MemberRule::NotAString))?;
        Ok(text.into_owned())
    }

    /// The members of an object member, which may be absent.
    fn entries(&self, member: &str) -> Result<Vec<(String, Node<'a>)>> {
        let Some(object) = self.only(member)? else { return Ok(Vec::new()) };
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
}

fn read_headers(members: &Members<'_>, limits: &Limits) -> Result<Headers> {
    let mut headers = Headers::new();
    for (name, value) in members.entries(HEADERS)? {
        let Some(value) = value.as_str() else {
            return Err(Error::member(format!("headers.{}", excerpt(&name)), MemberRule::NotAString));
        };
        headers.set(&name, &value)?;
    }
    for (name, value) in members.entries(PARAMETERS)? {
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

fn parameter(value: Node<'_>) -> Option<String> {
    if value.kind() == Kind::Array {
        let values: Option<Vec<_>> = value.items().map(|item| item.value.as_str()).collect();
        return values.map(|values| values.join(", "));
    }
    value.as_str().map(|text| text.into_owned())
}

fn starts_with_ignoring_case(name: &str, prefix: &str) -> bool {
    name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

const MARK: &str = "a2aEnvelope";
const HEADERS: &str = "headers";
const BODY: &str = "body";
const PARAMETERS: &str = "a2a-service-parameters";
