//! Rows as the server writes them, rendered before anything is measured, and read as a raw loop would.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::Deserialize;
use serde_json::Value;

/// Renders rows of a size, over a number of conversations, each numbered without holes.
pub struct Rows {
    next: usize,
}

impl Rows {
    pub fn new() -> Self {
        Self { next: 0 }
    }

    /// The next `count` rows as WebSocket frames of [`SIZE`] bytes, header included.
    pub fn frames(&mut self, count: usize) -> Vec<u8> {
        let mut frames = Vec::with_capacity(count * SIZE);
        for _ in 0..count {
            let mut text = self.pushed();
            let pad = SIZE.saturating_sub(HEADER + text.len());
            text.insert_str(text.find("||").expect("a place to fill") + 1, &"x".repeat(pad));
            frames.extend(frame(&text));
        }
        frames
    }

    /// The next `count` rows as pages of at most `size`, each a JSON array.
    pub fn pages(&mut self, count: usize, size: usize) -> Vec<Vec<u8>> {
        let mut pages = Vec::new();
        let mut left = count;
        while left > 0 {
            let rows: Vec<String> = (0..size.min(left)).map(|_| self.stored()).collect();
            left -= rows.len();
            pages.push(format!("[{}]", rows.join(",")).into_bytes());
        }
        pages
    }

    /// The cursor of the row that is `at` in the order of rendering.
    pub fn cursor(at: usize) -> String {
        format!("del_{at:032x}")
    }

    fn pushed(&mut self) -> String {
        let row = self.row("");
        format!(r#"{{"type":"message.new","payload":{row}}}"#)
    }

    fn stored(&mut self) -> String {
        let cursor = Self::cursor(self.next);
        let more =
            format!(r#","delivery_id":"{cursor}","status":"stored","delivered_at":null,"read_at":null"#);
        let mut text = self.row(&more);
        let pad = SIZE.saturating_sub(text.len());
        text.insert_str(text.find("||").expect("a place to fill") + 1, &"x".repeat(pad));
        text
    }

    fn row(&mut self, more: &str) -> String {
        let number = self.next;
        self.next += 1;
        numbered(number % CONVERSATIONS, number / CONVERSATIONS + 1, number, more)
    }
}

/// A row of a conversation, with what is to stand between its members and its context.
pub fn numbered(conversation: usize, seq: usize, number: usize, more: &str) -> String {
    let mut row = String::with_capacity(SIZE);
    let _ = write!(row, r#"{{"id":"msg_{number:016}","conversation_id":"conv_{conversation:016}","#);
    let _ = write!(row, r#""client_msg_id":"5f7c{number:032}","seq":{seq},"type":"text","#);
    row.push_str(r#""content":{"text":"||"},"metadata":{},"created_at":"2026-08-11T08:02:31.900Z","#);
    row.push_str(r#""sender":"tally-ho""#);
    row.push_str(more);
    row.push_str(r#","context":{"sender":{"handle":"tally-ho","display_name":"T","kind":"agent"},"#);
    row.push_str(r#""conversation":{"type":"direct","group_name":null,"member_count":null},"mentions":[]}}"#);
    row
}

/// A text frame of a server.
pub fn frame(text: &str) -> Vec<u8> {
    let mut frame = vec![0x81];
    match u16::try_from(text.len()) {
        Ok(length @ 0..126) => frame.push(length as u8),
        Ok(length) => {
            frame.push(126);
            frame.extend(length.to_be_bytes());
        }
        Err(_) => panic!("a frame of this size is not made"),
    }
    frame.extend(text.as_bytes());
    frame
}

/// A pushed row in owned structs: what a raw loop parses.
#[derive(Deserialize)]
pub struct Pushed {
    #[serde(rename = "type")]
    pub kind: String,
    pub payload: Row,
}

/// A row in owned structs.
#[derive(Deserialize)]
#[allow(dead_code, reason = "parsing all of it is what is measured")]
pub struct Row {
    pub id: String,
    pub conversation_id: String,
    pub client_msg_id: String,
    pub seq: u64,
    #[serde(rename = "type")]
    pub kind: String,
    pub content: Content,
    pub metadata: BTreeMap<String, Value>,
    pub created_at: String,
    pub sender: String,
    pub delivery_id: Option<String>,
    pub status: Option<String>,
    pub delivered_at: Option<String>,
    pub read_at: Option<String>,
    pub context: Context,
}

#[derive(Deserialize)]
#[allow(dead_code, reason = "parsing all of it is what is measured")]
pub struct Content {
    pub text: Option<String>,
    pub data: Option<Value>,
    pub attachment_id: Option<String>,
}

#[derive(Deserialize)]
#[allow(dead_code, reason = "parsing all of it is what is measured")]
pub struct Context {
    pub sender: Sender,
    pub conversation: Conversation,
    pub mentions: Vec<String>,
}

#[derive(Deserialize)]
#[allow(dead_code, reason = "parsing all of it is what is measured")]
pub struct Sender {
    pub handle: String,
    pub display_name: Option<String>,
    pub kind: Option<String>,
}

#[derive(Deserialize)]
#[allow(dead_code, reason = "parsing all of it is what is measured")]
pub struct Conversation {
    #[serde(rename = "type")]
    pub kind: String,
    pub group_name: Option<String>,
    pub member_count: Option<u64>,
}

/// Bytes of a pushed row's payload, or of a stored row.
pub const SIZE: usize = 500;
const HEADER: usize = 4;
const CONVERSATIONS: usize = 50;
