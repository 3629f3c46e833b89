//! What must hold for every message whatever.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use a2a_envelope::{
    Answer, AnswerPolicy, Carriage, Dialect, Envelope, Error, ErrorCode, EventView, Headers, Limits,
    MessageKind, RawCard, Received, RegistryEntry, callback_of, names, with_callback,
};

/// Checks one input and says what it reached.
pub(crate) fn check(input: &[u8]) -> BTreeSet<u64> {
    let (flags, body) = input.split_first().map_or((0, input), |(flags, body)| (*flags, body));
    let mut reached = Reached::default();
    let headers = headers(flags);
    match Received::read(headers.clone(), body.to_vec(), &Limits::default()) {
        Ok(got) => {
            reached.note((got.dialect, got.carriage, got.kind, got.version, got.operation()));
            check_received(&got, &headers, body, &mut reached);
        }
        Err(error) => reached.note(outcome(&error)),
    }
    check_texts(body, &mut reached);
    reached.0
}

fn check_received(got: &Received, headers: &Headers, body: &[u8], reached: &mut Reached) {
    if got.carriage == Carriage::Native {
        assert_eq!(got.envelope.body, body, "the bytes are the author's");
        assert_eq!(got.dialect, Dialect::detect(headers, body), "told twice");
    }
    let local = got.envelope.headers.iter().any(|(name, _)| name.starts_with(names::LOCAL_PREFIX));
    assert!(!local, "a peer spoke for the own server");
    if got.kind == MessageKind::Request {
        assert!(!got.envelope.headers.contains(names::SEQ), "a request spoke as a server");
    }
    assert!(got.kind != MessageKind::Reply || got.answer.is_none(), "a reply asks for an answer");
    if let Some(answer) = &got.answer {
        let target = AnswerPolicy::local().check(&answer.address);
        reached.note((answer.source, target.is_ok()));
        assert!(target.is_err() || !answer.address.contains("@"), "credentials in an address");
    }
    let checked = got.check(&Limits::default());
    reached.note(("check", checked.err().map(|error| outcome(&error))));
    reached.note(("text", got.text().is_empty(), got.is_last(), got.event().map(|event| event.class_name())));

    // What a transport wraps comes back as it was.
    if let Ok(wrapped) = got.envelope.to_wrapped(&Limits::default()) {
        let back = Envelope::from_wrapped(&wrapped, &Limits::default()).expect("what is written can be read");
        assert_eq!(back.body, got.envelope.body);
    }
    check_answers(got, body, reached);
}

/// Every answer that is JSON is JSON, and there is none behind the last.
fn check_answers(got: &Received, body: &[u8], reached: &mut Reached) {
    // A handler that echoes shows the conversion of every shape.
    let echo = String::from_utf8_lossy(body).into_owned();
    let event = EventView::read(body).is_some();
    let mut answering = got.answering();
    let answers = [
        Answer::ack(),
        Answer::item(TASK),
        Answer::item(echo),
        Answer::failure(ErrorCode::TaskNotFound, "m\""),
    ];
    for (place, answer) in answers.iter().enumerate() {
        let Ok(Some(written)) = answering.write(answer) else { continue };
        reached.note((place, got.dialect, got.version, written.headers.len()));
        let json = place != 2 || event;
        if json && !written.body.is_empty() {
            assert!(
                is_json(&written.body),
                "an answer is no JSON: {}",
                String::from_utf8_lossy(&written.body)
            );
        }
    }
    assert!(answering.is_over());
    assert_eq!(answering.write(&Answer::end()), Ok(None), "an answer behind the last");
}

fn check_texts(body: &[u8], reached: &mut Reached) {
    if let Ok(edited) = with_callback(body, URI, None, true) {
        assert!(is_json(&edited), "an edit broke the text");
        assert_eq!(callback_of(&edited).as_deref(), Some(URI));
        assert!(matches!(with_callback(&edited, URI, None, false), Err(Error::CallbackExists { .. })));
    }
    if let Ok(card) = RawCard::new(body.to_vec()) {
        assert_eq!(card.as_bytes(), body);
        reached.note(("card", card.is_signed(), card.mailbox().is_some(), card.signatures().len().min(2)));
        if let Ok(text) = card.unsigned_text() {
            assert!(is_json(&text) && RawCard::new(text).is_ok_and(|card| !card.is_signed()));
        }
    }
    if let Ok(entries) = RegistryEntry::read_all(body) {
        reached.note(("registry", entries.len().min(3), entries.first().map(|entry| entry.card.is_some())));
    }
}

fn headers(flags: u8) -> Headers {
    let all = [
        (names::ENVELOPE, "1"),
        (names::METHOD, "SendStreamingMessage"),
        (names::REPLY_TO, "mq9://broker/cb"),
        (names::CORRELATION_ID, "c"),
        (names::A2A_VERSION, "0.3"),
        (names::TYPE, "Task"),
        ("amb-local-sender", "admin"),
        (names::SEQ, "x"),
    ];
    let chosen = all.into_iter().enumerate().filter(|(bit, _)| flags >> bit & 1 == 1);
    Headers::from_pairs(chosen.map(|(_, pair)| pair)).expect("legal headers")
}

/// What an error is, without its numbers.
fn outcome(error: &Error) -> String {
    error.to_string().chars().filter(|c| !c.is_ascii_digit()).take(40).collect()
}

/// What serde_json makes of a text: an independent judge of the grammar.
fn is_json(bytes: &[u8]) -> bool {
    serde_json::from_slice::<&serde_json::value::RawValue>(bytes).is_ok()
}

#[derive(Default)]
struct Reached(BTreeSet<u64>);

impl Reached {
    fn note(&mut self, what: impl Hash) {
        let mut hasher = DefaultHasher::new();
        what.hash(&mut hasher);
        self.0.insert(hasher.finish());
    }
}

const URI: &str = "mq9://broker/fuzz.cb";
const TASK: &str = r#"{"id":"t","contextId":"c","status":{"state":"TASK_STATE_WORKING"},"artifacts":[{"parts":[{"url":"u"}]}]}"#;
