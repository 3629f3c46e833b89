//! What is refused, and in which words.

use super::kit::{
    DAY, attach, ending, is_quiet, next_message, pair, read, read_own, start, text, within, word,
};
use super::register::card;
use super::{Harness, Outcome};
use crate::address::Address;
use crate::directory::Query;
use crate::error::{ErrorKind, Reached, Result};
use crate::id::ConversationId;
use crate::message::{Body, Outbound, Priority};
use crate::options::SubscribeOptions;
use crate::transport::ReplayRange;

/// A message with a part that cannot travel is refused before it is sent, with that part's name.
pub async fn refuse_malformed_messages_by_name(harness: &dyn Harness) -> Outcome {
    let (alice, bob) = (start(harness, "alice").await, attach(harness, "bob").await);
    let mut events = read_own(&bob).await;
    let to = bob.address();
    let plain = || text(to, "malformed");
    let mut malformed = vec![
        (plain().with_header("bad name", "x"), "bad name"),
        (plain().with_header("", "x"), "header"),
        (plain().with_header("x-lines", "a\r\nb"), "x-lines"),
        (plain().with_header("x-blank", " a"), "x-blank"),
        (plain().with_header("x-large", "x".repeat(5_000)), "x-large"),
        (plain().with_tag(""), "tag"),
        (plain().with_tag("a\nb"), "tag"),
        (Outbound::new(to.clone(), Body::new("", "malformed")), "media type"),
        (Outbound::new(to.clone(), Body::new("text/plain\r\nx: y", "malformed")), "media type"),
    ];
    let many = (0..10).fold(plain(), |message, at| message.with_header(format!("h{at}"), "x".repeat(2_000)));
    malformed.push((many, "headers"));
    if alice.capabilities().keyed_state {
        malformed.push((plain().with_key("a\nb"), "key"));
    }
    if let Some(limit) = alice.capabilities().max_body {
        malformed.push((text(to, "x".repeat(limit + 1)), "body"));
    }
    for (message, part) in malformed {
        let error = alice.send(&message).await.expect_err(part);
        assert!(matches!(error.kind(), ErrorKind::Invalid | ErrorKind::TooLarge), "{part}: {error:?}");
        assert_eq!((error.reached(), error.is_retryable()), (Reached::No, false), "{part}");
        assert!(error.to_string().contains(part), "{part}: {error}");
    }
    alice.send(&text(to, "sound")).await.expect("accepted");
    assert_eq!(word(&next_message(&mut events).await), "sound");
    assert!(is_quiet(&mut events).await, "nothing else was sent");
    Outcome::Held
}

/// A send to an inbox that does not exist is the server's refusal, not a success.
pub async fn refuse_a_send_to_nobody(harness: &dyn Harness) -> Outcome {
    let alice = attach(harness, "alice").await;
    let error = alice.send(&text(&nobody(alice.address()), "hello")).await.expect_err("there is nobody");
    assert_eq!((error.kind(), error.reached()), (ErrorKind::NotFound, Reached::Yes));
    assert!(!error.is_retryable(), "{error:?}");
    Outcome::Held
}

/// An address of another network is refused, to send to and to read.
pub async fn refuse_addresses_of_other_networks(harness: &dyn Harness) -> Outcome {
    let (alice, agent) = (attach(harness, "alice").await, start(harness, "agent").await);
    let foreign = Address::parse("another-network://somebody").expect("valid");
    let error = agent.send(&text(&foreign, "x")).await.expect_err("the address is foreign");
    assert_eq!((error.kind(), error.reached()), (ErrorKind::Invalid, Reached::No));
    assert!(error.to_string().contains("another-network"), "{error}");
    let error = within(alice.send(&text(&foreign, "x"))).await.expect_err("the address is foreign");
    assert!(!error.is_retryable(), "{error:?}");
    let error = match within(alice.subscribe(SubscribeOptions::existing(foreign))).await {
        Ok(mut opened) => ending(&mut opened.events).await,
        Err(error) => error,
    };
    use ErrorKind::{Invalid, NotFound, Unsupported};
    assert!(matches!(error.kind(), Invalid | NotFound | Unsupported), "{error:?}");
    Outcome::Held
}

