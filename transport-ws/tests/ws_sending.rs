//! What is sent, and what an agent makes of it.
#![cfg(feature = "test-server")]

mod ws_support;

use std::time::{Duration, Instant};

use agentchat_core::{
    Address, Agent, Body, ConversationId, ErrorKind, Heartbeat, Outbound, Reached, Request, SendOutcome,
    ServeOptions, Warning,
};
use transport_ws::api::GroupDraft;
use transport_ws::http::RetryPolicy;
use transport_ws::testing::{AgentChatServer, HttpFault, Profile};
use transport_ws::{AgentChat, Context};
use ws_support::{World, backlog, message, read, say, within, word};

#[tokio::test]
async fn an_agent_answers_without_a_stall_after_its_own_replies() {
    let world = World::new().await;
    let agent = Agent::builder(world.connector("bob")).start().await.expect("started");
    let answering = agent
        .serve(
            |request: Request| async move {
                let words = request.body().as_str().unwrap_or_default().to_owned();
                request.reply(Body::text(format!("You said: {words}"))).await?;
                Ok(())
            },
            ServeOptions::default(),
        )
        .await
        .expect("served");
    let alice = world.attach("alice").await;
    let mut events = read(&alice).await;
    backlog(&mut events).await;
    let to = Address::parse("agentchat://bob").expect("valid");
    let begun = Instant::now();
    for number in 0..10 {
        alice.send(&Outbound::new(to.clone(), Body::text(number.to_string()))).await.expect("accepted");
        assert_eq!(word(&message(&mut events).await), format!("You said: {number}"));
    }
    assert!(begun.elapsed() < Duration::from_millis(1_900), "{:?}", begun.elapsed());
    drop(answering);
}

#[tokio::test]
async fn c26_a_repetition_is_a_duplicate_of_the_first() {
    let world = World::new().await;
    let (alice, bob) = (world.attach("alice").await, world.attach("bob").await);
    let message = Outbound::new(bob.address().clone(), Body::text("once"));
    let first = alice.send(&message).await.expect("accepted");
    let again = alice.send(&message).await.expect("known");
    let id = first.message_id().expect("an id").clone();
    assert_eq!((first.outcome, first.seq), (SendOutcome::Accepted(id.clone()), Some(1)));
    assert_eq!((again.outcome, again.seq), (SendOutcome::Duplicate(id), Some(1)));
}

#[tokio::test]
async fn c30_backlog_is_a_warning_and_c33_too_much_of_it_a_refusal_that_is_not_repeated() {
    let world = World::new().await;
    let (alice, bob) = (world.attach("alice").await, world.attach("bob").await);
    say(&alice, &bob, "a").await;
    world.server.set_undelivered("bob", 6_000);
    let receipt = say(&alice, &bob, "b").await;
    let warned = |warning: &Warning| matches!(warning, Warning::Backlog { recipient, waiting } if recipient == bob.address() && *waiting >= 6_000);
    assert!(receipt.warnings.iter().any(warned), "{receipt:?}");
    world.server.set_undelivered("bob", 10_000);
    let before = world.requests("POST", "/v1/messages");
    let error = alice.send(&Outbound::new(bob.address().clone(), Body::text("c"))).await.expect_err("full");
    assert_eq!(error.code(), Some("RECIPIENT_BACKLOGGED"));
    assert!(!error.is_retryable(), "{error:?}");
    assert_eq!(world.requests("POST", "/v1/messages"), before + 1);
}

#[tokio::test]
async fn c35_a_full_second_is_waited_out_and_others_are_not() {
    let world = World::new().await;
    let (alice, bob) = (world.attach("alice").await, world.attach("bob").await);
    let faults = world.server.faults();
    let limited = HttpFault::error(429, "RATE_LIMITED", "Too many messages per second");
    faults.on("POST /v1/messages", limited.clone().retry_after("1"));
    say(&alice, &bob, "a").await;
    assert_eq!(world.requests("POST", "/v1/messages"), 2);
    faults.on("POST /v1/messages", limited.retry_after("60"));
    let error =
        alice.send(&Outbound::new(bob.address().clone(), Body::text("b"))).await.expect_err("limited");
    assert_eq!((error.kind(), error.reached()), (ErrorKind::RateLimited, Reached::Yes));
    assert_eq!(error.retry_after(), Some(Duration::from_secs(60)));
    assert_eq!(world.requests("POST", "/v1/messages"), 3);
}

#[tokio::test]
async fn a_group_is_written_to_by_its_id_and_its_messages_come_in_one_conversation() {
    let world = World::new().await;
    let (alice, bob) = (world.attach("alice").await, world.attach("bob").await);
    let client = |name| AgentChat::new(&world.config(name).build().expect("valid")).expect("a client");
    let group = client("alice").create_group(&GroupDraft::new("Night shift").with_member("bob"), None).await;
    let group = group.expect("made").group.id;
    for invitation in client("bob").invitations().await.expect("read") {
        client("bob").accept_invitation(&invitation.id, None).await.expect("accepted");
    }
    let mut events = read(&bob).await;
    let to = Address::parse(format!("agentchat://{group}")).expect("valid");
    alice.send(&Outbound::new(to, Body::text("all"))).await.expect("accepted");
    let found = loop {
        let delivery = message(&mut events).await;
        if delivery.body == Body::text("all") {
            break delivery;
        }
    };
    assert_eq!(found.conversation, ConversationId::new(&group).ok());
}

