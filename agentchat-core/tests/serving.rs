//! What serving does when something goes wrong: nothing is lost, nothing is handled twice, nothing spins or
//! stands still.

mod support;

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use agentchat_core::{
    AgentCard, Body, ConversationId, CorrelationId, ErrorKind, Handler, HandlerResult, Headers, Loopback,
    Outbound, Query, Request, ServeOptions,
};
use futures_util::FutureExt;
use support::{SECOND, soon, start, text};
use tokio::sync::mpsc;

/// A handler that tells the body of each message it settles.
fn teller() -> (impl Handler, mpsc::Receiver<String>) {
    let (handled, log) = mpsc::channel(10_000);
    let handler = move |request: Request| {
        let handled = handled.clone();
        async move { Ok(handled.send(request.body().as_str().unwrap_or_default().to_owned()).await?) }
    };
    (handler, log)
}

struct PanicsAtOnce(AtomicU32);

impl Handler for PanicsAtOnce {
    fn handle<'a, 'b>(&'a self, _: Request) -> Pin<Box<dyn Future<Output = HandlerResult> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        assert!(self.0.fetch_add(1, Ordering::SeqCst) > 1, "not the first two times");
        async { Ok(()) }.boxed()
    }
}

#[tokio::test(start_paused = true)]
async fn a_try_that_is_due_while_every_slot_is_busy_does_not_spin() {
    let network = Loopback::new();
    let (alice, bob) = (start(&network, "alice").await, start(&network, "bob").await);
    alice.send(&text(&bob, "failing")).await.expect("sent");
    alice.send(&text(&bob, "slow")).await.expect("sent");
    let (done, mut log) = mpsc::channel(4);
    let handler = move |request: Request| {
        let done = done.clone();
        async move {
            match (request.body().as_str(), request.attempt()) {
                (Some("failing"), 1) => return Err("not yet".into()),
                (Some("slow"), _) => tokio::time::sleep(20 * SECOND).await,
                _ => {}
            }
            Ok(done.send(request.attempt()).await?)
        }
    };
    let options = ServeOptions::default().with_concurrency(1);
    let _serving = bob.serve(handler, options).await.expect("served");
    // Virtual time only moves when nothing spins.
    assert_eq!((soon(log.recv()).await, soon(log.recv()).await), (Some(1), Some(2)));
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_panics_before_it_has_a_future_keeps_its_message() {
    let network = Loopback::new();
    let bob = start(&network, "bob").await;
    bob.send(&text(&bob, "x")).await.expect("sent");
    let serving = bob.serve(PanicsAtOnce(AtomicU32::new(0)), ServeOptions::default()).await.expect("served");
    tokio::time::sleep(60 * SECOND).await;
    assert_eq!(serving.stop(SECOND).await.unsettled, 0, "the third try settled it");
}

#[tokio::test(start_paused = true)]
async fn a_panic_outside_the_handler_counts_as_a_failure_too() {
    let network = Loopback::new();
    let bob = start(&network, "bob").await;
    bob.send(&text(&bob, "x")).await.expect("sent");
    let (tried, mut tries) = mpsc::channel(4);
    let handler = move |request: Request| {
        let tried = tried.clone();
        async move {
            tried.send(request.attempt()).await?;
            if request.attempt() == 1 {
                struct Bomb;
                impl Drop for Bomb {
                    fn drop(&mut self) {
                        panic!("dropped");
                    }
                }
                std::panic::panic_any(Bomb);
            }
            Ok(())
        }
    };
    let serving = bob.serve(handler, ServeOptions::default()).await.expect("served");
    for attempt in 1..=2 {
        assert_eq!(soon(tries.recv()).await, Some(attempt));
    }
    assert_eq!(serving.stop(SECOND).await.unsettled, 0);
}

#[tokio::test(start_paused = true)]
async fn dropped_handlers_do_not_count_as_running_for_ever() {
    let network = Loopback::new();
    let card = AgentCard::new("bob", "Busy").expect("card");
    let bob = agentchat_core::Agent::builder(network.connector("bob").expect("name"));
    let bob = bob.card(card).heartbeat(10 * SECOND).start().await.expect("started");
    let (started, mut starts) = mpsc::channel(4);
    let stuck = move |_: Request| {
        let started = started.clone();
        async move {
            started.send(()).await?;
            std::future::pending().await
        }
    };
    bob.send(&text(&bob, "x")).await.expect("sent");
    let options = ServeOptions::default().with_concurrency(1);
    let serving = bob.serve(stuck, options.clone()).await.expect("served");
    soon(starts.recv()).await.expect("it runs");
    let active = async || {
        tokio::time::sleep(11 * SECOND).await;
        let found = bob.discover(&Query::name("bob")).await.expect("an answer");
        let status = found.agents[0].status.clone().expect("a status");
        (status.status, status.active_tasks)
    };
    assert_eq!(active().await, ("busy".to_owned(), 1));
    drop(serving);
    assert_eq!(active().await, ("online".to_owned(), 0));
    let (handler, mut log) = teller();
    let _serving = bob.serve(handler, options).await.expect("served anew");
    soon(log.recv()).await.expect("handled");
    assert_eq!(active().await, ("online".to_owned(), 0));
}

#[tokio::test(start_paused = true)]
async fn serving_the_own_inbox_twice_is_refused_and_serving_it_anew_waits_for_the_old_handlers() {
    let network = Loopback::new();
    let (alice, bob) = (start(&network, "alice").await, start(&network, "bob").await);
    let running = Arc::new(AtomicU32::new(0));
    let (finished, mut log) = mpsc::channel(8);
    let handler = {
        let running = Arc::clone(&running);
        move |request: Request| {
            let (running, finished) = (Arc::clone(&running), finished.clone());
            async move {
                assert_eq!(running.fetch_add(1, Ordering::SeqCst), 0, "one at a time");
                tokio::time::sleep(5 * SECOND).await;
                running.fetch_sub(1, Ordering::SeqCst);
                Ok(finished.send(request.body().as_str().unwrap_or_default().to_owned()).await?)
            }
        }
    };
    let conversation = ConversationId::new("c").expect("id");
    for number in ["1", "2"] {
        alice.send(&text(&bob, number).with_conversation(conversation.clone())).await.expect("sent");
    }
    let first = bob.serve(handler.clone(), ServeOptions::default()).await.expect("served");
    let refused = bob.serve(handler.clone(), ServeOptions::default()).await.expect_err("twice");
    assert_eq!(refused.kind(), ErrorKind::Conflict);
    tokio::time::sleep(SECOND).await;
    let stopping = tokio::spawn(first.stop(60 * SECOND));
    tokio::task::yield_now().await;
    let _second = soon(bob.serve(handler, ServeOptions::default())).await.expect("served anew");
    assert_eq!(stopping.await.expect("no panic").unsettled, 1);
    assert_eq!(soon(log.recv()).await.as_deref(), Some("1"));
    assert_eq!(soon(log.recv()).await.as_deref(), Some("2"));
    assert!(tokio::time::timeout(60 * SECOND, log.recv()).await.is_err(), "each was handled once");
}

#[tokio::test(start_paused = true)]
async fn dropping_the_future_that_waits_stops_serving() {
    let network = Loopback::new();
    let bob = start(&network, "bob").await;
    let (handler, mut log) = teller();
    let serving = bob.serve(handler, ServeOptions::default()).await.expect("served");
    assert!(tokio::time::timeout(SECOND, serving.wait()).await.is_err());
    bob.send(&text(&bob, "x")).await.expect("sent");
    assert!(log.recv().await.is_none(), "the handler is gone");
}

#[tokio::test(start_paused = true)]
async fn stopping_tells_how_many_messages_come_again() {
    let network = Loopback::new();
    let bob = start(&network, "bob").await;
    for number in 0..5 {
        bob.send(&text(&bob, &number.to_string())).await.expect("sent");
    }
    let stuck = |_: Request| std::future::pending::<HandlerResult>();
    let serving = bob.serve(stuck, ServeOptions::default().with_concurrency(2)).await.expect("served");
    tokio::time::sleep(SECOND).await;
    let served = serving.stop(SECOND).await;
    assert_eq!((served.unsettled, served.error.map(|error| error.kind())), (5, Some(ErrorKind::Timeout)));
}

#[tokio::test(start_paused = true)]
async fn a_lost_connection_gives_handlers_a_grace_and_then_serving_ends() {
    let network = Loopback::new();
    let bob = start(&network, "bob").await;
    bob.send(&text(&bob, "x")).await.expect("sent");
    let stuck = |_: Request| std::future::pending::<HandlerResult>();
    let options = ServeOptions::default().with_grace(7 * SECOND);
    let serving = bob.serve(stuck, options).await.expect("served");
    tokio::time::sleep(SECOND).await;
    network.cut();
    let begun = tokio::time::Instant::now();
    let served = soon(serving.wait()).await;
    assert_eq!(begun.elapsed(), 7 * SECOND);
    let kind = served.error.map(|error| error.kind());
    assert_eq!((served.unsettled, kind), (1, Some(ErrorKind::Disconnected)));
}

#[tokio::test(start_paused = true)]
async fn dropping_the_agent_ends_what_it_serves_at_once() {
    let network = Loopback::new();
    let bob = start(&network, "bob").await;
    bob.send(&text(&bob, "x")).await.expect("sent");
    let stuck = |_: Request| std::future::pending::<HandlerResult>();
    let serving = bob.serve(stuck, ServeOptions::default()).await.expect("served");
    tokio::time::sleep(SECOND).await;
    drop(bob);
    let served = tokio::time::timeout(SECOND, serving.wait()).await.expect("at once");
    assert_eq!((served.unsettled, served.error.map(|error| error.kind())), (1, Some(ErrorKind::Closed)));
}

#[tokio::test(start_paused = true)]
async fn an_expired_request_whose_asker_is_gone_is_settled_and_its_conversation_goes_on() {
    let network = Loopback::new();
    let (alice, bob) = (start(&network, "alice").await, start(&network, "bob").await);
    let nowhere = agentchat_core::Address::parse("loopback://nowhere").expect("valid");
    let conversation = ConversationId::new("c").expect("id");
    let stale = text(&bob, "stale")
        .with_conversation(conversation.clone())
        .with_deadline(std::time::SystemTime::UNIX_EPOCH)
        .with_reply_to(nowhere)
        .with_correlation_id(CorrelationId::random());
    alice.send(&stale).await.expect("sent");
    alice.send(&text(&bob, "next").with_conversation(conversation)).await.expect("sent");
    let (handler, mut log) = teller();
    let serving = bob.serve(handler, ServeOptions::default()).await.expect("served");
    assert_eq!(soon(log.recv()).await.as_deref(), Some("next"));
    assert_eq!(serving.stop(SECOND).await.unsettled, 0);
}

#[tokio::test(start_paused = true)]
async fn poisoned_messages_take_turns_and_do_not_starve_the_others() {
    let network = Loopback::new();
    let (alice, bob) = (start(&network, "alice").await, start(&network, "bob").await);
    for number in 0..100 {
        alice.send(&text(&bob, &format!("poison {number}"))).await.expect("sent");
    }
    let (handled, mut log) = mpsc::channel(100);
    let handler = move |request: Request| {
        let handled = handled.clone();
        async move {
            let text = request.body().as_str().unwrap_or_default().to_owned();
            if text.starts_with("poison") {
                return Err("never".into());
            }
            Ok(handled.send(text).await?)
        }
    };
    let options = ServeOptions::default().with_concurrency(2).with_retry(SECOND / 10, SECOND);
    let _serving = bob.serve(handler, options).await.expect("served");
    tokio::time::sleep(30 * SECOND).await;
    let begun = tokio::time::Instant::now();
    for number in 0..20 {
        alice.send(&text(&bob, &format!("good {number}"))).await.expect("sent");
        soon(log.recv()).await.expect("handled");
    }
    assert!(begun.elapsed() < 20 * SECOND, "{:?}", begun.elapsed());
}

#[test]
fn what_users_hold_is_send_and_sync_and_the_traits_are_object_safe() {
    fn shared<T: Send + Sync + 'static>() {}
    fn sent<T: Send + 'static>() {}
    shared::<agentchat_core::Agent>();
    shared::<agentchat_core::agent::AgentBuilder<agentchat_core::LoopbackConnector>>();
    shared::<agentchat_core::Serving>();
    shared::<agentchat_core::agent::Served>();
    shared::<Request>();
    shared::<agentchat_core::Call>();
    shared::<agentchat_core::Reply>();
    shared::<agentchat_core::Error>();
    shared::<agentchat_core::Delivery>();
    shared::<Outbound>();
    shared::<Headers>();
    shared::<Body>();
    shared::<Loopback>();
    shared::<Arc<dyn agentchat_core::Transport>>();
    shared::<Arc<dyn agentchat_core::Connector>>();
    shared::<Arc<dyn Handler>>();
    sent::<agentchat_core::Subscription>();
    sent::<agentchat_core::EventStream>();
}
