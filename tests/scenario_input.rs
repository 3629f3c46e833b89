//! What callers and strangers get wrong: names, words, numbers and sizes. Each is refused before anything is
//! sent, in words that name the fault, or does no harm.

mod support;

use std::time::Duration;

use agentchat_core::{
    Address, Body, CloseMode, ErrorKind, Outbound, Priority, Query, Reached, Request, ServeOptions,
    SubscribeOptions,
};
use mq9_client::testing::{Broker, WireProfile};
use mq9_client::{ConsumerOptions, CreateMailbox, Lifetime, Message, QueryOptions};
use support::{SECOND, both_wires, broker, connector, create, fast_client, next, notes, start, text, within};
use transport_mq9::Mq9Connector;

fn bad_names() -> [(String, &'static str); 5] {
    [
        ("Coder.inbox".to_owned(), "'C' at byte 0; only a-z, 0-9 and dots are allowed"),
        ("my-agent".to_owned(), "'-' at byte 2; only a-z, 0-9 and dots are allowed"),
        ("a..b".to_owned(), "two dots in a row"),
        (".a".to_owned(), "must begin and end with a letter or digit"),
        ("n".repeat(129), "has 129 characters; at most 128 are allowed"),
    ]
}

#[tokio::test]
async fn mailbox_names_outside_the_rules_are_refused_where_they_are_written() {
    for (name, fault) in bad_names() {
        let error = Mq9Connector::builder("mq9://127.0.0.1:4222").inbox(&name).build().expect_err(&name);
        assert_eq!((error.kind(), error.reached()), (ErrorKind::Invalid, Reached::No));
        assert!(error.to_string().starts_with("inbox: ") && error.to_string().contains(fault), "{error}");
    }
    let error = Mq9Connector::builder("mq9://127.0.0.1:4222").inbox("").build().expect_err("empty");
    assert!(error.to_string().contains("is empty"), "{error}");
    let error = Mq9Connector::builder("mq9://127.0.0.1:4222").generated_inbox("My Agent").build();
    assert!(error.expect_err("a prefix").to_string().contains("'M' at byte 0"));
    let longest = "n".repeat(128);
    Mq9Connector::builder("mq9://127.0.0.1:4222").inbox(longest).build().expect("128 are allowed");
    let nobody = Address::parse("mq9://127.0.0.1:4222/").expect_err("no mailbox");
    assert!(nobody.to_string().contains("names nobody"), "{nobody}");
}

#[tokio::test]
async fn a_message_to_an_impossible_mailbox_is_refused_before_it_is_sent() {
    for broker in both_wires().await {
        let sender = start(&connector(&broker, "sender")).await;
        for (name, fault) in bad_names() {
            let to = Address::parse(format!("{}/{name}", broker.url())).expect("an address by its form");
            let error = sender.send(&text(&to, "x")).await.expect_err(&name);
            assert_eq!((error.kind(), error.reached()), (ErrorKind::Invalid, Reached::No));
            assert!(error.to_string().contains(fault), "{error}");
            assert!(!format!("{error} {error:?}").contains(&name), "the address is shown: {error:?}");
        }
        assert_eq!(broker.host().counts().sends, 0);
    }
}

#[test]
fn an_unknown_priority_is_refused_with_the_words_there_are() {
    for word in ["high", "Urgent", "", "-1"] {
        let error = word.parse::<mq9_client::Priority>().expect_err(word);
        assert_eq!(error.to_string(), format!("priority: {word:?} is none of normal, urgent, critical"));
    }
}

#[tokio::test]
async fn a_strangers_odd_headers_cost_no_message() {
    for wire in [WireProfile::Standard, WireProfile::RobustMq] {
        let broker = Broker::builder().wire(wire).start().await.expect("a broker");
        let reader = start(&connector(&broker, "reader")).await;
        let stranger = async_nats::connect(broker.nats_url()).await.expect("connects");
        let odd = [
            ("mq9-priority", "HIGH"),
            ("mq9-ttl", "-1"),
            ("mq9-delay", "soon"),
            ("mq9-tags", ",,"),
            ("amb-deadline", "-5"),
            ("amb-deadline", "99999999999999999999"),
            ("amb-deadline", "18446744073709551615"),
            ("agentchat-reply-seq", "-1"),
            ("agentchat-from", "nobody@nowhere"),
            ("agentchat-msg-id", ""),
            ("agentchat-conversation", "has blanks in it"),
            ("mq9-reply-to", "Not A Mailbox"),
            ("mq9-content-encoding", "base64"),
        ];
        for (number, (name, value)) in odd.iter().enumerate() {
            let mut headers = async_nats::HeaderMap::new();
            headers.insert(*name, *value);
            let subject = format!("$mq9.AI.MSG.SEND.{}", reader.address().name());
            let stored =
                stranger.request_with_headers(subject, headers, format!("odd number {number}!").into());
            within(5, "the request", stored).await.expect("stored");
        }
        let (told, mut heard) = tokio::sync::mpsc::channel(64);
        let handler = move |request: Request| {
            let told = told.clone();
            async move {
                let text = request.body().as_str().unwrap_or_default().to_owned();
                Ok(told.send((text, request.delivery().priority, request.delivery().deadline)).await?)
            }
        };
        let one = ServeOptions::default().with_concurrency(1);
        let serving = reader.serve(handler, one).await.expect("served");
        for (number, line) in odd.iter().enumerate() {
            let (text, priority, deadline) = next(&mut heard).await;
            assert_eq!((text, priority), (format!("odd number {number}!"), Priority::Normal));
            assert!(deadline.is_none_or(|at| at > std::time::SystemTime::now()), "{line:?}");
        }
        assert_eq!(serving.stop(SECOND).await.unsettled, 0);
    }
}

#[tokio::test]
async fn numbers_the_broker_cannot_take_are_refused_and_none_makes_anything_panic() {
    let broker = broker().await;
    let agent = start(&connector(&broker, "agent")).await;
    let day = Duration::from_secs(86_400);
    let to_self = || text(agent.address(), "x");
    let refused = [
        (to_self().with_delay(365 * day + SECOND), "a delay above 365 days"),
        (to_self().with_delay(Duration::MAX), "a delay above 365 days"),
        (to_self().with_ttl(Duration::MAX), "a ttl above 2^32 s"),
        (to_self().with_delay(day).with_key("k"), "loses its key and ttl"),
        (to_self().with_delay(day).with_ttl(day), "loses its key and ttl"),
    ];
    for (message, fault) in refused {
        let error = agent.send(&message).await.expect_err(fault);
        assert_eq!((error.kind(), error.reached()), (ErrorKind::Invalid, Reached::No));
        assert!(error.to_string().contains(fault), "{error}");
    }
    for (ttl, fault) in [(Duration::ZERO, "would mean forever"), (Duration::MAX, "a lifetime above 2^32 s")] {
        let opened = agent.transport().subscribe(SubscribeOptions::fresh(ttl)).await;
        let error = opened.expect_err(fault);
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains(fault), "{error}");
    }
    assert_eq!(broker.host().counts().sends, 0);

    // No bound at all is a bound as well.
    let boundless =
        SubscribeOptions::own().with_max_unsettled(usize::MAX).with_max_unsettled_bytes(usize::MAX);
    let (handler, mut heard) = notes();
    let options = ServeOptions::default().with_subscribe(boundless).with_concurrency(usize::MAX >> 4);
    let _serving = agent.serve(handler, options).await.expect("served");
    agent.send(&to_self()).await.expect("sent");
    assert_eq!(next(&mut heard).await, "x");
    agent.discover(&Query::all().with_limit(usize::MAX)).await.expect("an answer");
    let closed = within(10, "closing", agent.close(CloseMode::Detach, SECOND)).await;
    assert!(closed.expect("closed").drained);
}

