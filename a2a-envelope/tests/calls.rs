//! Calls from both ends: whose a reply is, what a request says, and what a deadline does.

#[path = "support/flow.rs"]
mod flow;
mod support;

use std::time::Duration;

use a2a_envelope::call::{CallDue, CallError, CallLimits, CallState, Calls, Incoming, Received};
use a2a_envelope::stream::{Belongs, Line, ReaderItem, ReaderOptions, Snapshot, StreamEnd};
use a2a_envelope::task::{Event, Task, TaskError, TaskState};
use a2a_envelope::{Envelope, JsonText, Limits, Operation, ReplyType};
use flow::{body, correlation, ms, new_task};
use proptest::prelude::*;
use support::{fixture, json_text, seeded};

fn reply(line: &mut Line, state: TaskState, last: bool) -> Envelope {
    let event = Event::status(state).to_stream_response("t-1", "c-1");
    line.result(ReplyType::StreamResponse, &event, last, Belongs::nowhere()).unwrap().unwrap()
}

fn line(id: &str) -> Line {
    Line::new(correlation(id), JsonText::string(id))
}

fn calls(limits: CallLimits, ids: &[&str], deadline: Option<Duration>) -> Calls {
    let mut calls = Calls::new(limits);
    for id in ids {
        calls.open(&correlation(id), 0, deadline, ReaderOptions::default(), ms(0)).unwrap();
    }
    calls
}

#[test]
fn a_call_is_queued_then_taken_then_answering_then_ended_with_its_last_reply() {
    let mut calls = calls(CallLimits::default(), &["a"], None);
    let mut line = line("a");
    let state = |calls: &Calls| calls.get("a").unwrap().state();
    assert_eq!(state(&calls), CallState::Queued, "sent, and nobody said that it is there");
    calls.receive(line.ack(Belongs::nowhere()).unwrap(), ms(1)).unwrap();
    assert_eq!(state(&calls), CallState::Taken);
    calls.receive(reply(&mut line, TaskState::Working, false), ms(2)).unwrap();
    assert_eq!(state(&calls), CallState::Answering);
    calls.receive(line.ack(Belongs::nowhere()).unwrap(), ms(2)).unwrap();
    assert_eq!(state(&calls), CallState::Answering, "a late acknowledgement is no step back");
    let last = calls.receive(reply(&mut line, TaskState::Completed, true), ms(3)).unwrap();
    let Received::Call { id, items, .. } = last else { panic!("{last:?}") };
    assert_eq!((id.as_str(), items.last()), ("a", Some(&ReaderItem::End(StreamEnd::Last))));
    let call = calls.get("a").unwrap();
    assert_eq!((call.state(), call.timed_out()), (CallState::Ended, false));
    assert_eq!(call.last().unwrap().event, Event::status(TaskState::Completed));
    assert_eq!(calls.open_calls(), 0);
}

#[test]
fn two_calls_at_once_are_told_apart_and_foreign_replies_are_handed_back() {
    let mut calls = calls(CallLimits::default(), &["a", "b"], None);
    let (mut a, mut b, mut c) = (line("a"), line("b"), line("c"));
    calls.receive(reply(&mut b, TaskState::Failed, true), ms(1)).unwrap();
    calls.receive(reply(&mut a, TaskState::Working, false), ms(1)).unwrap();
    assert_eq!(calls.get("a").unwrap().mirror().state(), Some(&TaskState::Working));
    assert_eq!(calls.get("b").unwrap().mirror().state(), Some(&TaskState::Failed));
    let stranger = reply(&mut c, TaskState::Completed, true);
    assert_eq!(calls.receive(stranger.clone(), ms(1)), Ok(Received::Foreign(stranger)));
    let nameless = Envelope::new("no json");
    assert_eq!(calls.receive(nameless.clone(), ms(1)), Ok(Received::Foreign(nameless)));
}

#[test]
fn replies_that_carry_their_id_only_in_the_body_are_found_too() {
    let mut calls = calls(CallLimits::default(), &["5d41", "7"], None);
    let hermes = Envelope::from_parts(
        a2a_envelope::Headers::new(),
        r#"{"type":"mq9_call_reply","ok":true,"correlation_id":"5d41","result":{"answer":"x"}}"#,
    );
    assert!(matches!(calls.receive(hermes, ms(1)), Ok(Received::Call { id, .. }) if id == "5d41"));
    let plain = Envelope::from_parts(
        a2a_envelope::Headers::new(),
        r#"{"jsonrpc":"2.0","id":7,"result":{"message":{"messageId":"m","role":"ROLE_AGENT","parts":[]}}}"#,
    );
    let Ok(Received::Call { items, .. }) = calls.receive(plain, ms(1)) else { panic!() };
    assert_eq!(items.last(), Some(&ReaderItem::End(StreamEnd::Last)));
}

