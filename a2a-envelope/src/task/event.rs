//! What a stream says, in the spellings of every A2A version.

use super::artifact::Artifact;
use super::state::TaskState;
use super::text::TaskText;
use crate::error::{Error, MemberRule, Result};
use crate::json::{self, Kind, Node, quote};
use crate::json_text::JsonText;
use crate::limits::Limits;

/// One item of a stream, or the answer to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The whole task as it is now.
    Task(TaskText),
    /// The task's state, and what is said about it.
    #[non_exhaustive]
    Status {
        /// The state.
        state: TaskState,
        /// An A2A message: the question of a task that waits, the reason of one that failed.
        message: Option<JsonText>,
    },
    /// An artifact, or more parts of one.
    #[non_exhaustive]
    Artifact {
        /// The artifact, or what is added to it.
        artifact: Artifact,
        /// Whether its parts are added to the artifact of this id, instead of replacing it.
        append: bool,
        /// Whether nothing more is added to it.
        last_chunk: bool,
    },
    /// An A2A message, which is the whole answer: there is no task.
    Message(JsonText),
    /// A JSON-RPC error.
    #[non_exhaustive]
    Failure {
        /// Its code.
        code: i64,
        /// What it says.
        message: String,
        /// The whole error object.
        error: JsonText,
    },
    /// Something this version does not know.
    Other(JsonText),
}

impl Event {
    /// A state and nothing said about it.
    #[must_use]
    pub fn status(state: TaskState) -> Self {
        Self::Status { state, message: None }
    }

    /// A state with an A2A message: a question for the caller, or a reason.
    #[must_use]
    pub fn status_with(state: TaskState, message: JsonText) -> Self {
        Self::Status { state, message: Some(message) }
    }

    /// A JSON-RPC error that ends the request and fails its task. `reason` is A2A's name of it.
    #[must_use]
    pub fn failure(code: i32, message: &str, reason: &str) -> Self {
        let error = crate::stream::error_json(code, message, reason);
        Self::Failure { code: code.into(), message: message.to_owned(), error }
    }

    /// A whole artifact.
    #[must_use]
    pub fn artifact(artifact: Artifact) -> Self {
        Self::Artifact { artifact, append: false, last_chunk: true }
    }

    /// More parts of an artifact.
    #[must_use]
    pub fn append(artifact: Artifact, last_chunk: bool) -> Self {
        Self::Artifact { artifact, append: true, last_chunk }
    }

    /// Reads an event from the body of a reply: a JSON-RPC response around it or the bare event, in the
    /// words of A2A 1.0 or 0.x.
    ///
    /// # Errors
    ///
    /// [`Error::NotJson`], [`Error::NotUtf8`], [`Error::Limit`], and [`Error::Member`] for an event without
    /// what makes it one.
    pub fn parse(body: &[u8], limits: &Limits) -> Result<Self> {
        let root = json::parse_body(body, limits)?;
        if !root.is_object() {
            return Err(Error::member("$", MemberRule::NotAnObject));
        }
        if let Some(error) = root.get("error").filter(|_| root.get("jsonrpc").is_some()) {
            return Ok(failure(error));
        }
        match root.get("result").filter(|_| root.get("jsonrpc").is_some()) {
            Some(result) => Self::read(result),
            None => Self::read(root),
        }
    }

    /// The event as an A2A 1.0 `StreamResponse` of the given task.
    #[must_use]
    pub fn to_stream_response(&self, task_id: &str, context_id: &str) -> JsonText {
        let ids = || format!("\"taskId\":{},\"contextId\":{}", quote(task_id), quote(context_id));
        JsonText::trusted(match self {
            Self::Task(task) => format!("{{\"task\":{}}}", task.json),
            Self::Message(message) => format!("{{\"message\":{message}}}"),
            Self::Status { state, message } => {
                format!(
                    "{{\"statusUpdate\":{{{},\"status\":{}}}}}",
                    ids(),
                    status_json(state, message.as_ref())
                )
            }
            Self::Artifact { artifact, append, last_chunk } => {
                let append = if *append { ",\"append\":true" } else { "" };
                let last = if *last_chunk { ",\"lastChunk\":true" } else { "" };
                format!(
                    "{{\"artifactUpdate\":{{{},\"artifact\":{}{append}{last}}}}}",
                    ids(),
                    artifact.to_json()
                )
            }
            Self::Failure { error, .. } => return error.clone(),
            Self::Other(text) => return text.clone(),
        })
    }