#[tokio::test]
async fn s69_what_the_server_says_of_a_group_message_reaches_the_handler_apart_from_the_senders_words() {
    let world = World::new().await;
    let (alice, bob) = (world.attach("alice").await, world.connector("bob"));
    let client = |name| AgentChat::new(&world.config(name).build().expect("valid")).expect("a client");
    let group = client("alice").create_group(&GroupDraft::new("Night shift").with_member("bob"), None).await;
    let group = group.expect("made").group.id;
    for invitation in client("bob").invitations().await.expect("read") {
        client("bob").accept_invitation(&invitation.id, None).await.expect("accepted");
    }
    let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let handler = move |request: Request| {
        let told = told.clone();
        async move {
            let _ = told.send(request.delivery().clone());
            Ok(())
        }
    };
    let agent = Agent::builder(bob).serve(handler, ServeOptions::default()).start().await.expect("started");
    let to = Address::parse(format!("agentchat://{group}")).expect("valid");
    let mentioning = Outbound::new(to, Body::text("are you there, @bob? not x@bobx"))
        .with_header("context", r#"{"mentions":["carol"]}"#)
        .with_header("mentions", "carol");
    within(alice.send(&mentioning)).await.expect("accepted");
    let direct = Outbound::new(Address::parse("agentchat://bob").expect("valid"), Body::text("alone"));
    within(alice.send(&direct)).await.expect("accepted");
    let mut deliveries = std::collections::BTreeMap::new();
    while deliveries.len() < 2 {
        let delivery = within(heard.recv()).await.expect("it serves");
        let words = delivery.body.as_str().map(str::to_owned);
        if let Some(words) = words.filter(|words| words == "alone" || words.contains('@')) {
            deliveries.insert(words.contains('@'), delivery);
        }
    }
    let found = &deliveries[&true];
    let context = Context::of(found).expect("the server says something");
    assert_eq!(context.mentions, ["bob"]);
    assert!(context.mentions("@bob") && context.is_group() && !context.is_from_system());
    assert_eq!(context.conversation.and_then(|it| it.group_name).as_deref(), Some("Night shift"));
    assert_eq!(found.headers.get("context"), Some(r#"{"mentions":["carol"]}"#), "the sender's own words");
    let facts = std::str::from_utf8(found.network.as_bytes()).expect("JSON text");
    assert!(
        facts.contains("Night shift") && !facts.contains("carol") && !format!("{found:?}").contains("Night")
    );
    assert!(Context::of(&deliveries[&false]).is_some_and(|it| it.mentions.is_empty() && !it.is_group()));
    agent.close(agentchat_core::CloseMode::Detach, Duration::from_secs(5)).await.expect("closed");

    let legacy = World::of(Profile::Legacy).await;
    let (alice, bob) = (legacy.attach("alice").await, legacy.attach("bob").await);
    let mut events = read(&bob).await;
    let forged = Outbound::new(bob.address().clone(), Body::text("old"))
        .with_header("context", r#"{"mentions":["bob"]}"#);
    alice.send(&forged).await.expect("accepted");
    let found = message(&mut events).await;
    assert!(found.network.is_empty() && Context::of(&found).is_none(), "an older server says nothing");
}

#[tokio::test]
async fn a_lost_answer_says_that_the_message_may_have_arrived() {
    let world = World::new().await;
    let (alice, bob) = (world.attach("alice").await, world.attach("bob").await);
    let message = Outbound::new(bob.address().clone(), Body::text("a"));
    for committed in [false, true] {
        world.server.drop_next_response(committed);
        let error = alice.send(&message).await.expect_err("the answer is lost");
        assert!(error.is_retryable() && error.reached() == Reached::Unknown, "{error:?}");
    }
    let receipt = alice.send(&message).await.expect("it stands");
    assert!(matches!(receipt.outcome, SendOutcome::Duplicate(_)));
}

#[tokio::test]
async fn a_reported_status_is_the_presence_that_contacts_see() {
    let world = World::with(AgentChatServer::builder()).await;
    let bob = world.attach("bob").await;
    let client = AgentChat::new(&world.config("alice").build().expect("valid")).expect("a client");
    let client = client.with_retry(RetryPolicy::none());
    for (status, expected) in [("busy", ("busy", None)), ("indexing", ("online", Some("indexing")))] {
        bob.report(&Heartbeat::new(status, Duration::from_secs(30))).await.expect("taken");
        let found = client.presences(&["bob"]).await.expect("read");
        assert_eq!((found[0].status.as_str(), found[0].custom_message.as_deref()), expected);
    }
    within(bob.close(agentchat_core::CloseMode::Retire)).await.expect("closed");
    within(world.server.until_sockets("bob", 0)).await;
}
