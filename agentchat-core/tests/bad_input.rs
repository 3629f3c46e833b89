//! What callers get wrong, on a bare attachment, over a session and through an agent: every value out of
//! range, every malformed name, every verb after the end. Each is an error that names what is wrong and the
//! limit, or does what the documentation says.

mod support;

use std::sync::Arc;
use std::time::Duration;

use agentchat_core::{
    AckTag, Address, Agent, AgentCard, BackoffPolicy, Body, CallRequest, ClientMsgId, CloseMode, Connector,
    ConversationId, CorrelationId, Error, ErrorKind, Event, Heartbeat, Loopback, MessageId, Outbound,
    OutboxLimits, Query, Quota, RateLimits, Reached, ReplayRange, Request, Resilient, ResilientOptions,
    ServeOptions, SubscribeOptions, Transport,
};
use futures_util::StreamExt;
use support::{SECOND, soon};

/// The error is of this kind, reached nobody, and says all of that.
#[track_caller]
fn says(error: &Error, kind: ErrorKind, words: &[&str]) {
    assert_eq!(error.kind(), kind, "{error:?}");
    for word in words {
        assert!(error.to_string().contains(word), "{word:?} is not in {error}");
    }
}

fn to(name: &str) -> Address {
    Address::of("loopback", name).expect("an address")
}

fn connector(network: &Loopback, name: &str) -> agentchat_core::LoopbackConnector {
    network.connector(name).expect("a name")
}

/// A bare attachment and a session, each of `name` on a network of its own.
async fn both(name: &str) -> Vec<(&'static str, Arc<dyn Transport>)> {
    let bare = connector(&Loopback::new(), name).connect().await.expect("attached");
    let options = ResilientOptions::new().with_seed(1).with_skip_own(false);
    let session = Resilient::connect(connector(&Loopback::new(), name), options).await.expect("connected");
    vec![("bare", bare), ("session", Arc::new(session))]
}

/// Agents over the same two.
async fn agents(name: &str) -> Vec<(&'static str, Agent)> {
    let bare = Agent::builder(connector(&Loopback::new(), name)).start().await.expect("started");
    let options = ResilientOptions::new().with_seed(1).with_skip_own(false);
    let session = Resilient::connect(connector(&Loopback::new(), name), options).await.expect("connected");
    let session = Agent::builder(session).start().await.expect("started");
    vec![("bare", bare), ("session", session)]
}

