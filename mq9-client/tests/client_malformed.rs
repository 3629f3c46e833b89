//! Replies that no broker should give, and none at all: each must become an error that says what it is.

mod support;

use std::time::{Duration, Instant};

use mq9_client::{
    Advice, Client, ConnectOptions, CreateMailbox, DiscoverQuery, ErrorKind, FetchOptions, Group, Message,
    MsgId, QueryOptions, Reached,
};
use support::scripted::{Answer, Scripted};
use support::{address, within};

const MALFORMED: [&str; 6] = ["not json", "", "[]", "{}", r#"{"error":null}"#, r#"{"error":7}"#];

async fn connected(server: &Scripted) -> Client {
    within(10, "connecting", Client::connect(&server.url())).await.expect("connects")
}

#[tokio::test]
async fn a_reply_in_no_known_form_is_a_protocol_error_for_every_command() {
    for reply in MALFORMED {
        let server = Scripted::start(move |_| Answer::reply(reply)).await;
        let client = connected(&server).await;
        let (mailbox, group) = (address("agent.box"), Group::new("g").expect("valid"));
        let registration = mq9_client::Registration::text("a", "b").expect("valid");
        let outcomes = [
            client.create_mailbox(CreateMailbox::unnamed()).await.map(drop),
            client.mailbox_exists(&mailbox).await.map(drop),
            client.send(&mailbox, &Message::new("x")).await.map(drop),
            client.fetch(&mailbox, &FetchOptions::stateless()).await.map(drop),
            client.ack(&mailbox, &group, MsgId::new(1)).await,
            client.query(&mailbox, &QueryOptions::all()).await.map(drop),
            client.delete(&mailbox, MsgId::new(1)).await,
            client.register(&registration).await,
            client.unregister("a").await,
            client.report("a", "b").await,
            client.discover(&DiscoverQuery::all()).await.map(drop),
            client.discover(&DiscoverQuery::text("x")).await.map(drop),
        ];
        for (at, outcome) in outcomes.into_iter().enumerate() {
            let error = outcome.expect_err("a refusal");
            assert_eq!(error.kind(), ErrorKind::Protocol, "{reply:?} for command {at}: {error}");
            assert_eq!(error.broker_text(), Some(reply));
            assert!(!error.is_retryable());
        }
    }
}

#[tokio::test]
async fn a_success_without_its_field_is_a_protocol_error() {
    let server = Scripted::start(|_| Answer::reply(r#"{"error":""}"#)).await;
    let client = connected(&server).await;
    let mailbox = address("agent.box");
    let outcomes = [
        client.create_mailbox(CreateMailbox::unnamed()).await.map(drop),
        client.send(&mailbox, &Message::new("x")).await.map(drop),
        client.fetch(&mailbox, &FetchOptions::stateless()).await.map(drop),
        client.query(&mailbox, &QueryOptions::all()).await.map(drop),
        client.delete(&mailbox, MsgId::new(1)).await,
        client.discover(&DiscoverQuery::all()).await.map(drop),
    ];
    for outcome in outcomes {
        assert_eq!(outcome.expect_err("a refusal").kind(), ErrorKind::Protocol);
    }
}

#[tokio::test]
async fn the_raw_reply_in_an_error_is_cut_short_and_hides_the_mailbox() {
    let server =
        Scripted::start(|_| Answer::reply(format!("[\"agent.s3cret\",\"{}\"]", "x".repeat(5_000)))).await;
    let error = connected(&server)
        .await
        .send(&address("agent.s3cret"), &Message::new("x"))
        .await
        .expect_err("malformed");
    assert!(error.broker_text().is_some_and(|text| text.len() < 600));
    assert!(!format!("{error} {error:?}").contains("s3cret"));
}

#[tokio::test]
async fn a_malformed_reply_shows_nothing_of_the_messages_and_cards_in_it() {
    for reply in [
        r#"{"error":"","messages":[{"msg_id":"pa55word","payload":"pa55word","header":"mq9-reply-to: s3cret.box"}]}"#,
        r#"{"error":"","agents":{"name":"a","payload":"pa55word mq9://broker/s3cret.box"}}"#,
        r#"{"error":"","messages":"s3cret.box","agents":"s3cret.box"}"#,
    ] {
        let server = Scripted::start(move |_| Answer::reply(reply)).await;
        let client = connected(&server).await;
        let mailbox = address("agent.box");
        let errors = [
            client.fetch(&mailbox, &FetchOptions::stateless()).await.expect_err("malformed"),
            client.query(&mailbox, &QueryOptions::all()).await.expect_err("malformed"),
            client.discover(&DiscoverQuery::all()).await.expect_err("malformed"),
        ];
        for error in errors {
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains("s3cret") && !shown.contains("pa55word"), "{shown}");
        }
    }
}

#[tokio::test]
async fn an_id_below_zero_is_no_delay_unless_one_was_asked_for() {
    let server = Scripted::start(|_| Answer::reply(r#"{"error":"","msg_id":-1}"#)).await;
    let client = connected(&server).await;
    let mailbox = address("a");
    let plain = client.send(&mailbox, &Message::new("x")).await;
    assert_eq!(plain.expect_err("no id").kind(), ErrorKind::Protocol);
    let delayed = client.send(&mailbox, &Message::new("x").with_delay(Duration::from_secs(1))).await;
    assert_eq!(delayed.expect("delayed").id(), None);
}

#[tokio::test]
async fn another_name_than_asked_for_is_not_accepted() {
    let server = Scripted::start(|_| Answer::reply(r#"{"error":"","mail_address":"other"}"#)).await;
    let client = connected(&server).await;
    let outcome = client.create_mailbox(CreateMailbox::named(address("mine"))).await;
    assert_eq!(outcome.expect_err("another").kind(), ErrorKind::Protocol);
}

#[tokio::test]
async fn repeated_ids_in_one_reply_mean_partitions() {
    let row = |payload| {
        format!(r#"{{"msg_id":0,"payload":"{payload}","priority":"normal","header":null,"create_time":1}}"#)
    };
    let reply = format!(r#"{{"error":"","messages":[{},{}]}}"#, row("a"), row("b"));
    let server = Scripted::start(move |_| Answer::reply(reply.clone())).await;
    let client = connected(&server).await;
    let fetched = client.fetch(&address("a"), &FetchOptions::stateless()).await;
    assert_eq!(fetched.expect_err("partitioned").kind(), ErrorKind::Partitioned);
    let queried = client.query(&address("a"), &QueryOptions::all()).await;
    assert_eq!(queried.expect_err("partitioned").kind(), ErrorKind::Partitioned);
}

#[tokio::test]
async fn silence_ends_at_the_deadline_and_leaves_open_what_happened() {
    let server = Scripted::start(|_| Answer::Silence).await;
    let client = connected(&server).await.with_timeout(Duration::from_millis(150));
    let begun = Instant::now();
    let error = client.send(&address("a"), &Message::new("x")).await.expect_err("no reply");
    assert!((Duration::from_millis(150)..Duration::from_secs(3)).contains(&begun.elapsed()));
    assert_eq!((error.kind(), error.reached()), (ErrorKind::Timeout, Reached::Unknown));
    assert_eq!(error.advice(), Advice::Backoff);
}

#[tokio::test]
async fn an_unknown_command_fails_at_once_and_only_itself() {
    let server = Scripted::start(|asked| match asked.subject.as_str() {
        "$mq9.AI.MSG.SEND.a" => Answer::Error(format!("unrecognized mq9 subject: {}", asked.subject)),
        _ => Answer::Silence,
    })
    .await;
    let client = connected(&server).await.with_timeout(Duration::from_millis(900));
    let (a, b, message) = (address("a"), address("b"), Message::new("x"));
    let begun = Instant::now();
    let (refused, silent) = tokio::join!(
        async { (client.send(&a, &message).await.expect_err("unknown"), begun.elapsed()) },
        client.send(&b, &message),
    );
    assert_eq!((refused.0.kind(), refused.0.reached()), (ErrorKind::Unsupported, Reached::Yes));
    assert!(refused.1 < Duration::from_millis(700), "only after {:?}", refused.1);
    assert_eq!(silent.expect_err("no reply").kind(), ErrorKind::Timeout);
}

#[tokio::test]
async fn a_command_that_is_not_permitted_is_unauthorized() {
    let server = Scripted::start(|asked| {
        Answer::Error(format!("Permissions Violation for Publish to \"{}\"", asked.subject))
    })
    .await;
    let error = connected(&server).await.report("a", "b").await.expect_err("refused");
    assert_eq!((error.kind(), error.reached()), (ErrorKind::Unauthorized, Reached::No));
}

#[tokio::test]
async fn no_responder_any_more_may_pass() {
    let server = Scripted::start(|_| Answer::NoResponders).await;
    let error = connected(&server).await.report("a", "b").await.expect_err("nobody");
    assert_eq!((error.kind(), error.advice()), (ErrorKind::NotMq9, Advice::Backoff));
    assert_eq!(error.reached(), Reached::No);
}

#[tokio::test]
async fn a_message_that_lies_about_its_encoding_is_named() {
    let block = b"NATS/1.0\r\nmq9-content-encoding: base64\r\n\r\n";
    let reply = format!(
        r#"{{"error":"","messages":[{{"msg_id":41,"payload":"%%","priority":"normal","header":{block:?},"create_time":1}}]}}"#
    );
    let server = Scripted::start(move |_| Answer::reply(reply.clone())).await;
    let error = connected(&server)
        .await
        .fetch(&address("a"), &FetchOptions::stateless())
        .await
        .expect_err("undecodable");
    assert_eq!((error.kind(), error.message_id()), (ErrorKind::Protocol, Some(MsgId::new(41))));
}

#[tokio::test]
async fn calls_beyond_the_bound_wait_and_are_never_sent_after_their_deadline() {
    let server = Scripted::start(|_| Answer::Silence).await;
    let options = ConnectOptions::new().with_max_in_flight(2);
    let client = options.connect(&server.url()).await.expect("connects");
    let (patient, hasty) =
        (client.with_timeout(Duration::from_millis(800)), client.with_timeout(Duration::from_millis(100)));
    let under_way = [patient.report("a", "1"), patient.report("a", "2")];
    let waiting = [hasty.report("a", "3"), hasty.report("a", "4"), hasty.report("a", "5")];
    let all = async {
        tokio::join!(futures_util::future::join_all(under_way), futures_util::future::join_all(waiting))
    };
    let (under_way, waiting) = within(10, "the calls", Box::pin(all)).await;
    for outcome in under_way {
        assert_eq!(outcome.expect_err("silence").reached(), Reached::Unknown);
    }
    for outcome in waiting {
        let error = outcome.expect_err("no place");
        assert_eq!((error.kind(), error.reached()), (ErrorKind::Timeout, Reached::No));
    }
    let sent = server.asked().iter().filter(|asked| asked.payload != br#"{"name":""}"#).count();
    assert_eq!(sent, 2);
}
