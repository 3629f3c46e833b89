//! A NATS server on which, for a while, nobody answers mq9 commands: the broker behind it restarts. Who was
//! attached before waits for it; who never was is told at once that this is no mq9.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use agentchat_core::{
    BackoffPolicy, ErrorKind, Event, Resilient, ResilientOptions, SessionState, SubscribeOptions, Transport,
};
use futures_util::StreamExt;
use support::scripted::{Answer, Asked, Manners, Scripted};
use support::{MS, text, until, within};
use transport_mq9::Mq9Connector;

/// An empty inbox, and every send taken.
fn sane(asked: &Asked) -> Answer {
    let verb = |part: &str| asked.subject.contains(part);
    if asked.payload == br#"{"name":""}"# {
        Answer::probe()
    } else if verb("MAILBOX.CREATE") {
        Answer::reply(r#"{"error":"","mail_address":"box"}"#)
    } else if verb("AGENT.DISCOVER") {
        Answer::reply(r#"{"error":"agent search is not enabled in this build"}"#)
    } else if verb("MSG.FETCH") {
        Answer::reply(r#"{"error":"","messages":[]}"#)
    } else {
        Answer::reply(r#"{"error":"","msg_id":1}"#)
    }
}

/// A server that can be told to leave mq9 commands to nobody, and to cut who asks.
async fn server() -> (Scripted, Arc<AtomicBool>, Arc<AtomicBool>) {
    let (away, cutting) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (is_away, is_cutting) = (Arc::clone(&away), Arc::clone(&cutting));
    let server = Scripted::with_manners(Manners::default(), move |asked| {
        if is_cutting.swap(false, Ordering::SeqCst) {
            Answer::Close
        } else if is_away.load(Ordering::SeqCst) {
            Answer::NoResponders
        } else {
            sane(asked)
        }
    })
    .await;
    (server, away, cutting)
}

fn connector(server: &Scripted) -> Mq9Connector {
    Mq9Connector::builder(server.url()).inbox("box").build().expect("valid")
}

#[tokio::test]
async fn a_session_outlives_an_absence_of_the_broker_behind_the_server() {
    for cut in [false, true] {
        let (server, away, cutting) = server().await;
        let quick = BackoffPolicy::new().with_base(5 * MS).with_cap(50 * MS);
        let options = ResilientOptions::new().with_skip_own(false).with_reconnect(quick).with_retry(quick);
        let session = Resilient::connect(connector(&server), options);
        let session = within(10, "connecting", session).await.expect("connected");
        let mut events = session.subscribe(SubscribeOptions::own()).await.expect("subscribed").events;
        let first = within(10, "the backlog", events.next()).await.expect("an event").expect("no error");
        assert!(matches!(first, Event::CaughtUp), "{first:?}");
        away.store(true, Ordering::SeqCst);
        cutting.store(cut, Ordering::SeqCst);
        let note = text(session.address(), "kept");
        let sending = session.try_send(note).expect("there is room");
        let asked = server.asked().len();
        until("several attempts", async || server.asked().len() > asked + 5).await;
        assert!(!matches!(session.state(), SessionState::Closed(_)), "{:?}", session.state());
        away.store(false, Ordering::SeqCst);
        within(10, "sending", sending).await.expect("accepted");
        let fetches = server.asked_for("FETCH").len();
        until("reading", async || server.asked_for("FETCH").len() > fetches + 1).await;
        until("live again", async || session.state() == SessionState::Live).await;
        let stopped = tokio::time::timeout(20 * MS, events.next()).await;
        assert!(!matches!(stopped, Ok(None | Some(Err(_)))), "{stopped:?}");
    }
}

#[tokio::test]
async fn a_server_that_was_never_known_to_speak_mq9_is_a_wrong_configuration() {
    let (server, away, _) = server().await;
    away.store(true, Ordering::SeqCst);
    let connecting = Resilient::connect(connector(&server), ResilientOptions::new());
    let error = within(5, "connecting", connecting).await.expect_err("nobody answers");
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Config, false), "{error:?}");
}
