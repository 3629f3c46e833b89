//! Events said anew in another version of A2A, for answers to those who speak that version.
//!
//! A tree is walked once, known members are renamed or respelled, and all others are copied as they stand:
//! unknown fields, key order and number forms survive here too. What is in the right version already is
//! handed through untouched.

mod parts;
mod write;

use crate::json::{Kind, Node};
use crate::task::TaskState;
use crate::view::{EventView, Shape, WRAPPINGS, shape_of};
use crate::vocabulary::{A2aVersion, Operation};
use write::{Object, array};

/// How an answer is wrapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wrapping {
    /// As the version has it for this operation: 1.0 names the member, 0.x says the `kind`.
    Of(Operation),
    /// The object alone.
    Bare,
}

/// A result as JSON text in a version; what is no event is handed through as it is.
pub(crate) fn result(text: &str, version: A2aVersion, wrapping: Wrapping, last: bool) -> String {
    let Some(root) = crate::view::object(text.as_bytes()) else { return text.to_owned() };
    let Some((shape, inner)) = shape_of(root) else { return text.to_owned() };
    let wraps = match wrapping {
        Wrapping::Of(operation) => operation.sends_message() || operation.streams(),
        Wrapping::Bare => false,
    };
    let wrapped = inner.start() != root.start();
    let right = is_legacy(shape, inner) == Some(version.is_legacy());
    if right && wrapped == (wraps && !version.is_legacy()) {
        return root.raw().to_owned();
    }
    let event = if right { inner.raw().to_owned() } else { event(shape, inner, version, last) };
    if !wraps || version.is_legacy() {
        return event;
    }
    let name = WRAPPINGS.iter().find(|(_, known)| *known == shape).map_or("task", |(name, _)| *name);
    format!("{{\"{name}\":{event}}}")
}

/// Whether an event is written as 0.x writes it; `None` where the two versions write it alike.
fn is_legacy(shape: Shape, node: Node<'_>) -> Option<bool> {
    if node.get("kind").is_some() || node.get("final").is_some() || node.get("sessionId").is_some() {
        return Some(true);
    }
    let state = node.at(&["status", "state"]).and_then(Node::as_str);
    if let Some(state) = state {
        return Some(!state.starts_with("TASK_STATE_"));
    }
    match shape {
        Shape::Message => Some(!node.text_of("role").is_some_and(|role| role.starts_with("ROLE_"))),
        Shape::Artifact => Some(node.get("taskId").is_none()),
        _ => Some(false),
    }
}

fn event(shape: Shape, node: Node<'_>, version: A2aVersion, last: bool) -> String {
    match shape {
        Shape::Message => parts::message(node, version),
        Shape::Task => task(node, version),
        Shape::Status | Shape::Artifact => update(shape, node, version, last),
    }
}

fn task(node: Node<'_>, version: A2aVersion) -> String {
    let mut out = Object::new();
    parts::mark(&mut out, "task", version);
    for (name, item) in parts::members(node) {
        match name.as_ref() {
            "kind" => {}
            "sessionId" if !version.is_legacy() => out.put("contextId", item.value.raw()),
            "status" => out.put("status", &status(item.value, version)),
            "artifacts" => out.put("artifacts", &array(item.value, |node| parts::artifact(node, version))),
            "history" => out.put("history", &array(item.value, |node| parts::message(node, version))),
            _ => out.copy(&item),
        }
    }
    out.close()
}

fn update(shape: Shape, node: Node<'_>, version: A2aVersion, last: bool) -> String {
    let mut out = Object::new();
    let kind = if shape == Shape::Status { "status-update" } else { "artifact-update" };
    parts::mark(&mut out, kind, version);
    let named = node.get("taskId").is_some();
    for (name, item) in parts::members(node) {
        match name.as_ref() {
            "kind" | "final" => {}
            "id" if !named => out.put("taskId", item.value.raw()),
            "sessionId" if !version.is_legacy() => out.put("contextId", item.value.raw()),
            "status" => out.put("status", &status(item.value, version)),
            "artifact" => {
                // 0.1 has these on the artifact, all others on the event.
                for flag in ["append", "lastChunk"] {
                    if let Some(value) = item.value.get(flag).filter(|_| node.get(flag).is_none()) {
                        out.put(flag, value.raw());
                    }
                }
                out.put("artifact", &parts::artifact(item.value, version));
            }
            _ => out.copy(&item),
        }
    }
    if version.is_legacy() && shape == Shape::Status {
        let state = EventView::of(node).and_then(|event| event.state());
        let ends = last || state.is_some_and(|state| state.is_terminal() || state.is_interrupted());
        out.put("final", if ends { "true" } else { "false" });
    }
    out.close()
}

fn status(node: Node<'_>, version: A2aVersion) -> String {
    if !node.is_object() {
        return node.raw().to_owned();
    }
    let mut out = Object::new();
    for (name, item) in parts::members(node) {
        match (name.as_ref(), item.value.as_str()) {
            ("state", Some(text)) => match TaskState::known(&text) {
                Some(state) => out.put("state", &crate::json::quote(state.name_in(version))),
                None => out.copy(&item),
            },
            ("message", _) if item.value.kind() == Kind::Object => {
                out.put("message", &parts::message(item.value, version));
            }
            _ => out.copy(&item),
        }
    }
    out.close()
}

#[cfg(test)]
mod tests {
    use super::*;
    use A2aVersion::{V0_1, V0_3, V1};

    const STREAM: Wrapping = Wrapping::Of(Operation::SendStreamingMessage);