    /// The event in a body as its author spelled it, where that can stand as the result of a reply.
    pub(crate) fn spelled(body: &[u8]) -> Option<JsonText> {
        let root = json::parse_body(body, &Limits::default()).ok()?;
        let result = root.get("result").filter(|_| root.get("jsonrpc").is_some()).unwrap_or(root);
        let names = ["statusUpdate", "artifactUpdate", "task", "message", "kind"];
        names.iter().any(|name| result.get(name).is_some()).then(|| JsonText::of(result))
    }

    /// Whether no event of the same request follows this one.
    #[must_use]
    pub fn ends_request(&self) -> bool {
        match self {
            Self::Status { state, .. } => state.ends_request(),
            Self::Task(task) => task.state.ends_request(),
            Self::Message(_) | Self::Failure { .. } => true,
            Self::Artifact { .. } | Self::Other(_) => false,
        }
    }

    /// Bytes it adds to a task, roughly.
    pub(crate) fn size(&self) -> usize {
        match self {
            Self::Task(task) => task.json.as_str().len(),
            Self::Status { message, .. } => message.as_ref().map_or(0, |m| m.as_str().len()),
            Self::Artifact { artifact, .. } => artifact.size(),
            Self::Message(text) | Self::Other(text) => text.as_str().len(),
            Self::Failure { error, .. } => error.as_str().len(),
        }
    }

    fn read(node: Node<'_>) -> Result<Self> {
        let known = |name| node.get(name).filter(|found: &Node<'_>| found.is_object());
        if let Some(status) = known("statusUpdate") {
            return read_status(status);
        }
        if let Some(artifact) = known("artifactUpdate") {
            return read_artifact(artifact);
        }
        if let Some(task) = known("task") {
            return TaskText::read(task).map(Self::Task);
        }
        if let Some(message) = known("message") {
            return Ok(Self::Message(JsonText::of(message)));
        }
        match node.text_of("kind").as_deref() {
            Some("status-update") => return read_status(node),
            Some("artifact-update") => return read_artifact(node),
            Some("task") => return TaskText::read(node).map(Self::Task),
            Some("message") => return Ok(Self::Message(JsonText::of(node))),
            _ => {}
        }
        let has = |name| node.get(name).is_some();
        if has("artifact") {
            read_artifact(node)
        } else if has("status") && (has("taskId") || has("final")) {
            read_status(node)
        } else if has("status") && has("id") {
            TaskText::read(node).map(Self::Task)
        } else if has("role") && has("parts") {
            Ok(Self::Message(JsonText::of(node)))
        } else {
            Ok(Self::Other(JsonText::of(node)))
        }
    }
}

pub(crate) fn status_json(state: &TaskState, message: Option<&JsonText>) -> String {
    let state = quote(state.as_str());
    match message {
        Some(message) => format!("{{\"state\":{state},\"message\":{message}}}"),
        None => format!("{{\"state\":{state}}}"),
    }
}

/// The state of a status object, as text or as protobuf's number.
pub(crate) fn state_of(status: Option<Node<'_>>) -> TaskState {
    let state = status.and_then(|status| status.get("state"));
    match state {
        Some(state) if state.kind() == Kind::Number => TaskState::parse(state.raw()),
        Some(state) => TaskState::parse(&state.as_str().unwrap_or_default()),
        None => TaskState::Unspecified,
    }
}

pub(crate) fn message_of(status: Option<Node<'_>>) -> Option<JsonText> {
    status?.get("message").filter(|message| message.is_object()).map(JsonText::of)
}

fn read_status(node: Node<'_>) -> Result<Event> {
    let status = node.get("status");
    if !status.is_some_and(Node::is_object) {
        return Err(Error::member("status", MemberRule::NotAnObject));
    }
    Ok(Event::Status { state: state_of(status), message: message_of(status) })
}

fn read_artifact(node: Node<'_>) -> Result<Event> {
    let Some(found) = node.get("artifact") else {
        return Err(Error::member("artifact", MemberRule::Missing));
    };
    let artifact = Artifact::read(found, "artifact")?;
    // A2A 0.1 says these inside the artifact.
    let says = |name| [node, found].iter().any(|at| at.get(name).is_some_and(|value| value.raw() == "true"));
    Ok(Event::Artifact { artifact, append: says("append"), last_chunk: says("lastChunk") })
}

fn failure(error: Node<'_>) -> Event {
    Event::Failure {
        code: error.get("code").and_then(|code| code.raw().parse().ok()).unwrap_or(-32603),
        message: error.text_of("message").unwrap_or_default().chars().take(500).collect(),
        error: JsonText::of(error),
    }
}
