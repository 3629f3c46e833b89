//! The replies, read strictly: what the protocol promises and is not there is an error, never a default.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;
use tracing::warn;

use crate::address::MailAddress;
use crate::error::{Error, ErrorKind, Result};
use crate::message::{Headers, MsgId, Priority, Received};
use crate::protocol::broker_errors;
use crate::protocol::header_block::HeaderBlock;
use crate::protocol::payload;
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
struct Messages<'a> {
    #[serde(borrow)]
    error: Cow<'a, str>,
    #[serde(borrow)]
    messages: Option<Vec<Row<'a>>>,
}

#[derive(Deserialize)]
struct Agents<'a> {
    #[serde(borrow)]
    error: Cow<'a, str>,
    #[serde(borrow)]
    agents: Option<Vec<&'a RawValue>>,
}

#[derive(Deserialize)]
struct Row<'a> {
    msg_id: u64,
    #[serde(borrow)]
    payload: Cow<'a, str>,
    #[serde(borrow)]
    priority: Cow<'a, str>,
    // The protocol document knows no headers, so a broker may leave them out.
    #[serde(default)]
    header: Option<Vec<u8>>,
    create_time: u64,
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

/// The rows of a FETCH or QUERY, each readable or not.
pub(crate) fn messages(command: Command<'_>, raw: &[u8]) -> Result<Vec<Result<Received>>> {
    Ok(rows(command, raw)?.into_iter().map(|row| received(command, row)).collect())
}

/// The rows of a FETCH. A payload that is not the base64 its header claims is left as the text that was
/// sent, so that one such message cannot hide the others.
pub(crate) fn messages_as_stored(command: Command<'_>, raw: &[u8]) -> Result<Vec<Received>> {
    rows(command, raw)?
        .into_iter()
        .map(|row| {
            let id = MsgId::new(row.msg_id);
            let (priority, headers) = (priority(command, &row)?, headers(row.header));
            let payload = if payload::claims_base64(&headers) {
                payload::decoded(Cow::Borrowed(&row.payload), &headers).unwrap_or_else(|error| {
                    warn!(%id, %error, "a payload is not the base64 its header claims; it is handed out as it is");
                    row.payload.into_owned().into()
                })
            } else {
                payload::text(row.payload)
            };
            Ok(Received { id, payload, headers, priority, create_time: row.create_time })
        })
        .collect()
}

fn rows<'a>(command: Command<'_>, raw: &'a [u8]) -> Result<Vec<Row<'a>>> {
    let reply: Messages<'_> = parsed(command, raw)?;
    accepted(command, &reply.error)?;
    let rows = reply.messages.ok_or_else(|| protocol(command, "no messages", raw))?;
    let mut ids: Vec<u64> = rows.iter().map(|row| row.msg_id).collect();
    ids.sort_unstable();
    if ids.last().is_some_and(|id| *id > HIGHEST_ID) {
        return Err(protocol(command, "a message id above 2^63", raw));
    }
    if ids.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(Error::new(
            ErrorKind::Partitioned,
            command.operation(),
            "a message id comes twice in one reply; set `[runtime] default_topic_partition_num = 1`",
        ));
    }
    Ok(rows)
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

/// A reply that breaks the protocol, shown cut short and with the mailbox's name masked.
pub(crate) fn protocol(command: Command<'_>, what: &str, raw: &[u8]) -> Error {
    let text = String::from_utf8_lossy(&raw[..raw.len().min(600)]);
    let shown = match command.mailbox() {
        Some(mailbox) => text.replace(mailbox.as_str(), &broker_errors::mask(mailbox.as_str())),
        None => text.into_owned(),
    };
    Error::new(ErrorKind::Protocol, command.operation(), format!("the reply has {what}"))
        .with_broker_text(&shown)
}

fn parsed<'a, T: Deserialize<'a>>(command: Command<'_>, raw: &'a [u8]) -> Result<T> {
    serde_json::from_slice(raw).map_err(|error| protocol(command, "an unknown form", raw).with_source(error))
}

fn accepted(command: Command<'_>, error: &str) -> Result<()> {
    if error.is_empty() { Ok(()) } else { Err(broker_errors::error(command, error)) }
}

fn received(command: Command<'_>, row: Row<'_>) -> Result<Received> {
    let id = MsgId::new(row.msg_id);
    let priority = priority(command, &row)?;
    let headers = headers(row.header);
    let payload = payload::decoded(row.payload, &headers).map_err(|error| {
        unreadable(command, id, "a payload that is not the base64 its header claims").with_source(error)
    })?;
    Ok(Received { id, payload, headers, priority, create_time: row.create_time })
}

fn priority(command: Command<'_>, row: &Row<'_>) -> Result<Option<Priority>> {
    match row.priority.as_ref() {
        "" => Ok(None),
        word => Priority::from_wire(word)
            .map(Some)
            .ok_or_else(|| unreadable(command, MsgId::new(row.msg_id), "an unknown priority")),
    }
}

fn headers(block: Option<Vec<u8>>) -> Headers {
    block.map(|block| HeaderBlock::parse(&block).headers).unwrap_or_default()
}

