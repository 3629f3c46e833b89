//! Sending a message.

use std::fmt;

use agentchat_core::{ClientMsgId, ErrorKind};
use serde::Serialize;
use serde_json::value::RawValue;

use super::check::{self, checked_handle};
use super::{AgentChat, ApiResult, History};
use crate::http::{ApiError, Call, Verb, path};
use crate::map_error::ErrorCode;
use crate::wire::MessageRow;

/// Where a message goes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Recipient {
    /// An agent, by its bare handle.
    Agent(String),
    /// A group, by its id.
    Group(String),
}

impl Recipient {
    /// What stands in a request's members `to` and `conversation_id`.
    pub(super) fn members(&self) -> (Option<&str>, Option<&str>) {
        match self {
            Self::Agent(handle) => (Some(handle), None),
            Self::Group(id) => (None, Some(id)),
        }
    }
}

/// A message to send. It has its id from birth: send the same value again to repeat it. `Debug` shows
/// nothing of what it says.
#[derive(Clone)]
pub struct Draft {
    to: Recipient,
    client_msg_id: String,
    kind: Option<&'static str>,
    content: DraftContent,
    metadata: Option<Box<RawValue>>,
}

#[derive(Clone, Default, Serialize)]
struct DraftContent {
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attachment_id: Option<String>,
}

/// The server's answer to a send.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Sent {
    /// The row as stored. Of a repetition it is the first message's row, whatever this one said.
    pub row: MessageRow,
    /// Whether the server had a message of this id already.
    pub replayed: bool,
    /// The recipient has many messages waiting: slow down.
    pub backlog: Option<BacklogWarning>,
    /// Members of the group that did not get it, as too much waits for them.
    pub skipped: Vec<String>,
}

/// A recipient whose inbox fills up. At 10,000 waiting messages sends fail.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BacklogWarning {
    /// Whose.
    pub handle: String,
    /// How many messages wait.
    pub waiting: u64,
}

/// The most that content and metadata may have together: UTF-8 bytes of their JSON.
pub const MAX_CONTENT: usize = 32_768;

impl Recipient {
    /// Reads a handle, with or without `@`, or a group's id.
    ///
    /// # Errors
    /// For the id of a direct conversation, which the server does not send to: name the agent. For what breaks
    /// the rule of handles: 3 to 30 of `a-z`, `0-9` and single `-` within, the first a letter.
    pub fn parse(text: &str) -> ApiResult<Self> {
        let text = text.trim();
        if text.starts_with(GROUP) {
            return Ok(Self::Group(text.to_owned()));
        }
        // A handle has no `_`, and every id has one.
        if text.contains('_') || text.is_empty() {
            let what = "a message goes to an agent's handle or a group's id, not to a conversation's id";
            return Err(ApiError::invalid("send", what));
        }
        checked_handle("send", text).map(Self::Agent)
    }
}

impl Draft {
    /// A text to `to`, under a fresh id.
    pub fn text(to: Recipient, text: impl Into<String>) -> Self {
        Self::new(to, DraftContent { text: Some(text.into()), ..DraftContent::default() }, None)
    }

    /// Structured data to `to`, under a fresh id: a JSON object as text.
    ///
    /// # Errors
    /// When it is none.
    pub fn data(to: Recipient, json: &str) -> ApiResult<Self> {
        let data = Some(object(json, "the data")?);
        Ok(Self::new(to, DraftContent { data, ..DraftContent::default() }, Some("structured")))
    }

    /// An uploaded file to `to`, under a fresh id.
    pub fn attachment(to: Recipient, attachment_id: impl Into<String>) -> Self {
        let attachment_id = Some(attachment_id.into());
        Self::new(to, DraftContent { attachment_id, ..DraftContent::default() }, Some("file"))
    }

    /// Adds or replaces the text.
    pub fn with_text(mut self, text: impl Into<String>) -> Self {
        self.content.text = Some(text.into());
        self
    }

    /// Replaces the id, for a message that was born elsewhere.
    pub fn with_client_msg_id(mut self, id: &ClientMsgId) -> Self {
        self.client_msg_id = id.as_str().to_owned();
        self
    }

    /// Sets the metadata: a JSON object as text.
    ///
    /// # Errors
    /// When it is none.
    pub fn with_metadata(mut self, json: &str) -> ApiResult<Self> {
        self.metadata = Some(object(json, "the metadata")?);
        Ok(self)
    }

    /// Names the kind of a text, too, which is what it is without that.
    #[cfg(feature = "tools")]
    pub(crate) fn with_its_kind_named(mut self) -> Self {
        self.kind = self.kind.or(Some("text"));
        self
    }