#[tokio::test]
async fn a_consumer_takes_waits_of_any_length() {
    let broker = broker().await;
    let client = fast_client(&broker.url()).await;
    let inbox = create(&client, "inbox").await;
    let lifetime = Lifetime::For(Duration::MAX);
    let error = client.create_mailbox(CreateMailbox::unnamed().with_lifetime(lifetime)).await;
    assert!(error.expect_err("too long").to_string().contains("a lifetime above 2^32 s"));
    let error = client.query(&inbox, &QueryOptions::all().with_limit(u64::MAX)).await.expect_err("too many");
    assert!(error.to_string().contains("a limit must be from 1 to 100"), "{error}");
    let nothing = ConsumerOptions::new("g").with_max_outstanding(0);
    let error = client.consume(&inbox, nothing).await.expect_err("no room");
    assert!(error.to_string().contains("needs room for one message"), "{error}");

    let options = ConsumerOptions::new("g")
        .with_max_outstanding(usize::MAX)
        .with_max_outstanding_bytes(usize::MAX)
        .with_ack_every(usize::MAX, Duration::MAX)
        .with_retry_delay(Duration::MAX, Duration::MAX)
        .with_expiry_probe(Duration::MAX);
    let mut consumer = client.consume(&inbox, options).await.expect("consumed");
    for text in ["for ever", "now"] {
        client.send(&inbox, &Message::new(text)).await.expect("sent");
    }
    let first = within(10, "a message", consumer.next()).await.expect("goes on").expect("no error");
    consumer.acker().retry(first.id(), Duration::MAX);
    let second = within(10, "a message", consumer.next()).await.expect("goes on").expect("no error");
    assert_eq!(second.message.payload, "now");
    consumer.acker().settle(second.id());
    let finished = within(10, "finishing", consumer.acker().finish(Duration::MAX)).await;
    assert_eq!(finished.unsettled, [first.id()]);
    let mut again = client.consume(&inbox, ConsumerOptions::new("g")).await.expect("consumed");
    let back = within(10, "a message", again.next()).await.expect("goes on").expect("no error");
    assert_eq!(back.id(), first.id(), "what waits for ever is not lost");
    again.acker().settle_all([first.id(), second.id()]);
    within(10, "closing", again.close(Duration::MAX)).await;
}