#[test]
fn malformed_addresses_are_refused_and_not_repeated() {
    let cases = [
        ("", "scheme://"),
        ("loopback", "scheme://"),
        ("loopback:/b", "scheme://"),
        ("://b", "scheme"),
        ("Loopback://b", "lower-case"),
        ("1loop://b", "lower-case"),
        ("loop_back://b", "lower-case"),
        ("loopback://", "names nobody"),
        ("mq9://host/", "names nobody"),
        ("mq9:///b", "host is empty"),
        ("mq9://:4222/b", "host is empty"),
        ("mq9://user:secret@host/b", "credentials"),
        ("mq9://host/a/b", "further `/`"),
        ("loopback://a b", "blank"),
        ("loopback://a\u{7}", "control character"),
        ("mq9://host:0/b", "1 to 65535"),
        ("mq9://host:65536/b", "1 to 65535"),
        ("mq9://host:/b", "1 to 65535"),
        ("mq9://host:port/b", "1 to 65535"),
    ];
    for (text, word) in cases {
        let error = Address::parse(text).expect_err(text);
        says(&error, ErrorKind::Invalid, &["address", word]);
        assert_eq!(error.reached(), Reached::No);
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}

#[test]
fn names_out_of_range_are_refused_with_what_they_name_and_the_limit() {
    type New = fn(&str) -> agentchat_core::Result<()>;
    let kinds: [(&str, New); 5] = [
        ("client message id", |text| ClientMsgId::new(text).map(drop)),
        ("message id", |text| MessageId::new(text).map(drop)),
        ("conversation id", |text| ConversationId::new(text).map(drop)),
        ("correlation id", |text| CorrelationId::new(text).map(drop)),
        ("ack tag", |text| AckTag::new(text).map(drop)),
    ];
    for (what, new) in kinds {
        let long = "x".repeat(129);
        for (text, words) in [
            ("", ["is empty", ""]),
            (long.as_str(), ["129", "128"]),
            ("a b", ["visible ASCII", ""]),
            ("tab\t", ["visible ASCII", ""]),
            ("é", ["visible ASCII", ""]),
        ] {
            says(&new(text).expect_err(what), ErrorKind::Invalid, &[what, words[0], words[1]]);
        }
        new(&long[1..]).expect("128 are allowed");
    }
    let network = Loopback::new();
    for name in ["", "a/b", "a b", "é", &"x".repeat(97)] {
        let error = network.connector(name).expect_err(name);
        says(&error, ErrorKind::Invalid, &["address"]);
        let words: &[&str] = if name.is_empty() { &["empty"] } else { &["96", "visible ASCII"] };
        says(&error, ErrorKind::Invalid, words);
    }
    for (card, word) in [
        ("", "EOF"),
        ("[]", "not a card"),
        ("{}", "`name`"),
        (r#"{"name":7}"#, "string"),
        (r#"{"name":""}"#, "`name` is empty"),
        (r#"{"name":"a","tags":"b"}"#, "sequence"),
    ] {
        says(&AgentCard::from_json(card).expect_err(card), ErrorKind::Invalid, &["agent card", word]);
    }
    says(&AgentCard::new("", "x").expect_err("no name"), ErrorKind::Invalid, &["`name` is empty"]);
}

#[tokio::test(start_paused = true)]
async fn session_options_out_of_range_are_refused_by_name_before_anything_connects() {
    let (policy, limits, options) = (BackoffPolicy::new(), OutboxLimits::new(), ResilientOptions::new());
    let backoffs = [
        (policy.with_base(Duration::ZERO), "`base`"),
        (policy.with_factor(0.9), "`factor`"),
        (policy.with_factor(f64::NAN), "`factor`"),
        (policy.with_factor(f64::INFINITY), "`factor`"),
        (policy.with_cap(Duration::ZERO), "`cap`"),
        (policy.with_jitter(-0.1), "`jitter`"),
        (policy.with_jitter(1.1), "`jitter`"),
        (policy.with_jitter(f64::NAN), "`jitter`"),
        (policy.with_max_attempts(0), "`max_attempts`"),
    ];
    let mut cases: Vec<(ResilientOptions, Vec<&str>)> = Vec::new();
    for (bad, field) in backoffs {
        cases.push((options.clone().with_reconnect(bad), vec!["reconnect", field]));
        cases.push((options.clone().with_retry(bad), vec!["retry", field]));
    }
    for (bad, words) in [
        (limits.with_max_messages(0), ["`max_messages`", "1"]),
        (limits.with_max_bytes(1023), ["`max_bytes`", "1024"]),
        (limits.with_in_flight(0), ["`in_flight`", "1"]),
    ] {
        cases.push((options.clone().with_outbox(bad), words.to_vec()));
    }
    cases.push((options.clone().with_connect_timeout(Duration::ZERO), vec!["`connect_timeout`"]));
    cases.push((options.clone().with_call_timeout(Duration::ZERO), vec!["`call_timeout`"]));
    cases.push((options.clone().with_send_timeout(Duration::ZERO), vec!["`send_timeout`"]));
    for (quota, field) in [
        (Quota::new(0, SECOND), "`messages`"),
        (Quota::new(1, Duration::ZERO), "`per`"),
        (Quota::new(1, SECOND).with_burst(0), "`burst`"),
    ] {
        let (agent, conversation) = (RateLimits::default(), RateLimits::default());
        cases.push((options.clone().with_rate(agent.with_per_agent(quota)), vec!["per_agent", field]));
        let conversation = conversation.with_per_conversation(quota);
        cases.push((options.clone().with_rate(conversation), vec!["per_conversation", field]));
    }
    for (bad, words) in cases {
        let error = Resilient::connect(connector(&Loopback::new(), "a"), bad).await.expect_err(words[0]);
        says(&error, ErrorKind::Config, &words);
        assert_eq!(error.reached(), Reached::No);
    }
    // The largest there is of everything is allowed, and overflows nowhere.
    let endless = BackoffPolicy::new().with_base(Duration::MAX).with_cap(Duration::MAX);
    let endless = options
        .with_skip_own(false)
        .with_reconnect(endless.with_factor(f64::MAX).with_jitter(1.0).with_stable_after(Duration::MAX))
        .with_retry(endless)
        .with_connect_timeout(Duration::MAX)
        .with_call_timeout(Duration::MAX)
        .with_send_timeout(Duration::MAX)
        .with_drain_timeout(Duration::MAX);
    let session = Resilient::connect(connector(&Loopback::new(), "a"), endless).await.expect("connected");
    session.send(&Outbound::new(to("a"), Body::text("x"))).await.expect("accepted");
    session.close(CloseMode::Detach).await.expect("closed");

    let builder = Agent::builder(connector(&Loopback::new(), "a")).heartbeat(Duration::ZERO);
    says(&builder.start().await.expect_err("zero"), ErrorKind::Invalid, &["heartbeat", "zero"]);
}

/// Each bad message and the words of its refusal.
fn bad_messages() -> Vec<(Outbound, ErrorKind, Vec<String>)> {
    let message = || Outbound::new(to("a"), Body::text("x"));
    let mut cases = Vec::new();
    let mut case = |message: Outbound, kind: ErrorKind, words: &[&str]| {
        cases.push((message, kind, words.iter().map(|word| (*word).to_owned()).collect()));
    };
    let foreign = Outbound::new(Address::parse("mq9://host/b").expect("an address"), Body::text("x"));
    case(foreign, ErrorKind::Invalid, &["loopback", "mq9"]);
    case(Outbound::new(to("a"), Body::new("", "x")), ErrorKind::Invalid, &["media type", "empty"]);
    case(Outbound::new(to("a"), Body::new("a\nb", "x")), ErrorKind::Invalid, &["media type", "control"]);
    case(message().with_tag(""), ErrorKind::Invalid, &["tag", "empty"]);
    case(message().with_tag(" a"), ErrorKind::Invalid, &["tag", "blank"]);
    case(message().with_key("a\u{0}"), ErrorKind::Invalid, &["key", "control"]);
    case(message().with_header("", "x"), ErrorKind::Invalid, &["header", "name"]);
    case(message().with_header("a b", "x"), ErrorKind::Invalid, &["\"a b\"", "name"]);
    case(message().with_header("a", "x\ny"), ErrorKind::Invalid, &["\"a\"", "control"]);
    case(message().with_header("a", "x".repeat(4_097)), ErrorKind::TooLarge, &["\"a\"", "4097", "4096"]);
    let many = (0..5).fold(message(), |message, n| message.with_header(format!("h{n}"), "x".repeat(4_000)));
    case(many, ErrorKind::TooLarge, &["headers", "20010", "16384"]);
    cases
}

#[tokio::test(start_paused = true)]
async fn messages_that_cannot_travel_are_refused_by_name_and_not_sent() {
    for (bad, kind, words) in bad_messages() {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        for (over, agent) in agents("a").await {
            let error = agent.send(&bad).await.expect_err(over);
            says(&error, kind, &words);
            assert_eq!(error.reached(), Reached::No, "{over}");
        }
        for (over, transport) in both("a").await {
            let error = transport.capabilities().check(&bad).expect_err(over);
            says(&error, kind, &words);
            if over == "session" {
                says(&transport.send(&bad).await.expect_err(over), kind, &words);
            }
        }
    }
    for (over, transport) in both("a").await {
        let nobody = Outbound::new(to("nobody"), Body::text("x"));
        let error = transport.send(&nobody).await.expect_err(over);
        says(&error, ErrorKind::NotFound, &["send", "no such inbox"]);
        assert_eq!(error.reached(), Reached::Yes);
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_too_large_is_refused_with_its_size_and_the_limit() {
    let limited = agentchat_core::Capabilities::none(&["loopback"]);
    let mut limited = limited;
    limited.max_body = Some(4);
    let error = limited.check(&Outbound::new(to("a"), Body::text("12345"))).expect_err("large");
    says(&error, ErrorKind::TooLarge, &["body", "5 bytes", "at most 4"]);

    let outbox = OutboxLimits::new().with_max_bytes(2_000);
    let options = ResilientOptions::new().with_outbox(outbox).with_skip_own(false);
    let session = Resilient::connect(connector(&Loopback::new(), "a"), options).await.expect("connected");
    let large = Outbound::new(to("a"), Body::binary(vec![0; 2_000]));
    let error = session.send(&large).await.expect_err("large");
    says(&error, ErrorKind::TooLarge, &["outbox", "`max_bytes`", "2000"]);
    assert_eq!(error.reached(), Reached::No);
    let refused = session.try_send(large.clone()).expect_err("large");
    says(&refused.1, ErrorKind::TooLarge, &["outbox", "`max_bytes`", "2000"]);
    assert_eq!(refused.0, large, "it comes back");
}

#[tokio::test(start_paused = true)]
async fn an_outbox_that_is_full_says_which_limit_it_is() {
    let network = Loopback::new();
    let outbox = OutboxLimits::new().with_max_messages(1);
    let options = ResilientOptions::new().with_outbox(outbox).with_skip_own(false);
    let session = Resilient::connect(connector(&network, "a"), options).await.expect("connected");
    let one = session.try_send(Outbound::new(to("a"), Body::text("1"))).expect("there is room");
    let error = session.try_send(Outbound::new(to("a"), Body::text("2"))).expect_err("full").1;
    says(&error, ErrorKind::Backpressure, &["outbox is full", "`max_messages`"]);
    one.await.expect("accepted");
}

#[tokio::test(start_paused = true)]
async fn an_id_with_other_content_is_a_conflict() {
    for (over, agent) in agents("a").await {
        let first = Outbound::new(to("a"), Body::text("one"));
        agent.send(&first).await.expect("accepted");
        agent.send(&first).await.expect("the same value may be sent again");
        for other in [
            Outbound::new(to("a"), Body::text("two")),
            Outbound::new(to("b"), Body::text("one")),
            Outbound::new(to("a"), Body::text("one")).with_tag("t"),
        ] {
            let error = agent.send(&other.with_id(first.client_msg_id.clone())).await.expect_err(over);
            says(&error, ErrorKind::Conflict, &["client message id", "another content", "new id"]);
            assert_eq!(error.reached(), Reached::No);
        }
        let request =
            |text: &str| CallRequest::new(Body::text(text)).with_id(ClientMsgId::new("call").expect("id"));
        let _call = agent.call(&to("a"), request("one")).await.expect("sent");
        let error = agent.call(&to("a"), request("one")).await.expect_err(over);
        says(&error, ErrorKind::Conflict, &["correlation id", "under way"]);
        drop(_call);
        let error = agent.call(&to("a"), request("two")).await.expect_err(over);
        says(&error, ErrorKind::Conflict, &["client message id", "another content"]);
    }
    // What is still in a session's outbox is known there, too.
    let network = Loopback::new();
    let session = Resilient::connect(connector(&network, "a"), ResilientOptions::new().with_skip_own(false))
        .await
        .expect("connected");
    let first = Outbound::new(to("a"), Body::text("one"));
    let waiting = session.try_send(first.clone()).expect("there is room");
    let other = Outbound::new(to("a"), Body::text("two")).with_id(first.client_msg_id.clone());
    let error = session.try_send(other).expect_err("other content").1;
    says(&error, ErrorKind::Conflict, &["client message id", "another content", "new id"]);
    waiting.await.expect("accepted");
}

#[tokio::test(start_paused = true)]
async fn tags_of_others_are_refused_and_tags_that_are_spent_are_fine() {
    for (over, transport) in both("a").await {
        for tag in ["x", "1", "1.2.3", "-1.0", "99999999999999999999.1"] {
            let error = transport.ack(&[AckTag::new(tag).expect("tag")]).await.expect_err(tag);
            says(&error, ErrorKind::Invalid, &["ack", "tag is not from this"]);
            assert_eq!(error.reached(), Reached::No, "{over}");
        }
        transport.send(&Outbound::new(to("a"), Body::text("x"))).await.expect("accepted");
        let mut events = transport.subscribe(SubscribeOptions::own()).await.expect("subscribed").events;
        let delivery = loop {
            if let Event::Message(delivery) = soon(events.next()).await.expect("goes on").expect("no error") {
                break delivery;
            }
        };
        let tags = [delivery.tag.clone(), delivery.tag];
        transport.ack(&tags).await.expect("twice at once is fine");
        transport.ack(&tags).await.expect("and again");
        transport.ack(&[]).await.expect("and nothing");
    }
}

#[tokio::test(start_paused = true)]
async fn replies_that_no_call_waits_for_are_dropped_and_change_nothing() {
    for (over, agent) in agents("a").await {
        let (told, mut heard) = tokio::sync::mpsc::channel(1);
        let handler = move |request: Request| {
            let told = told.clone();
            async move {
                assert!(request.wants_reply());
                told.send(request.delivery().reply_to.clone().expect("a reply inbox")).await?;
                tokio::time::sleep(SECOND).await;
                request.reply(Body::text("the answer")).await?;
                Ok(())
            }
        };
        let serving = agent.serve(handler, ServeOptions::default()).await.expect(over);
        let call = agent.call(agent.address(), CallRequest::new(Body::text("x"))).await.expect("sent");
        let inbox = soon(heard.recv()).await.expect("it is being handled");
        // Under ids that nobody waits for, under none, and numbered oddly.
        let stray = || Outbound::new(inbox.clone(), Body::text("stray"));
        agent.send(&stray()).await.expect("the network takes it");
        for (id, seq) in [("unknown", "1"), ("unknown", "0"), ("other", "x"), ("other", "-1")] {
            let id = CorrelationId::new(id).expect("id");
            let numbered = stray().with_correlation_id(id).with_header("agentchat-reply-seq", seq);
            agent.send(&numbered).await.expect("the network takes it");
        }
        let reply = soon(call.response()).await.expect("an answer");
        assert_eq!(reply.body().as_str(), Some("the answer"), "{over}");
        assert_eq!(soon(serving.stop(SECOND)).await.unsettled, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_no_call_wants_no_reply() {
    for (over, agent) in agents("a").await {
        let (told, mut heard) = tokio::sync::mpsc::channel(1);
        let handler = move |request: Request| {
            let told = told.clone();
            async move { Ok(told.send(request.wants_reply()).await?) }
        };
        let _serving = agent.serve(handler, ServeOptions::default()).await.expect(over);
        agent.send(&Outbound::new(to("a"), Body::text("x"))).await.expect("accepted");
        assert_eq!(soon(heard.recv()).await, Some(false), "{over}: nobody waits for an answer");
    }
}

#[tokio::test(start_paused = true)]
async fn inboxes_that_are_not_there_are_not_found() {
    for (over, transport) in both("a").await {
        let gone = SubscribeOptions::existing(to("never.opened"));
        let error = transport.subscribe(gone).await.expect_err(over);
        says(&error, ErrorKind::NotFound, &["subscribe", "no such inbox"]);
        let error = transport.put(&to("nobody"), "k", Body::text("v")).await.expect_err(over);
        says(&error, ErrorKind::NotFound, &["put", "no such inbox"]);
        let error = transport.get(&to("nobody"), "k").await.expect_err(over);
        says(&error, ErrorKind::NotFound, &["get", "no such inbox"]);
        let conversation = ConversationId::new("c").expect("id");
        let rows = transport.replay(&conversation, ReplayRange::new(0, 1)).await.expect(over);
        assert!(rows.is_empty(), "nobody spoke in it");
    }
}

#[tokio::test(start_paused = true)]
async fn every_verb_after_the_end_is_closed_and_so_is_closing_again() {
    for (over, transport) in both("a").await {
        let mut events = transport.subscribe(SubscribeOptions::own()).await.expect("subscribed").events;
        transport.close(CloseMode::Detach).await.expect("closed");
        for (mode, words) in [
            (CloseMode::Detach, &["close", "already closed"][..]),
            (CloseMode::Retire, &["close", "already closed", "detached", "still registered"]),
        ] {
            let error = transport.close(mode).await.expect_err(over);
            says(&error, ErrorKind::Closed, words);
            assert_eq!((error.operation(), error.reached()), ("close", Reached::No), "{over}");
            assert!(!error.is_retryable());
        }
        let conversation = ConversationId::new("c").expect("id");
        let card = AgentCard::new("a", "x").expect("a card");
        let errors = [
            ("register", transport.register(&card).await.err()),
            ("unregister", transport.unregister().await.err()),
            ("report", transport.report(&Heartbeat::new("online", SECOND)).await.err()),
            ("discover", transport.discover(&Query::name("a")).await.err()),
            ("send", transport.send(&Outbound::new(to("a"), Body::text("x"))).await.err()),
            ("subscribe", transport.subscribe(SubscribeOptions::own()).await.err()),
            ("ack", transport.ack(&[AckTag::new("0.0").expect("tag")]).await.err()),
            ("put", transport.put(&to("a"), "k", Body::text("v")).await.err()),
            ("get", transport.get(&to("a"), "k").await.err()),
        ];
        for (verb, error) in errors {
            let error = error.unwrap_or_else(|| panic!("{over}: {verb} works"));
            says(&error, ErrorKind::Closed, &[verb, "closed"]);
            assert_eq!(error.reached(), Reached::No, "{over}: {verb}");
            assert!(!error.is_retryable());
        }
        if over == "session" {
            let error = transport.replay(&conversation, ReplayRange::new(0, 1)).await.expect_err(over);
            says(&error, ErrorKind::Closed, &["replay", "closed"]);
        }
        let end = loop {
            match soon(events.next()).await.expect("a last item") {
                Ok(_) => {}
                Err(error) => break error,
            }
        };
        says(&end, ErrorKind::Closed, &["closed"]);
        assert!(soon(events.next()).await.is_none(), "it is the last");
    }
    for (over, agent) in agents("a").await {
        let handler = |_: Request| async { Ok(()) };
        agent.close(CloseMode::Detach, SECOND).await.expect("closed");
        let error = agent.close(CloseMode::Detach, SECOND).await.expect_err(over);
        says(&error, ErrorKind::Closed, &["close", "the agent was already closed"]);
        let error = agent.close(CloseMode::Retire, SECOND).await.expect_err("its registration stays");
        says(&error, ErrorKind::Closed, &["close", "already closed", "detached", "still registered"]);
        let errors = [
            ("discover", agent.discover(&Query::name("a")).await.err()),
            ("send", agent.send(&Outbound::new(to("a"), Body::text("x"))).await.err()),
            ("call", agent.call(&to("a"), CallRequest::new(Body::text("x"))).await.err()),
            ("serve", agent.serve(handler, ServeOptions::default()).await.err()),
            ("report", agent.report(&Heartbeat::new("online", SECOND)).await.err()),
            ("put", agent.put_state("k", Body::text("v")).await.err()),
            ("get", agent.state_of(&to("a"), "k").await.err()),
        ];
        for (verb, error) in errors {
            let error = error.unwrap_or_else(|| panic!("{over}: {verb} works"));
            says(&error, ErrorKind::Closed, &[verb, "closed"]);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn serving_an_inbox_twice_is_a_conflict() {
    for (over, agent) in agents("a").await {
        let handler = |_: Request| async { Ok(()) };
        let _serving = agent.serve(handler, ServeOptions::default()).await.expect(over);
        let error = agent.serve(handler, ServeOptions::default()).await.expect_err(over);
        says(&error, ErrorKind::Conflict, &["serve", "being served already"]);
    }
}