    /// The id by which the server knows a repetition.
    pub fn client_msg_id(&self) -> &str {
        &self.client_msg_id
    }

    /// Where it goes.
    pub fn to(&self) -> &Recipient {
        &self.to
    }

    /// What the server counts against [`MAX_CONTENT`].
    pub fn size(&self) -> usize {
        let content = serde_json::to_string(&self.content).unwrap_or_default();
        compact_len(&content) + self.metadata.as_ref().map_or(0, |json| compact_len(json.get()))
    }

    /// The body of the request.
    pub(crate) fn to_body(&self) -> serde_json::Result<Vec<u8>> {
        serde_json::to_vec(&Body::of(self))
    }

    fn new(to: Recipient, content: DraftContent, kind: Option<&'static str>) -> Self {
        let client_msg_id = ClientMsgId::random().as_str().to_owned();
        Self { to, client_msg_id, kind, content, metadata: None }
    }
}

impl AgentChat {
    /// Sends a message. `Ok` is the server's own answer that it has it. A repetition is recognised by the
    /// draft's id, so this call is tried again after a lost answer.
    ///
    /// Where an earlier attempt may have been stored and the server then says `AWAITING_REPLY`, that attempt
    /// is looked for, and found it counts as a repetition.
    ///
    /// Asks `POST /v1/messages`.
    ///
    /// # Errors
    /// Locally for more than [`MAX_CONTENT`], and for what is no handle. `AWAITING_REPLY`, `RECIPIENT_BACKLOGGED` and the daily limit of
    /// new conversations are not tried again. `BLOCKED`, `INBOX_RESTRICTED`, `AGENT_PAUSED_BY_OWNER`,
    /// `SUSPENDED`, `AGENT_NOT_FOUND`, `GROUP_DELETED` and others of the server's own.
    pub async fn send(&self, draft: &Draft) -> ApiResult<Sent> {
        check::recipient("send", &draft.to)?;
        let size = draft.size();
        if size > MAX_CONTENT {
            let what = format!("content and metadata have {size} bytes; at most {MAX_CONTENT} are carried");
            return Err(ApiError::local("send", ErrorKind::TooLarge, what));
        }
        let call = Call::new("send", Verb::Post, path("send", &["messages"])?).repeatable();
        let body = draft.to_body().map_err(|_| ApiError::invalid("send", "the message is no JSON"))?;
        let answer = match self.call(call.with_body("application/json", body.into())).await {
            Err(error) if error.is_ambiguous() && error.error_code() == Some(ErrorCode::AwaitingReply) => {
                let stored = self.find_sent(&draft.to, &draft.client_msg_id).await.ok().flatten();
                return stored.map(Sent::replayed).ok_or(error);
            }
            other => other?,
        };
        let row = MessageRow::parse(answer.body.clone())
            .ok()
            .filter(|row| row.id().is_some())
            .ok_or_else(|| ApiError::unreadable("send", &answer, "the answer is no message"))?;
        if let (Some(sends), Some(conversation), Some(seq)) = (&self.sends, row.conversation_id(), row.seq())
        {
            sends.note(conversation, seq);
        }
        Ok(Sent {
            replayed: answer.status == 200,
            backlog: answer.backlog_warning.as_deref().and_then(BacklogWarning::read),
            skipped: row.skipped_recipients(),
            row,
        })
    }

    /// Looks for a message of one's own among the newest page of the conversation with `to`.
    ///
    /// Asks `GET /v1/conversations`, then `GET /v1/messages/:conversation_id`.
    ///
    /// # Errors
    /// Those of reading conversations and history.
    pub async fn find_sent(&self, to: &Recipient, client_msg_id: &str) -> ApiResult<Option<MessageRow>> {
        let conversation = match to {
            Recipient::Group(id) => Some(id.clone()),
            Recipient::Agent(agent) => self.direct_conversation(agent).await?,
        };
        let Some(conversation) = conversation else { return Ok(None) };
        let page = self.history(&conversation, History::Newest).await?;
        // Ids are the sender's own: a peer may have used the same one.
        let from_peer = |row: &MessageRow| matches!(to, Recipient::Agent(peer) if row.sender() == Some(peer));
        let mut rows = page.rows.into_iter().filter_map(Result::ok);
        Ok(rows.find(|row| row.client_msg_id() == Some(client_msg_id) && !from_peer(row)))
    }

