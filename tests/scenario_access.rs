//! Credentials and TLS: what is refused is refused once, at once, in clear words, and without the secret.

mod support;

use std::time::Instant;

use agentchat_core::{Advice, Connector, Error, ErrorKind, Reached, ServeOptions};
use mq9_client::ConnectOptions;
use mq9_client::testing::{Broker, WireProfile};
use support::scripted::{Answer, Manners, Scripted};
use support::{SECOND, connector_with, next, notes, start, text, within};
use transport_mq9::Mq9Connector;

async fn guarded(wire: WireProfile) -> Broker {
    Broker::builder().wire(wire).credentials("ada", "s3cret").start().await.expect("a broker")
}

async fn refusal(connector: Mq9Connector) -> Error {
    let begun = Instant::now();
    let error = within(5, "a refusal", connector.connect()).await.expect_err("refused");
    assert!(begun.elapsed() < 2 * SECOND, "only after {:?}", begun.elapsed());
    assert_eq!(error.reached(), Reached::No);
    error
}

#[tokio::test]
async fn wrong_credentials_are_unauthorized_at_once_and_no_secret_is_shown() {
    for wire in [WireProfile::Standard, WireProfile::RobustMq] {
        let broker = guarded(wire).await;
        let in_the_uri = broker.url().replace("mq9://", "mq9://ada:wr0ng@");
        for connector in [
            connector_with(&broker, "agent", ConnectOptions::new()),
            connector_with(&broker, "agent", ConnectOptions::new().with_user("ada", "wr0ng")),
            connector_with(&broker, "agent", ConnectOptions::new().with_user("eve", "s3cret")),
            connector_with(&broker, "agent", ConnectOptions::new().with_token("wr0ng")),
            Mq9Connector::builder(in_the_uri).build().expect("valid"),
        ] {
            assert!(!format!("{connector:?}").contains("wr0ng"));
            let error = refusal(connector).await;
            assert_eq!(error.kind(), ErrorKind::Unauthorized, "{error:?}");
            assert!(error.is_fatal() && error.advice() == Advice::Never);
            assert!(error.to_string().contains("refused the credentials"), "{error}");
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains("wr0ng") && !shown.contains("s3cret"), "{shown}");
        }
        assert_eq!(broker.host().counts().creates, 0, "nothing was done for a stranger");
    }
}

#[tokio::test]
async fn good_credentials_work_for_everything_an_agent_does() {
    for wire in [WireProfile::Standard, WireProfile::RobustMq] {
        let broker = guarded(wire).await;
        let agent =
            start(&connector_with(&broker, "agent", ConnectOptions::new().with_user("ada", "s3cret"))).await;
        let (handler, mut heard) = notes();
        let _serving = agent.serve(handler, ServeOptions::default()).await.expect("served");
        agent.send(&text(agent.address(), "to myself")).await.expect("sent");
        assert_eq!(next(&mut heard).await, "to myself");
        assert!(!agent.address().as_str().contains("s3cret"), "an address is handed to others");
    }
}

#[tokio::test]
async fn refused_credentials_are_tried_once() {
    let manners = Manners { ping_first: true, refuse_from: Some(0), ..Manners::default() };
    let server = Scripted::with_manners(manners, |_| Answer::Silence).await;
    let options = ConnectOptions::new().with_user("ada", "wr0ng");
    let connector = Mq9Connector::builder(server.url()).connect_options(options).build().expect("valid");
    let error = refusal(connector).await;
    assert_eq!(error.kind(), ErrorKind::Unauthorized, "{error:?}");
    server.open_connections(0).await;
    assert_eq!(server.accepted(), 1, "one connection, and no second try");
}

#[tokio::test]
async fn a_tls_address_of_a_plain_server_is_refused_and_never_falls_back() {
    for wire in [WireProfile::Standard, WireProfile::RobustMq] {
        let broker = guarded(wire).await;
        let url = broker.url().replace("mq9://", "mq9s://ada:s3cret@");
        let options = ConnectOptions::new().with_connect_timeout(SECOND);
        let connector = Mq9Connector::builder(url).connect_options(options).build().expect("valid");
        let error = refusal(connector).await;
        // A NATS server hangs up on the handshake; RobustMQ leaves it without an answer.
        match wire {
            WireProfile::RobustMq => assert_eq!(error.kind(), ErrorKind::Timeout, "{error:?}"),
            _ => assert_eq!(error.kind(), ErrorKind::Config, "{error:?}"),
        }
        assert!(error.to_string().contains("TLS"), "{error}");
        assert!(!format!("{error} {error:?}").contains("s3cret"));
    }
}

#[tokio::test]
async fn a_server_that_is_no_mq9_broker_is_named_as_such() {
    let server = Scripted::with_manners(Manners::default(), |_| Answer::NoResponders).await;
    let error = refusal(Mq9Connector::builder(server.url()).build().expect("valid")).await;
    assert_eq!(error.kind(), ErrorKind::Config);
    assert_eq!(error.to_string(), "connect: nothing answers mq9 commands on this server");
}

#[test]
fn an_address_that_is_none_is_refused_when_the_connector_is_built() {
    for (url, fault) in [
        ("http://127.0.0.1:4222", "none of mq9, mq9s, nats, tls"),
        ("127.0.0.1:4222", "has no scheme"),
        ("mq9://", "has no host"),
        ("mq9://127.0.0.1:99999", "a port that is not a number from 1 to 65535"),
        ("mq9://a b", "a host with characters other than"),
        ("mq9://:s3cret@127.0.0.1", "a password without a user"),
    ] {
        let error = Mq9Connector::builder(url).build().expect_err(url);
        assert_eq!((error.kind(), error.reached()), (ErrorKind::Config, Reached::No));
        assert!(error.to_string().contains(fault), "{url}: {error}");
        assert!(!format!("{error} {error:?}").contains("s3cret"));
    }
}
