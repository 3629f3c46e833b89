//! A message checked and put into wire form. Everything the broker would drop, misread or choke on is
//! refused here, before anything is sent.

use std::time::Duration;

use async_nats::{HeaderMap, HeaderName, HeaderValue};
use bytes::Bytes;

use crate::error::{Error, ErrorKind, Result};
use crate::message::{Headers, Message, Priority};
use crate::protocol::header_block::wire_len;
use crate::protocol::payload::{self, BASE64, CONTENT_ENCODING};

/// Header lines and payload, ready to send.
pub(crate) struct Outgoing {
    pub(crate) headers: Option<HeaderMap>,
    pub(crate) payload: Bytes,
}

/// Checks `message` and puts it into wire form within `max_payload` bytes.
pub(crate) fn outgoing(message: &Message, max_payload: usize) -> Result<Outgoing> {
    let (payload_len, encode) = payload::plan(&message.payload);
    let lines = header_lines(message, encode)?;
    let size = payload_len + if lines.is_empty() { 0 } else { wire_len(&lines) };
    if size > max_payload {
        return Err(Error::new(
            ErrorKind::TooLarge,
            OPERATION,
            format!("{size} bytes on the wire; the connection carries {max_payload}"),
        ));
    }
    let payload = if encode { payload::encoded(&message.payload) } else { message.payload.clone() };
    Ok(Outgoing { headers: header_map(&lines)?, payload })
}

fn header_lines(message: &Message, encode: bool) -> Result<Headers> {
    let mut lines = Headers::new();
    for (name, value) in message.headers.iter() {
        check_name(name)?;
        check_value(name, value)?;
        lines.append(name, value);
    }
    if message.priority != Priority::Normal {
        lines.append(PRIORITY, message.priority.as_str());
    }
    if message.delay.is_some() && (message.key.is_some() || message.ttl.is_some()) {
        return Err(invalid("a delayed message loses its key and ttl in the broker: send it without"));
    }
    if let Some(key) = &message.key {
        if key.is_empty() {
            return Err(invalid("an empty key would be one key shared by every sender"));
        }
        check_value(KEY, key)?;
        lines.append(KEY, key);
    }
    if let Some(ttl) = message.ttl {
        let seconds = whole_seconds(ttl);
        if seconds > MAX_SECONDS {
            return Err(invalid("a ttl above 2^32 s may overflow in the broker"));
        }
        lines.append(TTL, seconds.to_string());
    }
    if let Some(delay) = message.delay {
        let seconds = whole_seconds(delay);
        if seconds > MAX_DELAY {
            return Err(invalid("a delay above 365 days stops a delay worker of the broker for good"));
        }
        lines.append(DELAY, seconds.to_string());
    }
    if !message.tags.is_empty() {
        for tag in &message.tags {
            if tag.is_empty() || tag.contains(',') {
                return Err(invalid("a tag must be non-empty and without commas, where the broker splits"));
            }
            check_value(TAGS, tag)?;
        }
        lines.append(TAGS, message.tags.join(","));
    }
    if encode {
        lines.append(CONTENT_ENCODING, BASE64);
    }
    Ok(lines)
}

fn check_name(name: &str) -> Result<()> {
    let printable = |byte: u8| (b'!'..=b'~').contains(&byte) && byte != b':';
    if name.is_empty() || !name.bytes().all(printable) {
        return Err(invalid("a header's name must be printable ASCII without blanks and colons"));
    }
    if RESERVED.iter().any(|reserved| name.eq_ignore_ascii_case(reserved)) {
        return Err(invalid(format!("the header {name} has its own setter")));
    }
    Ok(())
}

fn check_value(name: &str, value: &str) -> Result<()> {
    if value.contains(['\r', '\n']) {
        return Err(invalid(format!("the value of {name} has a line break")));
    }
    if value.trim().len() != value.len() {
        return Err(invalid(format!("the value of {name} has blanks around it, which the broker trims")));
    }
    Ok(())
}

fn header_map(lines: &Headers) -> Result<Option<HeaderMap>> {
    if lines.is_empty() {
        return Ok(None);
    }
    let mut map = HeaderMap::new();
    for (name, value) in lines.iter() {
        let name: HeaderName = name.parse().map_err(|_| invalid("a header's name is not valid"))?;
        let value: HeaderValue = value.parse().map_err(|_| invalid("a header's value is not valid"))?;
        map.append(name, value);
    }
    Ok(Some(map))
}

/// Whole seconds, rounded up.
pub(crate) fn whole_seconds(duration: Duration) -> u64 {
    duration.as_secs().saturating_add(u64::from(duration.subsec_nanos() > 0))
}

fn invalid(why: impl Into<String>) -> Error {
    Error::new(ErrorKind::Invalid, OPERATION, why)
}