#[test]
fn a_call_that_timed_out_is_told_once_and_can_be_read_again_with_what_came_late() {
    let mut calls = calls(CallLimits::default(), &["a"], Some(ms(1_000)));
    let mut line = line("a");
    calls.receive(reply(&mut line, TaskState::Working, false), ms(10)).unwrap();
    assert_eq!(calls.next_deadline(), Some(ms(1_000)));
    assert_eq!(calls.poll(ms(999)), None);
    assert_eq!(calls.poll(ms(1_000)), Some(("a".to_owned(), CallDue::TimedOut)));
    assert_eq!(calls.poll(ms(1_001)), None);
    assert_eq!(calls.open_calls(), 0);
    assert!(calls.get("a").unwrap().timed_out());

    let late = calls.receive(reply(&mut line, TaskState::Completed, true), ms(2_000)).unwrap();
    assert!(matches!(&late, Received::Late { items, .. } if items.len() == 2), "{late:?}");
    let call = calls.get("a").unwrap();
    assert_eq!((call.state(), call.mirror().state()), (CallState::Ended, Some(&TaskState::Completed)));
    let again = calls.receive(
        reply(&mut Line::new(correlation("a"), JsonText::string("a")), TaskState::Failed, true),
        ms(3_000),
    );
    assert!(matches!(again, Ok(Received::Late { items, .. }) if items.is_empty()));
    assert_eq!(calls.poll(ms(1_000) + Duration::from_secs(3_600)), None);
    assert!(calls.get("a").is_none(), "kept for an hour");
}

#[test]
fn open_calls_are_bounded_by_refusal_and_kept_ones_by_forgetting_the_oldest() {
    let limits = CallLimits::default().with_max_open(2).with_max_kept(1);
    let mut calls = calls(limits, &["a", "b"], None);
    let open =
        |calls: &mut Calls, id: &str| calls.open(&correlation(id), 0, None, ReaderOptions::default(), ms(1));
    assert!(matches!(open(&mut calls, "c"), Err(CallError::Full { open: 2, .. })));
    assert_eq!(open(&mut calls, "a"), Err(CallError::Exists));
    assert_eq!(calls.cut("a", ms(2)), [ReaderItem::End(StreamEnd::Cut)]);
    open(&mut calls, "c").unwrap();
    calls.cut("b", ms(3));
    assert!(calls.get("a").is_none() && calls.get("b").is_some());
    assert_eq!(calls.cut("nobody", ms(3)), []);
}

#[test]
fn a_call_whose_end_was_lost_asks_for_the_snapshot_and_ends_with_it() {
    let mut calls = calls(CallLimits::default(), &["a"], None);
    let mut line = line("a");
    calls.receive(reply(&mut line, TaskState::Working, false), ms(1)).unwrap();
    let due = calls.next_deadline().unwrap();
    assert_eq!(calls.poll(due), Some(("a".to_owned(), CallDue::Items(vec![ReaderItem::ReadSnapshot]))));
    let mut task = new_task();
    task.apply(&Event::status(TaskState::Completed), ms(5)).unwrap();
    let snapshot = Snapshot::read(&Snapshot::of(&task).unwrap(), &Limits::default()).unwrap();
    let items = calls.snapshot("a", Some(snapshot), due);
    assert_eq!(items.last(), Some(&ReaderItem::End(StreamEnd::Snapshot)));
    assert_eq!(calls.get("a").unwrap().mirror().state(), Some(&TaskState::Completed));
}