    const NEW: &str = r#"{"statusUpdate":{"taskId":"t","contextId":"c","status":{"state":"TASK_STATE_INPUT_REQUIRED","message":{"messageId":"m","role":"ROLE_AGENT","parts":[{"text":"which?"}],"x":1.0}},"y":1e400}}"#;
    const OLD: &str = r#"{"kind":"status-update","taskId":"t","contextId":"c","status":{"state":"input-required","message":{"kind":"message","messageId":"m","role":"agent","parts":[{"kind":"text","text":"which?"}],"x":1.0}},"y":1e400,"final":true}"#;

    #[test]
    fn an_event_is_said_in_either_version_and_keeps_what_nobody_knows() {
        assert_eq!(result(NEW, V0_3, STREAM, false), OLD);
        assert_eq!(result(OLD, V1, STREAM, false), NEW);
    }

    #[test]
    fn what_is_in_the_right_version_is_handed_through_byte_for_byte() {
        let spaced = NEW.replace(":{", " : {");
        assert_eq!(result(&spaced, V1, STREAM, true), spaced);
        let spaced = OLD.replace(":{", " : {");
        assert_eq!(result(&spaced, V0_3, STREAM, true), spaced);
        for other in ["null", "not json", r#"{"tasks":[],"pageSize":1.0}"#] {
            assert_eq!(result(other, V0_3, STREAM, true), other);
        }
    }

    #[test]
    fn wrapping_follows_the_operation_and_the_version() {
        let task = r#"{"id":"t","status":{"state":"TASK_STATE_WORKING"}}"#;
        let wrapped = format!(r#"{{"task":{task}}}"#);
        let get = Wrapping::Of(Operation::GetTask);
        let send = Wrapping::Of(Operation::SendMessage);
        for text in [task, &wrapped] {
            assert_eq!(result(text, V1, send, false), wrapped);
            assert_eq!(result(text, V1, get, false), task);
            assert_eq!(result(text, V1, Wrapping::Bare, false), task);
        }
        let old = r#"{"kind":"task","id":"t","status":{"state":"working"}}"#;
        assert_eq!(result(&wrapped, V0_3, send, false), old);
        assert_eq!(result(old, V1, send, false), wrapped);
    }

    #[test]
    fn every_part_survives_the_way_there_and_back() {
        let parts = r#"[{"text":"a","metadata":{"k":1.50}},{"raw":"aGk=","mediaType":"m","filename":"f"},{"url":"u"},{"data":{"n":1e400}},{"hologram":[1.0]}]"#;
        let new = format!(
            r#"{{"task":{{"id":"t","status":{{"state":"TASK_STATE_COMPLETED"}},"artifacts":[{{"artifactId":"a","parts":{parts}}}]}}}}"#
        );
        let old = result(&new, V0_3, STREAM, false);
        assert!(
            old.contains(r#"{"kind":"file","file":{"bytes":"aGk=","mimeType":"m","name":"f"}}"#),
            "{old}"
        );
        assert!(old.contains(r#"{"kind":"text","text":"a","metadata":{"k":1.50}}"#), "{old}");
        assert_eq!(result(&old, V1, STREAM, false), new);
    }

    #[test]
    fn data_that_is_no_object_is_put_into_one_for_0_x() {
        let new = r#"{"message":{"role":"ROLE_AGENT","parts":[{"data":[1.0]}]}}"#;
        let old = result(new, V0_3, STREAM, false);
        assert!(old.contains(r#"{"kind":"data","data":{"value":[1.0]}}"#), "{old}");
    }

    #[test]
    fn objects_of_0_1_are_told_by_type_and_index() {
        let new = r#"{"message":{"role":"ROLE_AGENT","parts":[{"text":"a"}]}}"#;
        assert_eq!(
            result(new, V0_1, STREAM, false),
            r#"{"role":"agent","parts":[{"type":"text","text":"a"}]}"#
        );
        let old = r#"{"id":"t","artifact":{"index":2,"append":true,"lastChunk":false,"parts":[{"type":"text","text":"a"}]}}"#;
        assert_eq!(
            result(old, V1, STREAM, false),
            r#"{"artifactUpdate":{"taskId":"t","append":true,"lastChunk":false,"artifact":{"artifactId":"2","parts":[{"text":"a"}]}}}"#
        );
        let task = r#"{"id":"t","sessionId":"s","status":{"state":"completed"}}"#;
        assert_eq!(
            result(task, V1, Wrapping::Bare, false),
            r#"{"id":"t","contextId":"s","status":{"state":"TASK_STATE_COMPLETED"}}"#
        );
    }

    #[test]
    fn the_last_event_of_a_0_x_stream_says_so() {
        let working = r#"{"statusUpdate":{"taskId":"t","status":{"state":"TASK_STATE_WORKING"}}}"#;
        assert!(result(working, V0_3, STREAM, false).ends_with(r#""final":false}"#));
        assert!(result(working, V0_3, STREAM, true).ends_with(r#""final":true}"#));
    }

    #[test]
    fn a_state_or_role_nobody_knows_keeps_its_spelling() {
        let new = r#"{"task":{"id":"t","status":{"state":"TASK_STATE_PAUSED","message":{"role":"ROLE_TOOL","parts":7}}}}"#;
        let old = result(new, V0_3, STREAM, false);
        assert!(
            old.contains(r#""state":"TASK_STATE_PAUSED""#) && old.contains(r#""role":"ROLE_TOOL","parts":7"#),
            "{old}"
        );
    }
}