#[tokio::test]
async fn a_body_at_the_limit_arrives_and_one_above_it_is_refused_here() {
    for max_payload in [64 * 1024, 1024 * 1024] {
        let broker = Broker::builder().max_payload(max_payload).start().await.expect("a broker");
        let (sender, reader) =
            (start(&connector(&broker, "sender")).await, start(&connector(&broker, "reader")).await);
        let limit = sender.capabilities().max_body.expect("a limit");
        let of = |size: usize| {
            [Body::text("x".repeat(size)), Body::binary(vec![0xff; size]), Body::text("é".repeat(size / 2))]
        };
        let (told, mut heard) = tokio::sync::mpsc::channel(64);
        let handler = move |request: Request| {
            let told = told.clone();
            async move { Ok(told.send(request.body().clone()).await?) }
        };
        let one = ServeOptions::default().with_concurrency(1);
        let _serving = reader.serve(handler, one).await.expect("served");
        for body in of(limit - 1).into_iter().chain(of(limit)) {
            let message = Outbound::new(reader.address().clone(), body.clone());
            sender.send(&message).await.expect("it fits");
            assert!(next(&mut heard).await == body, "changed on the way");
        }
        // As many headers as may travel still fit beside the largest body.
        let mut message = Outbound::new(reader.address().clone(), Body::binary(vec![0x80; limit]));
        for number in 0..4 {
            message = message.with_header(format!("h{number}"), "v".repeat(4_000));
        }
        sender.send(&message).await.expect("it fits");
        next(&mut heard).await;
        let sends = broker.host().counts().sends;
        for body in of(limit + 2) {
            let size = body.bytes.len();
            let error = sender.send(&Outbound::new(reader.address().clone(), body)).await;
            let error = error.expect_err("too large");
            assert_eq!((error.kind(), error.reached()), (ErrorKind::TooLarge, Reached::No));
            assert_eq!(error.to_string(), format!("send: the body has {size} bytes; at most {limit}"));
        }
        assert_eq!(broker.host().counts().sends, sends);
        sender.send(&text(reader.address(), "still alive")).await.expect("sent");
        assert_eq!(next(&mut heard).await, Body::text("still alive"));
    }
}