fn unreadable(command: Command<'_>, id: MsgId, what: &str) -> Error {
    Error::new(ErrorKind::Protocol, command.operation(), format!("a stored message has {what}"))
        .with_message_id(id)
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

/// The broker counts in 64 bits with a sign; positions are one above an id and must not overflow.
const HIGHEST_ID: u64 = i64::MAX as u64;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn mailbox() -> MailAddress {
        MailAddress::new("agent.box").expect("valid")
    }

    #[test]
    fn a_payload_that_only_claims_to_be_base64_hides_no_other_message() {
        let header: Vec<u8> = b"NATS/1.0\r\nmq9-content-encoding: base64\r\n\r\n".to_vec();
        let row = |id: u64, payload: &str| {
            serde_json::json!({
                "msg_id": id, "payload": payload, "priority": "normal", "header": header, "create_time": 1,
            })
        };
        let raw =
            serde_json::json!({"error": "", "messages": [row(0, "not base64!"), row(1, "AQID")]}).to_string();
        let mailbox = mailbox();
        let rows = messages_as_stored(Command::Fetch(&mailbox), raw.as_bytes()).expect("rows");
        assert_eq!(rows[0].payload, "not base64!");
        assert_eq!(rows[1].payload.as_ref(), [1, 2, 3]);
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
        assert_eq!(kind(messages(Command::Fetch(&mailbox), br#"{"error":""}"#)), ErrorKind::Protocol);
        assert_eq!(kind(agents(Command::Discover, br#"{"error":""}"#)), ErrorKind::Protocol);
        let delete = Command::Delete(&mailbox, MsgId::new(1));
        assert_eq!(kind(deleted(delete, br#"{"error":""}"#)), ErrorKind::Protocol);
        assert_eq!(kind(deleted(delete, br#"{"error":"","deleted":false}"#)), ErrorKind::Rejected);
        assert!(deleted(delete, br#"{"error":"","deleted":true}"#).is_ok());
    }

    #[test]
    fn a_row_is_read_whole_or_the_reply_is_refused() {
        let mailbox = mailbox();
        let fetch = |rows: &str| {
            messages(Command::Fetch(&mailbox), format!(r#"{{"error":"","messages":[{rows}]}}"#).as_bytes())
        };
        let full = r#"{"msg_id":1,"payload":"héllo\n","priority":"urgent","header":[78,65,84,83,47,49,46,48,13,10,107,58,118,13,10,13,10],"create_time":9}"#;
        let rows = fetch(full).expect("readable");
        let row = rows[0].as_ref().expect("readable");
        assert_eq!((row.id, row.create_time, row.priority), (MsgId::new(1), 9, Some(Priority::Urgent)));
        assert_eq!(row.payload, "héllo\n");
        assert_eq!(row.headers.get("k"), Some("v"));
        for field in ["msg_id", "payload", "priority", "create_time"] {
            let without = full.replacen(&format!("\"{field}\""), "\"other\"", 1);
            assert_eq!(kind(fetch(&without)), ErrorKind::Protocol, "{field}");
        }
        let bare = r#"{"msg_id":1,"payload":"","priority":"","create_time":9}"#;
        let rows = fetch(bare).expect("readable");
        assert_eq!(rows[0].as_ref().expect("readable").priority, None);
    }

    #[test]
    fn an_unreadable_row_names_its_id_and_leaves_the_others() {
        let mailbox = mailbox();
        let block = b"NATS/1.0\r\nmq9-content-encoding: base64\r\n\r\n";
        let raw = format!(
            r#"{{"error":"","messages":[{{"msg_id":4,"payload":"!!","priority":"normal","header":{block:?},"create_time":1}},
               {{"msg_id":5,"payload":"//4=","priority":"normal","header":{block:?},"create_time":1}},
               {{"msg_id":6,"payload":"x","priority":"Normal","header":null,"create_time":1}}]}}"#
        );
        let rows = messages(Command::Fetch(&mailbox), raw.as_bytes()).expect("rows");
        let error = rows[0].as_ref().expect_err("bad base64");
        assert_eq!((error.kind(), error.message_id()), (ErrorKind::Protocol, Some(MsgId::new(4))));
        assert!(error.to_string().contains("message 4"), "{error}");
        assert_eq!(rows[1].as_ref().expect("good base64").payload.as_ref(), [0xff, 0xfe]);
        assert_eq!(rows[2].as_ref().expect_err("unknown word").message_id(), Some(MsgId::new(6)));
    }

    #[test]
    fn an_id_that_comes_twice_means_partitions() {
        let mailbox = mailbox();
        let raw = br#"{"error":"","messages":[
            {"msg_id":0,"payload":"a","priority":"normal","header":null,"create_time":1},
            {"msg_id":1,"payload":"b","priority":"normal","header":null,"create_time":1},
            {"msg_id":0,"payload":"c","priority":"normal","header":null,"create_time":1}]}"#;
        assert_eq!(kind(messages(Command::Query(&mailbox), raw)), ErrorKind::Partitioned);
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