    /// The id of the direct conversation with an agent, when it is among the newest.
    pub(crate) async fn direct_conversation(&self, agent: &str) -> ApiResult<Option<String>> {
        let conversations = self.conversations(None, 0).await?;
        let found = conversations.into_iter().find(|it| it.is_direct_with(agent));
        Ok(found.map(|conversation| conversation.id))
    }
}

impl Sent {
    /// A message that an earlier attempt stored.
    pub(crate) fn found(row: MessageRow) -> Self {
        Self::replayed(row)
    }

    fn replayed(row: MessageRow) -> Self {
        Self { row, replayed: true, backlog: None, skipped: Vec::new() }
    }
}

impl BacklogWarning {
    /// Reads `handle=count`, cut at the first `=`.
    fn read(line: &str) -> Option<Self> {
        let (handle, count) = line.split_once('=')?;
        let (handle, count) = (handle.trim(), count.trim());
        if handle.is_empty() || !count.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        Some(Self { handle: handle.to_owned(), waiting: count.parse().ok()? })
    }
}

impl fmt::Debug for Draft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Draft")
            .field("to", &self.to)
            .field("client_msg_id", &self.client_msg_id)
            .field("size", &self.size())
            .finish_non_exhaustive()
    }
}

#[derive(Serialize)]
struct Body<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    conversation_id: Option<&'a str>,
    client_msg_id: &'a str,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    content: &'a DraftContent,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<&'a RawValue>,
}

impl<'a> Body<'a> {
    fn of(draft: &'a Draft) -> Self {
        let (to, conversation_id) = draft.to.members();
        Self {
            to,
            conversation_id,
            client_msg_id: &draft.client_msg_id,
            kind: draft.kind,
            content: &draft.content,
            metadata: draft.metadata.as_deref(),
        }
    }
}

fn object(json: &str, what: &str) -> ApiResult<Box<RawValue>> {
    let raw = RawValue::from_string(json.to_owned()).ok().filter(|raw| raw.get().starts_with('{'));
    raw.ok_or_else(|| ApiError::invalid("send", format!("{what} must be a JSON object")))
}

/// The length of JSON text without the blanks between its tokens, which the server drops.
pub(crate) fn compact_len(json: &str) -> usize {
    let (mut len, mut in_string, mut escaped) = (0, false, false);
    for byte in json.bytes() {
        if in_string {
            len += 1;
            (in_string, escaped) = (escaped || byte != b'"', !escaped && byte == b'\\');
        } else if !byte.is_ascii_whitespace() {
            len += 1;
            in_string = byte == b'"';
        }
    }
    len
}

/// What a group's id begins with.
pub(crate) const GROUP: &str = "grp_";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c27_group_vs_handle_routing() {
        for (text, to) in [
            ("@A-b", Recipient::Agent("a-b".to_owned())),
            ("tally-ho", Recipient::Agent("tally-ho".to_owned())),
            ("grp_xY1", Recipient::Group("grp_xY1".to_owned())),
        ] {
            assert_eq!(Recipient::parse(text).expect(text), to);
        }
        for text in ["conv_x", "dir_x", "msg_1", "", "ab", "a--b", "1ab", "a.b", "@", &"a".repeat(31)] {
            let error = Recipient::parse(text).expect_err(text);
            assert_eq!((error.kind(), error.operation()), (ErrorKind::Invalid, "send"));
        }
    }

    #[test]
    fn c30_backlog_header() {
        let read = |line| BacklogWarning::read(line).map(|it| (it.handle, it.waiting));
        assert_eq!(read("tally-ho=5123"), Some(("tally-ho".to_owned(), 5123)));
        assert_eq!(read(" a = 1 "), Some(("a".to_owned(), 1)));
        for line in ["", "tally-ho", "=5", "a=", "a=x", "a=1=2", "a=-1", "a=1.5"] {
            assert_eq!(read(line), None, "{line:?}");
        }
    }

    #[test]
    fn the_size_is_what_the_server_counts() {
        let to = Recipient::Agent("bob".to_owned());
        assert_eq!(Draft::text(to.clone(), "x\"é\n").size(), r#"{"text":"x\"é\n"}"#.len());
        let spaced = Draft::data(to, r#" { "a b" : [ 1 , "\" c" ] } "#).expect("an object");
        assert_eq!(spaced.size(), r#"{"data":{"a b":[1,"\" c"]}}"#.len());
        let with = spaced.with_metadata(r#"{ "k": null }"#).expect("an object");
        assert_eq!(with.size(), r#"{"data":{"a b":[1,"\" c"]}}"#.len() + r#"{"k":null}"#.len());
        assert!(!format!("{with:?}").contains("a b"), "content does not print");
    }
}
