//! The agent runtime's promises, in virtual time over the in-process network.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use agentchat_core::{
    Agent, Body, CallRequest, ClientMsgId, CloseMode, ConversationId, ErrorKind, Loopback, LoopbackFaults,
    Outbound, Request, ServeOptions,
};
use futures_util::StreamExt;

const SECOND: Duration = Duration::from_secs(1);

async fn start(network: &Loopback, name: &str) -> Agent {
    Agent::builder(network.connector(name).expect("a valid name")).start().await.expect("started")
}

fn text(to: &Agent, text: &str) -> Outbound {
    Outbound::new(to.address().clone(), Body::text(text))
}

#[tokio::test(start_paused = true)]
async fn an_id_used_for_another_content_is_a_conflict_before_anything_is_sent() {
    let network = Loopback::new();
    let (alice, bob) = (start(&network, "alice").await, start(&network, "bob").await);
    let first = text(&bob, "one");
    alice.send(&first).await.expect("sent");
    let second = text(&bob, "two").with_id(first.client_msg_id.clone());
    assert_eq!(alice.send(&second).await.expect_err("reused").kind(), ErrorKind::Conflict);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_keeps_failing_goes_to_the_dead_letter_address_and_its_conversation_goes_on() {
    let network = Loopback::new();
    let (alice, bob) = (start(&network, "alice").await, start(&network, "bob").await);
    let morgue = start(&network, "morgue").await;
    let conversation = ConversationId::new("c").expect("id");
    for body in ["poison", "good"] {
        alice.send(&text(&bob, body).with_conversation(conversation.clone())).await.expect("sent");
    }
    let (handled, mut log) = tokio::sync::mpsc::channel(4);
    let handler = move |request: Request| {
        let handled = handled.clone();
        async move {
            if request.body().as_str() == Some("poison") {
                return Err("cannot read this".into());
            }
            handled.send(()).await?;
            Ok(())
        }
    };
    let options = ServeOptions::default().with_dead_letter(morgue.address().clone(), 3);
    let serving = bob.serve(handler, options).await.expect("served");
    log.recv().await.expect("the next one is handled");
    let (buried, mut letters) = tokio::sync::mpsc::channel(4);
    let keeper = move |request: Request| {
        let buried = buried.clone();
        async move {
            let attempts =
                request.delivery().headers.get("agentchat-dead-letter-attempts").map(str::to_owned);
            buried.send((request.body().as_str().map(str::to_owned), attempts)).await?;
            Ok(())
        }
    };
    let _keeping = morgue.serve(keeper, ServeOptions::default()).await.expect("served");
    assert_eq!(letters.recv().await, Some((Some("poison".into()), Some("3".into()))));
    assert_eq!(serving.stop(SECOND).await.unsettled, 0);
}

#[tokio::test(start_paused = true)]
async fn a_request_found_after_its_deadline_is_answered_and_not_run() {
    let network = Loopback::new();
    let (alice, bob) = (start(&network, "alice").await, start(&network, "bob").await);
    let past = std::time::SystemTime::now() - SECOND;
    let ran = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&ran);
    let reply_inbox = alice.transport().subscribe(agentchat_core::SubscribeOptions::fresh(SECOND * 60));
    let mut replies = reply_inbox.await.expect("opened");
    let stale = text(&bob, "late")
        .with_deadline(past)
        .with_reply_to(replies.address.clone())
        .with_correlation_id(agentchat_core::CorrelationId::random());
    alice.send(&stale).await.expect("sent");
    let handler = move |_request: Request| {
        counter.fetch_add(1, Ordering::SeqCst);
        async { Ok(()) }
    };
    let _serving = bob.serve(handler, ServeOptions::default()).await.expect("served");
    let error = loop {
        if let Some(Ok(agentchat_core::Event::Message(delivery))) = replies.events.next().await {
            break delivery.headers.get(agentchat_core::agent::REPLY_ERROR).map(str::to_owned);
        }
    };
    assert!(error.is_some_and(|text| text.contains("deadline")));
    assert_eq!(ran.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn close_lets_running_handlers_finish_and_leaves_the_rest_to_come_again() {
    let network = Loopback::new();
    let (alice, bob) = (start(&network, "alice").await, start(&network, "bob").await);
    for number in 0..3 {
        alice.send(&text(&bob, &number.to_string())).await.expect("sent");
    }
    let finished = Arc::new(AtomicU32::new(0));
    let (started, mut starts) = tokio::sync::mpsc::channel(4);
    let counter = Arc::clone(&finished);
    let handler = move |_request: Request| {
        let (counter, started) = (Arc::clone(&counter), started.clone());
        async move {
            started.send(()).await?;
            tokio::time::sleep(5 * SECOND).await;
            counter.fetch_add(1, Ordering::SeqCst);
            Ok(())
        }
    };
    let serving = bob.serve(handler, ServeOptions::default().with_concurrency(1)).await.expect("served");
    starts.recv().await.expect("the first handler runs");
    let report = bob.close(CloseMode::Detach, 30 * SECOND).await.expect("closed");
    assert!(report.drained);
    assert_eq!(finished.load(Ordering::SeqCst), 1);
    assert_eq!(serving.wait().await.unsettled, 2);
    let bob = start(&network, "bob").await;
    let (handled, mut log) = tokio::sync::mpsc::channel(4);
    let again = move |request: Request| {
        let handled = handled.clone();
        async move { Ok(handled.send(request.body().as_str().unwrap_or_default().to_owned()).await?) }
    };
    let _serving = bob.serve(again, ServeOptions::default()).await.expect("served");
    let mut rest = [log.recv().await, log.recv().await];
    rest.sort();
    assert_eq!(rest, [Some("1".to_owned()), Some("2".to_owned())]);
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_never_returns_is_dropped_at_the_deadline_and_its_message_comes_again() {
    let network = Loopback::new();
    let (alice, bob) = (start(&network, "alice").await, start(&network, "bob").await);
    alice.send(&text(&bob, "stuck")).await.expect("sent");
    let (started, mut starts) = tokio::sync::mpsc::channel(4);
    let handler = move |_request: Request| {
        let started = started.clone();
        async move {
            started.send(()).await?;
            std::future::pending::<()>().await;
            Ok(())
        }
    };
    let serving = bob.serve(handler, ServeOptions::default()).await.expect("served");
    starts.recv().await.expect("the handler runs");
    let served = serving.stop(2 * SECOND).await;
    assert_eq!(served.error.expect("an error").kind(), ErrorKind::Timeout);
    let bob = start(&network, "bob").await;
    let mut events =
        bob.transport().subscribe(agentchat_core::SubscribeOptions::own()).await.expect("opened").events;
    let again = events.next().await;
    assert!(matches!(again, Some(Ok(agentchat_core::Event::Message(delivery))) if delivery.redelivered));
}

#[tokio::test(start_paused = true)]
async fn a_stuck_handler_does_not_stop_other_conversations() {
    let network = Loopback::new();
    let (alice, bob) = (start(&network, "alice").await, start(&network, "bob").await);
    for (body, conversation) in [("stuck", "a"), ("behind it", "a"), ("free", "b")] {
        let conversation = ConversationId::new(conversation).expect("id");
        alice.send(&text(&bob, body).with_conversation(conversation)).await.expect("sent");
    }
    let (handled, mut log) = tokio::sync::mpsc::channel(4);
    let handler = move |request: Request| {
        let handled = handled.clone();
        async move {
            if request.body().as_str() == Some("stuck") {
                std::future::pending::<()>().await;
            }
            Ok(handled.send(request.body().as_str().unwrap_or_default().to_owned()).await?)
        }
    };
    let _serving = bob.serve(handler, ServeOptions::default()).await.expect("served");
    assert_eq!(log.recv().await.as_deref(), Some("free"));
    assert!(
        tokio::time::timeout(60 * SECOND, log.recv()).await.is_err(),
        "order holds within a conversation"
    );
}

#[tokio::test(start_paused = true)]
async fn a_call_ends_with_the_connection_and_not_with_its_deadline() {
    let network = Loopback::new();
    let (alice, bob) = (start(&network, "alice").await, start(&network, "bob").await);
    let call = alice.call(bob.address(), CallRequest::new(Body::text("hello"))).await.expect("sent");
    network.cut();
    let error = tokio::time::timeout(SECOND, call.response()).await.expect("at once").expect_err("cut");
    assert_eq!(error.kind(), ErrorKind::Disconnected);
}

#[tokio::test(start_paused = true)]
async fn two_calls_under_one_correlation_id_at_a_time_are_refused() {
    let network = Loopback::new();
    let (alice, bob) = (start(&network, "alice").await, start(&network, "bob").await);
    let request = CallRequest::new(Body::text("hello")).with_id(ClientMsgId::new("m-1").expect("id"));
    let first = alice.call(bob.address(), request.clone()).await.expect("sent");
    let error = alice.call(bob.address(), request.clone()).await.expect_err("under way");
    assert_eq!(error.kind(), ErrorKind::Conflict);
    drop(first);
    alice.call(bob.address(), request).await.expect("the first one is over");
}

#[tokio::test(start_paused = true)]
async fn each_peer_gets_a_reply_inbox_of_its_own() {
    let network = Loopback::new();
    let alice = start(&network, "alice").await;
    let (told, mut addresses) = tokio::sync::mpsc::channel(8);
    let mut peers = Vec::new();
    for name in ["bob", "carol"] {
        let peer = start(&network, name).await;
        let told = told.clone();
        let handler = move |request: Request| {
            let told = told.clone();
            async move {
                told.send(request.delivery().reply_to.clone()).await?;
                request.reply(Body::text("ok")).await?;
                Ok(())
            }
        };
        peers.push((peer.clone(), peer.serve(handler, ServeOptions::default()).await.expect("served")));
    }
    let mut seen = Vec::new();
    for place in [0, 1, 0] {
        let call =
            alice.call(peers[place].0.address(), CallRequest::new(Body::text("x"))).await.expect("sent");
        call.response().await.expect("answered");
        seen.push(addresses.recv().await.expect("told").expect("an address"));
    }
    assert_eq!(seen[0], seen[2], "one per pair");
    assert_ne!(seen[0], seen[1], "never shared between peers");
    let private = CallRequest::new(Body::text("x")).with_private_inbox();
    alice.call(peers[0].0.address(), private).await.expect("sent").response().await.expect("answered");
    assert_ne!(addresses.recv().await.expect("told").expect("an address"), seen[0]);
}

#[tokio::test(start_paused = true)]
async fn a_reply_inbox_is_renewed_long_before_it_expires_and_old_calls_are_still_answered() {
    let network = Loopback::new();
    let (alice, bob) = (start(&network, "alice").await, start(&network, "bob").await);
    let (told, mut addresses) = tokio::sync::mpsc::channel(8);
    let slow = CallRequest::new(Body::text("slow")).with_timeout(20 * 3600 * SECOND);
    let slow = alice.call(bob.address(), slow).await.expect("sent");
    tokio::time::sleep(13 * 3600 * SECOND).await;
    let handler = move |request: Request| {
        let told = told.clone();
        async move {
            told.send(request.delivery().reply_to.clone()).await?;
            request.reply(Body::text("ok")).await?;
            Ok(())
        }
    };
    let quick = alice.call(bob.address(), CallRequest::new(Body::text("quick"))).await.expect("sent");
    let _serving = bob.serve(handler, ServeOptions::default().with_concurrency(1)).await.expect("served");
    slow.response().await.expect("the old inbox is still read");
    quick.response().await.expect("the new inbox is read");
    assert_ne!(addresses.recv().await, addresses.recv().await);
}

#[tokio::test(start_paused = true)]
async fn lost_answers_and_stored_duplicates_reach_the_handler_once_each() {
    let faults =
        LoopbackFaults::seeded(7).with_loss(0.2, 0.3).with_duplicates(0.3).with_latency(SECOND / 100);
    let network = Loopback::with_faults(faults);
    let (alice, bob) = (start(&network, "alice").await, start(&network, "bob").await);
    let (handled, mut log) = tokio::sync::mpsc::channel(1_000);
    let handler = move |request: Request| {
        let handled = handled.clone();
        async move { Ok(handled.send(request.body().as_str().unwrap_or_default().to_owned()).await?) }
    };
    let _serving = bob.serve(handler, ServeOptions::default()).await.expect("served");
    for number in 0..200 {
        let message = text(&bob, &number.to_string());
        while let Err(error) = alice.send(&message).await {
            assert!(error.is_retryable(), "{error:?}");
        }
    }
    let mut seen = Vec::new();
    while let Ok(Some(body)) = tokio::time::timeout(10 * SECOND, log.recv()).await {
        seen.push(body.parse::<u32>().expect("a number"));
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..200).collect::<Vec<_>>());
}
