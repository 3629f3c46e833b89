//! The replies, read strictly: what the protocol promises and is not there is an error, never a default.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::address::MailAddress;
use crate::error::{Error, ErrorKind, Result};
use crate::message::MsgId;
use crate::protocol::broker_errors;
use crate::protocol::subjects::Command;

#[derive(Deserialize)]
struct Plain<'a> {
    #[serde(borrow)]
    error: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Created<'a> {
    #[serde(borrow)]
    error: Cow<'a, str>,
    #[serde(borrow)]
    mail_address: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Stored<'a> {
    #[serde(borrow)]
    error: Cow<'a, str>,
    msg_id: Option<i64>,
}

#[derive(Deserialize)]
struct Deleted<'a> {
    #[serde(borrow)]
    error: Cow<'a, str>,
    deleted: Option<bool>,
}

#[derive(Deserialize)]
struct Agents<'a> {
    #[serde(borrow)]
    error: Cow<'a, str>,
    #[serde(borrow)]
    agents: Option<Vec<&'a RawValue>>,
}

/// The id of a sent message: `None` for a delayed one, which has none yet.
pub(crate) fn stored(command: Command<'_>, raw: &[u8], delayed: bool) -> Result<Option<MsgId>> {
    // The one reply that comes for every message: the usual form needs no general parser.
    if let Some(id) = usual_stored_form(raw) {
        return Ok(Some(MsgId::new(id)));
    }
    let reply: Stored<'_> = parsed(command, raw)?;
    accepted(command, &reply.error)?;
    match reply.msg_id {
        Some(id) if id >= 0 => Ok(Some(MsgId::new(id.unsigned_abs()))),
        Some(-1) if delayed => Ok(None),
        Some(_) => Err(protocol(command, "a message id below zero", raw)),
        None => Err(protocol(command, "no msg_id", raw)),
    }
}

pub(crate) fn created(command: Command<'_>, raw: &[u8]) -> Result<MailAddress> {
    let reply: Created<'_> = parsed(command, raw)?;
    accepted(command, &reply.error)?;
    let name = reply.mail_address.ok_or_else(|| protocol(command, "no mail_address", raw))?;
    MailAddress::new(&name).map_err(|_| protocol(command, "a mail_address that is no mailbox name", raw))
}

pub(crate) fn done(command: Command<'_>, raw: &[u8]) -> Result<()> {
    let reply: Plain<'_> = parsed(command, raw)?;
    accepted(command, &reply.error)
}

pub(crate) fn deleted(command: Command<'_>, raw: &[u8]) -> Result<()> {
    let reply: Deleted<'_> = parsed(command, raw)?;
    accepted(command, &reply.error)?;
    match reply.deleted {
        Some(true) => Ok(()),
        Some(false) => {
            Err(Error::new(ErrorKind::Rejected, command.operation(), "the broker kept the message"))
        }
        None => Err(protocol(command, "no deleted", raw)),
    }
}

/// The entries of a DISCOVER, each as its exact JSON text.
pub(crate) fn agents<'a>(command: Command<'_>, raw: &'a [u8]) -> Result<Vec<&'a RawValue>> {
    let reply: Agents<'a> = parsed(command, raw)?;
    accepted(command, &reply.error)?;
    reply.agents.ok_or_else(|| protocol(command, "no agents", raw))
}

/// Whether this is an mq9 reply at all, whatever it says.
pub(crate) fn is_reply(raw: &[u8]) -> bool {
    serde_json::from_slice::<Plain<'_>>(raw).is_ok()
}

/// A reply that breaks the protocol, shown cut short and with the mailbox's name masked. Of a reply that
/// may hold messages or cards nothing is shown: they name further mailboxes, and are not for logs.
pub(crate) fn protocol(command: Command<'_>, what: &str, raw: &[u8]) -> Error {
    let error = Error::new(ErrorKind::Protocol, command.operation(), format!("the reply has {what}"));
    if raw.len() > EMPTY && holds_content(command) {
        return error.with_source(format!("a reply of {} bytes, not shown", raw.len()));
    }
    let text = String::from_utf8_lossy(&raw[..raw.len().min(600)]);
    let shown = match command.mailbox() {
        Some(mailbox) => text.replace(mailbox.as_str(), &broker_errors::mask(mailbox.as_str())),
        None => text.into_owned(),
    };
    error.with_broker_text(&shown)
}

pub(crate) fn parsed<'a, T: Deserialize<'a>>(command: Command<'_>, raw: &'a [u8]) -> Result<T> {
    serde_json::from_slice(raw).map_err(|error| {
        let unknown = protocol(command, "an unknown form", raw);
        if holds_content(command) {
            unknown.with_source(format!("{} of {} bytes, not shown", place(&error), raw.len()))
        } else {
            unknown.with_source(error)
        }
    })
}

/// Where JSON is at fault. The parser's own words quote the text that it did not expect.
pub(crate) fn place(error: &serde_json::Error) -> String {
    format!("{:?} error at line {} column {}", error.classify(), error.line(), error.column())
}

fn holds_content(command: Command<'_>) -> bool {
    matches!(command, Command::Fetch(_) | Command::Query(_) | Command::Discover)
}

