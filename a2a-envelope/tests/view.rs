//! One request and one answer, said in every dialect: each reads the same.

mod support;

use a2a_envelope::{EventView, MessageView, PartContent, RequestView, Role, RpcView, TaskState, TaskView};
use support::fixture;

fn request(name: &str) -> RequestView<'static> {
    RequestView::read(fixture(name).as_bytes()).unwrap_or_else(|| panic!("{name} is no request"))
}

#[test]
fn the_text_of_a_request_is_found_in_every_dialect() {
    for (name, text) in [
        ("v0_1_tasks_send.json", "hello"),
        ("v0_2_message_send.json", "hi"),
        ("v1_send_message.json", "status of order 5?"),
        ("facade_request.json", "translate: hello"),
        ("bare_message.json", "hello"),
        ("seed_call.json", "Write a Rust HTTP server"),
        ("hermes_call.json", "Write a Rust HTTP server"),
    ] {
        let request = request(name);
        assert_eq!(request.text(), text, "{name}");
        if let Some(message) = request.message {
            assert_eq!(message.role(), Some(Role::User), "{name}");
        }
    }
}

#[test]
fn waiting_is_said_in_opposite_ways() {
    let waits = |name| request(name).waits;
    assert_eq!(waits("v0_2_message_send.json"), Some(true));
    assert_eq!(waits("v1_send_message.json"), Some(false));
    assert_eq!(waits("v0_3_message_stream.json"), None);
}

#[test]
fn ids_are_found_where_each_version_has_them() {
    let old = request("v0_1_tasks_send.json");
    assert_eq!((old.task_id.as_deref(), old.context_id.as_deref()), (Some("task-1"), Some("s-1")));
    assert_eq!((old.history_length, old.message.unwrap().message_id), (Some(2), None));
    let get = RequestView::read(
        br#"{"jsonrpc":"2.0","id":1,"method":"GetTask","params":{"id":"t","historyLength":3}}"#,
    );
    let get = get.unwrap();
    assert_eq!((get.task_id.as_deref(), get.history_length), (Some("t"), Some(3)));
    let follow_up =
        br#"{"params":{"message":{"taskId":"t","contextId":"c","role":"user","parts":[]}},"jsonrpc":"2.0"}"#;
    let follow_up = RequestView::read(follow_up).unwrap();
    assert_eq!((follow_up.task_id.as_deref(), follow_up.context_id.as_deref()), (Some("t"), Some("c")));
}

#[test]
fn a_file_keeps_its_kind_across_versions() {
    let message = request("v0_3_message_stream.json").message.unwrap();
    assert_eq!(message.parts[0].content, PartContent::Url("https://example.org/a.png".into()));
    assert_eq!(message.parts[0].media_type.as_deref(), Some("image/png"));
}

#[test]
fn a_status_reads_the_same_in_every_dialect() {
    for (name, state, task) in [
        ("v0_3_result.json", TaskState::Completed, "t-3"),
        ("v1_stream_reply.json", TaskState::Working, "t-9"),
        ("facade_event.json", TaskState::Completed, "t-7"),
    ] {
        let event = EventView::read(fixture(name).as_bytes()).unwrap();
        assert_eq!((event.state(), event.task_id()), (Some(state), Some(task)), "{name}");
        assert_eq!(event.class_name(), "TaskStatusUpdateEvent");
    }
}

#[test]
fn a_state_a_role_and_a_part_nobody_knows_are_kept_as_they_are() {
    let text = br#"{"id":"t","status":{"state":"TASK_STATE_PAUSED","message":{"role":"ROLE_TOOL","parts":[{"hologram":1.0}]}}}"#;
    let task = TaskView::read(text).unwrap();
    assert_eq!(task.status.state(), None);
    assert_eq!(task.status.state_text.as_deref(), Some("TASK_STATE_PAUSED"));
    let message = task.status.message.unwrap();
    assert_eq!((message.role(), message.role_text.as_deref()), (None, Some("ROLE_TOOL")));
    assert_eq!(
        (&message.parts[0].content, message.parts[0].raw),
        (&PartContent::Unknown, r#"{"hologram":1.0}"#)
    );
}

#[test]
fn a_task_is_read_whole() {
    let text = br#"{"id":"t","contextId":"c","generation":"12","status":{"state":"TASK_STATE_COMPLETED",
        "timestamp":"2026-11-22T00:00:00Z","message":{"role":"ROLE_AGENT","parts":[{"text":"done"}]}},
        "artifacts":[{"artifactId":"a","name":"n","description":"d","parts":[{"text":"one"},{"data":[1]},{"text":"two"}]},7],
        "history":[{"messageId":"m","role":"ROLE_USER","parts":[],"extensions":["e"],"referenceTaskIds":["r"]}],
        "metadata":{"k":1e400}}"#;
    let task = TaskView::read(text).unwrap();
    assert_eq!(
        (task.id.as_deref(), task.context_id.as_deref(), task.generation),
        (Some("t"), Some("c"), Some(12))
    );
    assert_eq!(task.status.timestamp.as_deref(), Some("2026-11-22T00:00:00Z"));
    assert_eq!(
        (task.artifacts.len(), task.text().as_str(), task.metadata),
        (1, "one\ntwo", Some(r#"{"k":1e400}"#))
    );
    let MessageView { message_id, extensions, reference_task_ids, .. } = &task.history[0];
    assert_eq!((message_id.as_deref(), extensions.len(), reference_task_ids.len()), (Some("m"), 1, 1));
}

#[test]
fn fields_of_another_type_read_as_absent_and_spoil_nothing() {
    let text = br#"{"jsonrpc":"2.0","params":{"message":{"messageId":7,"role":[],"parts":[1,{"text":2},{"text":"ok"}],
        "extensions":"e"},"configuration":[],"id":{},"historyLength":-1,"tenant":null}}"#;
    let request = RequestView::read(text).unwrap();
    assert_eq!(
        (request.text().as_str(), request.task_id, request.history_length, request.tenant),
        ("ok", None, None, None)
    );
    let message = request.message.unwrap();
    assert_eq!((message.message_id, message.role_text, message.parts.len()), (None, None, 2));
    assert!(message.extensions.is_empty() && request.accepted_output_modes.is_empty());
}

#[test]
fn debug_prints_no_word_of_a_message() {
    let task =
        br#"{"id":"secret","status":{"state":"x","message":{"role":"user","parts":[{"text":"secret"}]}},
        "artifacts":[{"name":"secret","parts":[{"data":"secret"}]}]}"#;
    let part = br#"{"jsonrpc":"2.0","id":"secret","params":{"message":{"parts":[{"url":"secret"}]}},"error":{"message":"secret"}}"#;
    let printed = format!(
        "{:?} {:?} {:?} {:?} {:?}",
        TaskView::read(task).unwrap(),
        TaskView::read(task).unwrap().status,
        EventView::read(task).unwrap(),
        RequestView::read(part).unwrap().message.unwrap().parts,
        RpcView::read(part).unwrap(),
    );
    assert!(!printed.contains("secret"), "{printed}");
}
