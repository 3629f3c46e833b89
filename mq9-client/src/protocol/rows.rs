//! The rows of a FETCH or QUERY reply, read strictly.

mod usual;

use std::borrow::Cow;

use serde::Deserialize;
use tracing::warn;

use crate::error::{Error, ErrorKind, Result};
use crate::message::{Headers, MsgId, Priority, Received};
use crate::protocol::header_block::HeaderBlock;
use crate::protocol::payload;
use crate::protocol::replies::{accepted, parsed, protocol};
use crate::protocol::slab::Slab;
use crate::protocol::subjects::Command;

/// The rows, each readable or not.
pub(crate) fn messages(command: Command<'_>, raw: &[u8]) -> Result<Vec<Result<Received>>> {
    collected(command, raw, |row, slab| {
        let row = row?;
        let payload = payload::decoded(row.payload, &row.headers).map_err(|error| {
            unreadable(command, row.id, "a payload that is not the base64 its header claims")
                .with_source(error)
        })?;
        let payload = slab.store(payload);
        Ok(row.with(payload))
    })
}

/// The rows of a FETCH. A payload that is not the base64 its header claims is left as the text that was
/// sent, so that one such message cannot hide the others.
pub(crate) fn messages_as_stored(command: Command<'_>, raw: &[u8]) -> Result<Vec<Received>> {
    collected(command, raw, |row, slab| {
        let row = row?;
        let payload = payload::decoded(row.payload, &row.headers).unwrap_or_else(|error| {
            warn!(id = %row.id, %error, "a payload is not the base64 its header claims; it is handed out as it is");
            Cow::Borrowed(row.payload)
        });
        let payload = slab.store(payload);
        Ok(row.with(payload))
    })?
    .into_iter()
    .collect()
}

/// One row, its payload as the text that it travelled as.
#[derive(Debug, PartialEq)]
struct Row<'a> {
    id: MsgId,
    payload: &'a [u8],
    priority: Option<Priority>,
    headers: Headers,
    create_time: u64,
}

impl Row<'_> {
    fn with(self, payload: bytes::Bytes) -> Received {
        let Self { id, priority, headers, create_time, .. } = self;
        Received { id, payload, headers, priority, create_time }
    }
}

/// Every row as `make` makes it.
fn collected<T>(
    command: Command<'_>,
    raw: &[u8],
    mut make: impl FnMut(Result<Row<'_>>, &mut Slab) -> T,
) -> Result<Vec<T>> {
    let mut slab = Slab::new(raw.len());
    let guess = raw.len() / ROW_GUESS;
    let (mut rows, mut ids) = (Vec::with_capacity(guess), Vec::with_capacity(guess));
    let usual = usual::read(raw, |row| {
        ids.push(row.id);
        rows.push(make(Ok(row), &mut slab));
    });
    if usual.is_none() {
        (rows, ids) = (Vec::new(), Vec::new());
        for row in &general(command, raw)? {
            ids.push(MsgId::new(row.msg_id));
            rows.push(make(row.read(command), &mut slab));
        }
    }
    if ids.iter().any(|id| id.get() > HIGHEST_ID) {
        return Err(protocol(command, "a message id above 2^63", raw));
    }
    if repeats(&mut ids) {
        return Err(Error::new(
            ErrorKind::Partitioned,
            command.operation(),
            "a message id comes twice in one reply; set `[runtime] default_topic_partition_num = 1`",
        ));
    }
    Ok(rows)
}

fn repeats(ids: &mut [MsgId]) -> bool {
    if ids.is_sorted_by(|a, b| a < b) {
        return false;
    }
    ids.sort_unstable();
    ids.windows(2).any(|pair| pair[0] == pair[1])
}

#[derive(Deserialize)]
struct GeneralReply<'a> {
    #[serde(borrow)]
    error: Cow<'a, str>,
    #[serde(borrow)]
    messages: Option<Vec<GeneralRow<'a>>>,
}

#[derive(Deserialize)]
struct GeneralRow<'a> {
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

impl GeneralRow<'_> {
    fn read(&self, command: Command<'_>) -> Result<Row<'_>> {
        let id = MsgId::new(self.msg_id);
        let priority = match self.priority.as_ref() {
            "" => None,
            word => {
                let known = Priority::from_wire(word);
                Some(known.ok_or_else(|| unreadable(command, id, "an unknown priority"))?)
            }
        };
        let headers =
            self.header.as_deref().map(|block| HeaderBlock::parse(block).headers).unwrap_or_default();
        Ok(Row { id, payload: self.payload.as_bytes(), priority, headers, create_time: self.create_time })
    }
}

fn general<'a>(command: Command<'_>, raw: &'a [u8]) -> Result<Vec<GeneralRow<'a>>> {
    let reply: GeneralReply<'_> = parsed(command, raw)?;
    accepted(command, &reply.error)?;
    reply.messages.ok_or_else(|| protocol(command, "no messages", raw))
}

fn unreadable(command: Command<'_>, id: MsgId, what: &str) -> Error {
    Error::new(ErrorKind::Protocol, command.operation(), format!("a stored message has {what}"))
        .with_message_id(id)
}

/// The broker counts in 64 bits with a sign; positions are one above an id and must not overflow.
const HIGHEST_ID: u64 = i64::MAX as u64;

/// What a row with a small payload takes.
const ROW_GUESS: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    fn mailbox() -> crate::MailAddress {
        crate::MailAddress::new("agent.box").expect("valid")
    }

    fn kind<T>(result: Result<T>) -> ErrorKind {
        result.err().expect("an error").kind()
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

    #[test]
    fn the_reply_itself_must_be_whole() {
        let mailbox = mailbox();
        let read = |raw: &str| messages(Command::Fetch(&mailbox), raw.as_bytes());
        assert_eq!(read(r#"{"error":"","messages":[]}"#).expect("empty").len(), 0);
        for broken in [
            r#"{"error":""}"#,
            r#"{"messages":[]}"#,
            r#"{"error":"","messages":null}"#,
            r#"{"error":"","messages":[}"#,
            r#"{"error":"","messages":[],}"#,
            r#"{"error":"","messages":[]}{"#,
            r#"{"error":"","messages":[]"#,
        ] {
            assert_eq!(kind(read(broken)), ErrorKind::Protocol, "{broken}");
        }
    }
}