/// No message and no card fits into a reply of so many bytes.
const EMPTY: usize = 24;

pub(crate) fn accepted(command: Command<'_>, error: &str) -> Result<()> {
    if error.is_empty() { Ok(()) } else { Err(broker_errors::error(command, error)) }
}

/// Reads exactly `{"error":"","msg_id":N}`.
fn usual_stored_form(raw: &[u8]) -> Option<u64> {
    let digits = raw.strip_prefix(br#"{"error":"","msg_id":"#)?.strip_suffix(b"}")?;
    if digits.len() > 18 || !matches!(digits, [b'0'] | [b'1'..=b'9', ..]) {
        return None;
    }
    digits
        .iter()
        .try_fold(0_u64, |sum, digit| digit.is_ascii_digit().then(|| sum * 10 + u64::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn mailbox() -> MailAddress {
        MailAddress::new("agent.box").expect("valid")
    }

    fn kind<T>(result: Result<T>) -> ErrorKind {
        result.err().expect("an error").kind()
    }

    #[test]
    fn a_send_reply_is_an_id_or_a_delay_that_was_asked_for() {
        let mailbox = mailbox();
        let send = |raw: &str, delayed| stored(Command::Send(&mailbox), raw.as_bytes(), delayed);
        let id = |number| Some(MsgId::new(number));
        assert_eq!(send(r#"{"error":"","msg_id":0}"#, false).expect("stored"), id(0));
        assert_eq!(send(r#"{ "msg_id" : 7, "error":"", "new": [] }"#, false).expect("stored"), id(7));
        assert_eq!(send(r#"{"error":"","msg_id":-1}"#, true).expect("delayed"), None);
        assert_eq!(send(r#"{"error":"","msg_id":3}"#, true).expect("stored"), id(3));
        for raw in [
            r#"{"error":"","msg_id":-1}"#,
            r#"{"error":"","msg_id":-2}"#,
            r#"{"error":""}"#,
            r#"{"error":"","msg_id":null}"#,
            r#"{"error":"","msg_id":"1"}"#,
            r#"{"error":"","msg_id":01}"#,
            r#"{"error":"","msg_id":}"#,
            r#"{"error":"","msg_id":18446744073709551616}"#,
            r#"{"msg_id":1}"#,
            r#"{"error":null,"msg_id":1}"#,
            "not json",
            "",
            "[]",
        ] {
            assert_eq!(kind(send(raw, false)), ErrorKind::Protocol, "{raw}");
        }
    }

    proptest! {
        #[test]
        fn the_short_path_agrees_with_the_general_parser(id: u64, tail in "[0-9}\\-. ]{0,3}") {
            for raw in [format!(r#"{{"error":"","msg_id":{id}}}"#), format!(r#"{{"error":"","msg_id":{id}{tail}"#)] {
                if let Some(read) = usual_stored_form(raw.as_bytes()) {
                    let general: Stored<'_> = serde_json::from_str(&raw)?;
                    prop_assert_eq!(general.msg_id, Some(read as i64));
                }
            }
        }
    }

    #[test]
    fn a_missing_field_is_an_error_with_the_raw_reply_and_a_masked_name() {
        let mailbox = mailbox();
        let error =
            stored(Command::Send(&mailbox), br#"{"error":"","to":"agent.box"}"#, false).expect_err("no id");
        assert_eq!(error.broker_text(), Some(r#"{"error":"","to":"agen…"}"#));
        assert_eq!(kind(created(Command::Create(None), br#"{"error":""}"#)), ErrorKind::Protocol);
        assert_eq!(
            kind(created(Command::Create(None), br#"{"error":"","mail_address":"No"}"#)),
            ErrorKind::Protocol
        );
        assert_eq!(kind(done(Command::Report, b"{}")), ErrorKind::Protocol);
        assert_eq!(kind(agents(Command::Discover, br#"{"error":""}"#)), ErrorKind::Protocol);
        let delete = Command::Delete(&mailbox, MsgId::new(1));
        assert_eq!(kind(deleted(delete, br#"{"error":""}"#)), ErrorKind::Protocol);
        assert_eq!(kind(deleted(delete, br#"{"error":"","deleted":false}"#)), ErrorKind::Rejected);
        assert!(deleted(delete, br#"{"error":"","deleted":true}"#).is_ok());
    }

    #[test]
    fn agents_keep_their_exact_text() {
        let raw = br#"{"error":"","agents":[{"name":"a",  "x":1.50}]}"#;
        let agents = agents(Command::Discover, raw).expect("agents");
        assert_eq!(agents[0].get(), r#"{"name":"a",  "x":1.50}"#);
    }

    #[test]
    fn a_refusal_with_only_the_error_field_is_read() {
        let mailbox = mailbox();
        let raw = br#"{"error":"mailbox agent.box does not exist"}"#;
        assert_eq!(kind(stored(Command::Send(&mailbox), raw, false)), ErrorKind::MailboxNotFound);
        assert!(is_reply(raw) && !is_reply(b"{}") && !is_reply(b"hello"));
    }
}