const OPERATION: &str = "MSG.SEND";
const PRIORITY: &str = "mq9-priority";
const KEY: &str = "mq9-key";
const TTL: &str = "mq9-ttl";
const DELAY: &str = "mq9-delay";
const TAGS: &str = "mq9-tags";
const RESERVED: [&str; 6] = [PRIORITY, KEY, TTL, DELAY, TAGS, CONTENT_ENCODING];
const MAX_DELAY: u64 = 365 * 86_400;
pub(crate) const MAX_SECONDS: u64 = u32::MAX as u64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Reached;

    const MAX: usize = 1_048_576;

    fn header(message: &Message, name: &str) -> Option<String> {
        let outgoing = outgoing(message, MAX).unwrap_or_else(|error| panic!("{error}"));
        outgoing.headers?.get(name).map(ToString::to_string)
    }

    #[test]
    fn a_plain_message_has_no_header_block() {
        let wire = outgoing(&Message::new("hello"), MAX).unwrap_or_else(|error| panic!("{error}"));
        assert!(wire.headers.is_none());
        assert_eq!(wire.payload, "hello");
    }

    #[test]
    fn every_setting_becomes_its_header() {
        let message = Message::new("x")
            .with_priority(Priority::Critical)
            .with_key("k")
            .with_ttl(Duration::from_millis(1_001))
            .with_tag("a")
            .with_tag("b")
            .with_header("traceparent", "00-1");
        assert_eq!(header(&message, PRIORITY).as_deref(), Some("critical"));
        assert_eq!(header(&message, KEY).as_deref(), Some("k"));
        assert_eq!(header(&message, TTL).as_deref(), Some("2"));
        assert_eq!(header(&message, TAGS).as_deref(), Some("a,b"));
        assert_eq!(header(&message, "traceparent").as_deref(), Some("00-1"));
        assert_eq!(header(&message, CONTENT_ENCODING), None);
        let delayed = Message::new([0xff_u8, 0xfe].to_vec()).with_delay(Duration::from_millis(1));
        assert_eq!(header(&delayed, DELAY).as_deref(), Some("1"));
        assert_eq!(header(&delayed, CONTENT_ENCODING).as_deref(), Some(BASE64));
    }

    #[test]
    fn a_repeated_header_goes_out_with_every_value() {
        let message = Message::new("x").with_header("via", "a").with_header("via", "b");
        let wire = outgoing(&message, MAX).unwrap_or_else(|error| panic!("{error}"));
        let map = wire.headers.expect("headers");
        assert_eq!(map.get_all("via").map(|value| value.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn what_the_broker_would_drop_or_choke_on_is_refused() {
        let day = Duration::from_secs(86_400);
        let x = || Message::new("x");
        for (message, reason) in [
            (x().with_delay(day * 365 + Duration::from_nanos(1)), "365 days"),
            (x().with_delay(day).with_key("k"), "key and ttl"),
            (x().with_delay(day).with_ttl(day), "key and ttl"),
            (x().with_key(""), "empty key"),
            (x().with_key(" k"), "blanks"),
            (x().with_key("a\r\nmq9-ttl: 0"), "line break"),
            (x().with_ttl(Duration::MAX), "overflow"),
            (x().with_tag("a,b"), "commas"),
            (x().with_tag(""), "non-empty"),
            (x().with_tag("a "), "blanks"),
            (x().with_header("MQ9-Priority", "urgent"), "own setter"),
            (x().with_header("mq9-content-encoding", "base64"), "own setter"),
            (x().with_header("", "v"), "printable"),
            (x().with_header("a:b", "v"), "printable"),
            (x().with_header("a b", "v"), "printable"),
            (x().with_header("é", "v"), "printable"),
            (x().with_header("a", "v\nb: c"), "line break"),
            (x().with_header("a", "v\r"), "line break"),
            (x().with_header("a", "\tv"), "blanks"),
        ] {
            let error = outgoing(&message, MAX).err().unwrap_or_else(|| panic!("{reason} was accepted"));
            assert_eq!((error.kind(), error.reached()), (ErrorKind::Invalid, Reached::No), "{reason}");
            assert!(error.to_string().contains(reason), "{error}");
        }
        assert!(outgoing(&x().with_delay(day * 365), MAX).is_ok());
    }

    #[test]
    fn the_size_counts_encoding_and_headers() {
        let text = Message::new(vec![b'x'; 100]);
        assert!(outgoing(&text, 100).is_ok());
        assert_eq!(outgoing(&text, 99).err().map(|error| error.kind()), Some(ErrorKind::TooLarge));
        let binary = Message::new(vec![0xff; 99]);
        let marker = "NATS/1.0\r\nmq9-content-encoding: base64\r\n\r\n".len();
        assert!(outgoing(&binary, 132 + marker).is_ok());
        assert_eq!(
            outgoing(&binary, 131 + marker).err().map(|error| error.kind()),
            Some(ErrorKind::TooLarge)
        );
    }
}
