//! Into the official crate's types and back.
#![cfg(feature = "official-types")]

mod support;

use a2a_envelope::{Answer, EventView, MessageView, RawCard, TaskView};
use support::{fixture, received};

#[test]
fn messages_of_every_version_become_the_official_one() {
    for name in
        ["v0_2_message_send.json", "v0_3_message_stream.json", "v1_send_message.json", "facade_request.json"]
    {
        let got = received(name);
        let request = got.request().unwrap();
        let view = request.message.as_ref().unwrap();
        let message = a2a::Message::try_from(view).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(Some(message.message_id.as_str()), view.message_id.as_deref(), "{name}");
        assert_eq!(message.role, a2a::Role::User, "{name}");
        assert_eq!(message.parts.len(), view.parts.len(), "{name}");
    }
}

#[test]
fn events_of_every_version_become_the_official_one() {
    for (name, state) in [
        ("v0_3_result.json", a2a::TaskState::Completed),
        ("v1_stream_reply.json", a2a::TaskState::Working),
        ("facade_event.json", a2a::TaskState::Completed),
    ] {
        let event = EventView::read(fixture(name).as_bytes()).unwrap();
        match a2a::StreamResponse::try_from(&event).unwrap_or_else(|error| panic!("{name}: {error}")) {
            a2a::StreamResponse::StatusUpdate(update) => assert_eq!(update.status.state, state, "{name}"),
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[test]
fn a_task_of_0_3_becomes_the_official_one() {
    let text = br#"{"kind":"task","id":"t","contextId":"c","status":{"state":"input-required"},
        "artifacts":[{"artifactId":"a","parts":[{"kind":"file","file":{"uri":"https://x","mimeType":"image/png"}}]}]}"#;
    let task = a2a::Task::try_from(&TaskView::read(text).unwrap()).unwrap();
    assert_eq!((task.id.as_str(), task.status.state), ("t", a2a::TaskState::InputRequired));
    let part = &task.artifacts.unwrap()[0].parts[0];
    assert_eq!(part.media_type.as_deref(), Some("image/png"));
}

#[test]
fn what_the_official_types_do_not_take_is_refused_without_a_word_of_it() {
    let message = MessageView::read(br#"{"role":"secret","parts":"secret"}"#).unwrap();
    let error = a2a::Message::try_from(&message).unwrap_err().to_string();
    assert!(error.contains("official types") && !error.contains("secret"), "{error}");
}

#[test]
fn a_card_of_1_0_becomes_the_official_one() {
    let card = a2a::AgentCard::try_from(&RawCard::new(fixture("card_built.json")).unwrap()).unwrap();
    assert_eq!((card.name.as_str(), card.skills.len()), ("coder", 2));
}

#[test]
fn an_official_event_answers_those_who_speak_0_3() {
    let event = EventView::read(fixture("v1_stream_reply.json").as_bytes()).unwrap();
    let event = a2a::StreamResponse::try_from(&event).unwrap();
    let answer = Answer::try_from(&event).unwrap();
    let body = received("v0_3_message_stream.json").answering().write(&answer).unwrap().unwrap().body;
    let back = EventView::read(&body).unwrap();
    assert_eq!(back.task_id(), Some("t-9"));
    assert!(String::from_utf8(body.to_vec()).unwrap().contains(r#""state":"working""#));
}