/// What the capabilities exclude is answered as unsupported, under the verb's name.
pub async fn refuse_what_the_network_lacks(harness: &dyn Harness) -> Outcome {
    let bob = attach(harness, "bob").await;
    let (able, at) = (bob.capabilities(), bob.address());
    if !able.directory {
        unsupported("register", bob.register(&card("nobody", "Is nowhere")).await);
        unsupported("unregister", bob.unregister().await);
        unsupported("discover", bob.discover(&Query::all()).await);
    }
    if !able.keyed_state {
        unsupported("put", bob.put(at, "key", Body::text("x")).await);
        unsupported("get", bob.get(at, "key").await);
    }
    if !able.replay {
        let conversation = ConversationId::new("c").expect("id");
        unsupported("replay", bob.replay(&conversation, ReplayRange::new(0, 1)).await);
    }
    if !able.extra_inbox {
        unsupported("subscribe", bob.subscribe(SubscribeOptions::fresh(DAY)).await);
    }
    for (lacking, message) in [
        (!able.priority, text(at, "x").with_priority(Priority::Urgent)),
        (!able.ttl, text(at, "x").with_ttl(DAY)),
        (!able.delay, text(at, "x").with_delay(DAY)),
        (!able.keyed_state, text(at, "x").with_key("key")),
    ] {
        if lacking {
            unsupported("send", able.check(&message));
        }
    }
    Outcome::Held
}

/// Neither errors nor what `Debug` shows of transports, subscriptions and deliveries gives a body or a
/// whole address away.
pub async fn refuse_tells_no_secret(harness: &dyn Harness) -> Outcome {
    let alice = attach(harness, "alicewithalongname").await;
    let bob = attach(harness, "bobwithalongname").await;
    let secret = "the plan of the house";
    let nobody = nobody(bob.address());
    let error = alice.send(&text(&nobody, secret)).await.expect_err("there is nobody");
    let subscription = within(bob.subscribe(SubscribeOptions::own())).await.expect("read");
    let mut shown = vec![format!("{bob:?}"), format!("{subscription:?}"), format!("{error} {error:?}")];
    drop(subscription);
    let message = text(bob.address(), secret);
    alice.send(&message).await.expect("accepted");
    let delivery = next_message(&mut read_own(&bob).await).await;
    shown.extend([format!("{message:?}"), format!("{delivery:?}")]);
    for shown in shown {
        assert!(!shown.contains(secret), "a body is shown: {shown}");
        for address in [alice.address(), bob.address(), &nobody] {
            assert!(!shown.contains(address.name()), "an address is shown: {shown}");
        }
    }
    Outcome::Held
}

/// Bounds of zero, under which nothing could be read, are refused by name. With bounds of one a reader is given
/// its messages one by one.
pub async fn refuse_bounds_of_zero(harness: &dyn Harness) -> Outcome {
    let (alice, bob) = pair(harness).await;
    for (messages, bytes, field) in [(0, 1, "max_unsettled"), (1, 0, "max_unsettled_bytes")] {
        let none = SubscribeOptions::own().with_max_unsettled(messages).with_max_unsettled_bytes(bytes);
        let error = match within(bob.subscribe(none)).await {
            Ok(_) => panic!("nothing could be read with `{field}` of zero"),
            Err(error) => error,
        };
        assert_eq!((error.kind(), error.reached()), (ErrorKind::Invalid, Reached::No), "{error:?}");
        assert!(error.to_string().contains(field), "{error}");
    }
    let one = SubscribeOptions::own().with_max_unsettled(1).with_max_unsettled_bytes(1);
    let mut events = read(&bob, one).await;
    for words in ["a", "b"] {
        alice.send(&text(bob.address(), words)).await.expect("accepted");
        let delivery = next_message(&mut events).await;
        assert_eq!(word(&delivery), words);
        bob.ack(&[delivery.tag]).await.expect("settled");
    }
    Outcome::Held
}

/// An inbox of this network that nobody has.
fn nobody(like: &Address) -> Address {
    Address::parse(format!("{}nobody", like.as_str())).expect("valid")
}

fn unsupported<T: std::fmt::Debug>(verb: &str, answer: Result<T>) {
    let error = answer.expect_err("the capability is off");
    assert_eq!((error.kind(), error.operation()), (ErrorKind::Unsupported, verb), "{error:?}");
    assert!(!error.is_retryable(), "{error:?}");
}