#[test]
fn a_request_is_read_in_every_version_that_says_it() {
    let read = |text: &str| Incoming::read(&Envelope::new(text.to_owned()), None, &Limits::default());
    let v1 = read(fixture("v1_stream_request.json")).unwrap();
    assert_eq!(
        (&v1.operation, v1.task_request().unwrap().streams),
        (&Some(Operation::SendStreamingMessage), true)
    );
    let v0 = read(fixture("v0_2_message_send.json")).unwrap();
    assert_eq!((&v0.operation, v0.task_request().unwrap().streams), (&Some(Operation::SendMessage), false));
    assert!(v0.key.is_some() && v0.message.is_some());

    let follow_up = read(
        r#"{"jsonrpc":"2.0","id":7,"method":"SendMessage","params":{"message":{"messageId":"m-2","taskId":"t-1","contextId":"c-1","role":"ROLE_USER","parts":[]},"configuration":{"ifGenerationMatch":"9"}}}"#,
    )
    .unwrap();
    assert_eq!((follow_up.task_id.as_deref(), follow_up.context_id.as_deref()), (Some("t-1"), Some("c-1")));
    assert_eq!(follow_up.if_generation, Some(9));
    assert_eq!(follow_up.task_request().unwrap().id_json.as_str(), "7");
    assert_eq!(follow_up.task_request().unwrap().key.as_deref(), Some("m-2"));
    for (method, operation) in [
        ("GetTask", Operation::GetTask),
        ("tasks/get", Operation::GetTask),
        ("tasks/cancel", Operation::CancelTask),
        ("SubscribeToTask", Operation::SubscribeToTask),
        ("ListTasks", Operation::ListTasks),
    ] {
        let text = format!(r#"{{"jsonrpc":"2.0","id":"x","method":"{method}","params":{{"id":"t-9"}}}}"#);
        let incoming = read(&text).unwrap();
        assert_eq!(
            (incoming.task_id.as_deref(), operation.is_urgent()),
            (Some("t-9"), method.contains("cancel"))
        );
        assert_eq!(incoming.operation, Some(operation));
        assert!(incoming.task_request().is_none());
    }
}

#[test]
fn headers_say_what_a_body_does_not() {
    let envelope = Envelope::new(r#"{"role":"user","parts":[{"kind":"text","text":"hi"}]}"#)
        .with_correlation_id(&correlation("c"))
        .and_then(|e| e.with_if_generation(4)?.with_resume_after(3)?.with_deadline(ms(5).as_millis() as u64))
        .and_then(|e| e.with_task_id("t-1")?.with_reply_to("cb"))
        .unwrap();
    let incoming = Incoming::read(&envelope, None, &Limits::default()).unwrap();
    assert_eq!((incoming.if_generation, incoming.resume_after), (Some(4), Some(3)));
    assert_eq!((incoming.task_id.as_deref(), incoming.reply_to.as_deref()), (Some("t-1"), Some("cb")));
    assert_eq!(incoming.operation, Some(Operation::SendMessage), "a message without a method is sent");
    assert!(!format!("{incoming:?}").contains("cb"));
}

#[test]
fn an_expired_request_is_answered_with_an_error() {
    let envelope = Envelope::new(r#"{"jsonrpc":"2.0","id":7,"method":"SendMessage","params":{}}"#)
        .with_deadline(ms(5).as_millis() as u64)
        .unwrap();
    let incoming = Incoming::read(&envelope, None, &Limits::default()).unwrap();
    assert!(!incoming.is_expired(ms(4)) && incoming.is_expired(ms(5)));
    let answer = incoming.expired().unwrap();
    assert_eq!(
        (answer.reply_type(), answer.is_last(), answer.seq()),
        (Some(ReplyType::Error), true, Ok(Some(1)))
    );
    assert_eq!(
        body(&answer),
        "{\"jsonrpc\":\"2.0\",\"id\":7,\"error\":{\"code\":-32603,\"message\":\"the deadline of the request has \
         passed\",\"data\":[{\"@type\":\"type.googleapis.com/google.rpc.ErrorInfo\",\"reason\":\"DEADLINE_EXCEEDED\",\
         \"domain\":\"agentchat-rs.github.io\"}]}}"
    );
    let gone = incoming.refused_by(&TaskError::NotFound).unwrap();
    assert!(body(&gone).contains("-32001") && body(&gone).contains("a2a-protocol.org"));
    assert!(body(&incoming.conflict().unwrap()).contains("-32600"));
    assert_eq!(incoming.ack().unwrap().seq(), Ok(Some(0)));
}

#[test]
fn a_stored_request_keeps_its_deadline() {
    let envelope = Envelope::new(
        r#"{"jsonrpc":"2.0","id":"x","method":"SendMessage","params":{"message":{"messageId":"m"}}}"#,
    )
    .with_deadline(ms(5).as_millis() as u64)
    .unwrap();
    let incoming = Incoming::read(&envelope, None, &Limits::default()).unwrap();
    let task = Task::new("t", "c", incoming.task_request().unwrap(), ms(0)).unwrap();
    let stored = Task::from_stored(&task.to_stored()).unwrap();
    let request = &stored.open_turn().unwrap().request;
    assert!(!request.is_expired(ms(4)) && request.is_expired(ms(5)));
    assert!(!flow::request("r").is_expired(ms(u64::from(u32::MAX))), "one without a deadline waits");
}

#[test]
fn requests_that_cannot_be_answered_or_trusted_are_refused() {
    let read = |envelope: Envelope| Incoming::read(&envelope, None, &Limits::default());
    let good = || Envelope::new(r#"{"jsonrpc":"2.0","id":"x","method":"SendMessage","params":{}}"#);
    assert!(read(good()).is_ok());
    assert!(read(Envelope::new("{}")).is_err(), "no id to answer to");
    assert!(read(Envelope::new(r#"{"jsonrpc":"2.0","id":"a b"}"#)).is_err(), "an id that no header carries");
    assert!(read(good().with_method("CancelTask").unwrap()).is_err());
    for (name, value) in [("amb-deadline", "soon"), ("amb-if-generation", "+1"), ("amb-resume-after", "")] {
        assert!(read(good().with_header(name, value).unwrap()).is_err(), "{name}");
    }
    let big = Envelope::new(format!("\"{}\"", "x".repeat(5 * 1024 * 1024)))
        .with_correlation_id(&correlation("c"))
        .unwrap();
    assert!(read(big).is_err());
}

proptest! {
    #![proptest_config(seeded(300))]

    #[test]
    fn no_body_makes_reading_a_request_or_a_reply_panic(text in json_text(), id in "[a-c]") {
        let mut calls = calls(CallLimits::default(), &["a"], None);
        for body in [text.clone(), format!(r#"{{"jsonrpc":"2.0","id":"{id}","params":{text},"result":{text}}}"#)] {
            let _ = Incoming::read(&Envelope::new(body.clone()), None, &Limits::default());
            let _ = calls.receive(Envelope::new(body), ms(1));
        }
    }

    #[test]
    fn every_reply_goes_to_its_own_call_and_every_call_ends_once(
        ops in prop::collection::vec((0..4_usize, prop::bool::weighted(0.2), 0..400_u64), 0..60),
    ) {
        let ids = ["a", "b", "c", "d"];
        // The last one is not called.
        let mut calls = calls(CallLimits::default(), &ids[..3], Some(ms(5_000)));
        let mut lines = ids.map(line);
        let mut sent = [0_u64; 4];
        let mut ended = [0; 4];
        let mut timed_out = [0; 4];
        let mut now = 0;
        for (at, last, after) in ops {
            now += after;
            while let Some((id, due)) = calls.poll(ms(now)) {
                let at = ids.iter().position(|known| *known == id).unwrap();
                timed_out[at] += usize::from(due == CallDue::TimedOut);
            }
            if lines[at].has_ended() {
                continue;
            }
            let state = if last { TaskState::Completed } else { TaskState::Working };
            let reply = reply(&mut lines[at], state, last);
            sent[at] += 1;
            match calls.receive(reply, ms(now)).unwrap() {
                Received::Foreign(_) => prop_assert_eq!(at, 3),
                Received::Call { id, items, .. } => {
                    prop_assert_eq!(id.as_str(), ids[at]);
                    prop_assert!(now < 5_000);
                    ended[at] += items.iter().filter(|item| matches!(item, ReaderItem::End(_))).count();
                }
                Received::Late { id, items, .. } => {
                    prop_assert_eq!(id.as_str(), ids[at]);
                    prop_assert!(now >= 5_000);
                    ended[at] += items.iter().filter(|item| matches!(item, ReaderItem::End(_))).count();
                }
                other => panic!("{other:?}"),
            }
        }
        for at in 0..3 {
            let call = calls.get(ids[at]).unwrap();
            prop_assert_eq!(ended[at], usize::from(lines[at].has_ended()));
            prop_assert_eq!(call.state() == CallState::Ended, lines[at].has_ended());
            prop_assert_eq!(call.last().and_then(|reply| reply.seq).unwrap_or(0), sent[at], "the last of all that came");
            prop_assert!(timed_out[at] <= 1);
        }
    }
}
