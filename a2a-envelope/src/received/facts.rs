//! What one look at a message tells.

use super::MessageKind;
use crate::answer_address::{self, AnswerAddress};
use crate::correlation::{self, Correlation};
use crate::dialect::Dialect;
use crate::headers::Headers;
use crate::json::Node;
use crate::names;
use crate::vocabulary::{A2aVersion, Operation, Role};

/// What is told about a message from one look at it.
pub(super) struct Facts {
    pub(super) kind: MessageKind,
    pub(super) method: Option<String>,
    pub(super) version: Option<A2aVersion>,
    pub(super) correlation: Option<Correlation>,
    pub(super) answer: Option<AnswerAddress>,
}

impl Facts {
    /// Everything, if the headers leave nothing open.
    pub(super) fn by_headers(headers: &Headers) -> Option<Self> {
        let kind = kind_by_headers(headers)?;
        let correlation = correlation::by_header(headers)?;
        let method = headers.get(names::METHOD).map(str::to_owned);
        let answer =
            if kind == MessageKind::Request { Some(answer_address::by_header(headers)?) } else { None };
        let version = match headers.get(names::A2A_VERSION) {
            Some(text) => A2aVersion::parse(text),
            None => method.as_deref().and_then(version_of_method),
        };
        Some(Self { kind, method, version, correlation: Some(correlation), answer })
    }

    /// Everything, from headers and body.
    pub(super) fn of(dialect: Dialect, headers: &Headers, root: Option<Node<'_>>) -> Self {
        let kind = kind_of(dialect, headers, root);
        let inside =
            root.filter(|root| root.get("jsonrpc").is_some()).and_then(|root| root.text_of("method"));
        let mut method =
            headers.get(names::METHOD).map(str::to_owned).or_else(|| inside.as_ref().map(|m| m.to_string()));
        if dialect == Dialect::Facade && kind == MessageKind::Request && method.is_none() {
            method = Some(Operation::SendMessage.as_str().to_owned());
        }
        let spelled = inside.as_deref().or(method.as_deref());
        let version = match headers.get(names::A2A_VERSION) {
            Some(text) => A2aVersion::parse(text),
            None => version_of(dialect, spelled, root),
        };
        let correlation = correlation::by_header(headers).or_else(|| correlation::by_body(root?));
        let answer = match kind {
            MessageKind::Reply => None,
            _ => answer_address::by_header(headers).or_else(|| answer_address::by_body(root?)),
        };
        Self { kind, method, version, correlation, answer }
    }
}

fn kind_by_headers(headers: &Headers) -> Option<MessageKind> {
    if headers.contains(names::METHOD) {
        Some(MessageKind::Request)
    } else if headers.contains(names::TYPE) {
        Some(MessageKind::Reply)
    } else {
        None
    }
}

fn kind_of(dialect: Dialect, headers: &Headers, root: Option<Node<'_>>) -> MessageKind {
    if let Some(kind) = kind_by_headers(headers) {
        return kind;
    }
    let told = root.map_or(MessageKind::Unknown, kind_by_body);
    match (dialect, told) {
        (Dialect::Facade, MessageKind::Unknown) if headers.contains(names::REPLY_TO) => MessageKind::Request,
        (Dialect::Facade, MessageKind::Unknown) => MessageKind::Reply,
        (_, told) => told,
    }
}

fn kind_by_body(root: Node<'_>) -> MessageKind {
    match root.text_of("type").as_deref() {
        Some("mq9_call") => return MessageKind::Request,
        Some("mq9_call_reply") => return MessageKind::Reply,
        _ => {}
    }
    if root.get("jsonrpc").is_some() {
        return if root.get("method").is_some() {
            MessageKind::Request
        } else if root.get("result").is_some() || root.get("error").is_some() {
            MessageKind::Reply
        } else {
            MessageKind::Unknown
        };
    }
    let message = root.get("message").filter(|m| m.is_object()).unwrap_or(root);
    match message.text_of("role").and_then(|role| Role::parse(&role)) {
        Some(Role::User) => MessageKind::Request,
        Some(Role::Agent) => MessageKind::Reply,
        None if root.get("status").is_some() || root.get("artifact").is_some() => MessageKind::Reply,
        None => MessageKind::Unknown,
    }
}

fn version_of(dialect: Dialect, method: Option<&str>, root: Option<Node<'_>>) -> Option<A2aVersion> {
    match dialect {
        Dialect::Hermes | Dialect::Opaque => None,
        Dialect::Facade => Some(A2aVersion::V1),
        Dialect::JsonRpcLegacy => {
            Some(method.and_then(version_of_method).filter(|v| v.is_legacy()).unwrap_or(A2aVersion::V0_3))
        }
        Dialect::JsonRpc => Some(A2aVersion::V1),
        Dialect::Envelope => method.and_then(version_of_method),
        Dialect::BareA2a => root.map(version_of_bare),
    }
}

/// 0.x writes methods with a slash; which 0.x is told by those that only 0.1 has.
fn version_of_method(method: &str) -> Option<A2aVersion> {
    if !method.contains('/') {
        return Operation::parse(method).map(|_| A2aVersion::V1);
    }
    let only_0_1 = matches!(method, "tasks/send" | "tasks/sendSubscribe")
        || method.starts_with("tasks/pushNotification/");
    Some(if only_0_1 { A2aVersion::V0_1 } else { A2aVersion::V0_3 })
}

/// A bare message shows its version by its role and its parts.
fn version_of_bare(root: Node<'_>) -> A2aVersion {
    let message = root.get("message").filter(|m| m.is_object()).unwrap_or(root);
    if message.text_of("role").is_some_and(|role| role.starts_with("ROLE_")) {
        return A2aVersion::V1;
    }
    let first = message.get("parts").and_then(|parts| parts.items().next().map(|item| item.value));
    let typed = first.is_some_and(|part| part.get("type").is_some() && part.get("kind").is_none());
    if typed { A2aVersion::V0_1 } else { A2aVersion::V0_3 }
}
