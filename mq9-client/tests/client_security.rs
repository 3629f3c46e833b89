//! Logins and TLS against a real nats-server.
//!
//! Skipped, with a line saying so, where nats-server or openssl is not installed; a failure instead if
//! `REQUIRE_NATS_SERVER=1`.

#![cfg(feature = "test-broker")]

mod support;

use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use mq9_client::testing::{EngineHost, EngineProfile, NatsServer, Responder};
use mq9_client::{
    Client, ConnectOptions, ConnectionState, CreateMailbox, Error, ErrorKind, FetchOptions, Message, Reached,
    Reconnect,
};
use support::certs::Certs;
use support::configured::Configured;
use support::{address, installed, within};

fn ready() -> bool {
    installed("nats-server", NatsServer::available())
}

fn ready_for_tls() -> bool {
    ready() && installed("openssl", Certs::available())
}

fn host() -> EngineHost {
    EngineHost::in_memory(EngineProfile::robustmq())
}

async fn works(options: ConnectOptions, url: &str) -> Client {
    let client = within(10, "connecting", options.connect(url)).await.expect("connects");
    let mailbox = client.create_mailbox(CreateMailbox::unnamed()).await.expect("created");
    client.send(&mailbox, &Message::new("x")).await.expect("sent");
    assert_eq!(client.fetch(&mailbox, &FetchOptions::stateless()).await.expect("fetched").len(), 1);
    client
}

async fn refused(options: ConnectOptions, url: &str, kind: ErrorKind) -> Error {
    let error = within(10, "a refusal", options.connect(url)).await.expect_err("refused");
    assert_eq!((error.kind(), error.reached()), (kind, Reached::No), "{error:?}");
    error
}

fn options() -> ConnectOptions {
    ConnectOptions::new()
}

#[tokio::test]
async fn users_and_passwords_are_checked() {
    if !ready() {
        return;
    }
    let server = NatsServer::builder().user("ada", "s3cret").start().await.expect("a server");
    let _responder =
        Responder::builder(&server.url(), host()).user("ada", "s3cret").start().await.expect("one");
    works(options().with_user("ada", "s3cret"), &server.mq9_url()).await;
    works(options(), &server.mq9_url().replace("mq9://", "mq9://ada:s3cret@")).await;
    let over_the_uri = server.mq9_url().replace("mq9://", "mq9://ada:wrong@");
    works(options().with_user("ada", "s3cret"), &over_the_uri).await;
    for options in [options(), options().with_user("ada", "wrong"), options().with_token("s3cret")] {
        refused(options, &server.mq9_url(), ErrorKind::Unauthorized).await;
    }
}

#[tokio::test]
async fn tokens_are_checked() {
    if !ready() {
        return;
    }
    let server = NatsServer::builder().token("t0ken").start().await.expect("a server");
    let _responder = Responder::builder(&server.url(), host()).token("t0ken").start().await.expect("one");
    works(options().with_token("t0ken"), &server.mq9_url()).await;
    works(options(), &server.mq9_url().replace("mq9://", "mq9://t0ken@")).await;
    refused(options().with_token("other"), &server.mq9_url(), ErrorKind::Unauthorized).await;
}

#[tokio::test]
async fn nkeys_are_checked() {
    if !ready() {
        return;
    }
    let server = NatsServer::builder().nkey_user(NKEY_PUBLIC).start().await.expect("a server");
    let _responder =
        Responder::builder(&server.url(), host()).nkey_seed(NKEY_SEED).start().await.expect("one");
    works(options().with_nkey_seed(NKEY_SEED), &server.mq9_url()).await;
    refused(options().with_nkey_seed(USER_SEED), &server.mq9_url(), ErrorKind::Unauthorized).await;
    let broken = refused(options().with_nkey_seed("SUNOSEED"), &server.mq9_url(), ErrorKind::Config).await;
    assert!(!format!("{broken} {broken:?}").contains("SUNOSEED"));
}

#[tokio::test]
async fn credentials_files_are_checked() {
    if !ready() {
        return;
    }
    let server = Configured::start(&format!(
        "operator: {OPERATOR_JWT}\nresolver: MEMORY\nresolver_preload: {{ {ACCOUNT}: {ACCOUNT_JWT} }}"
    ))
    .await;
    let text = format!(
        "-----BEGIN NATS USER JWT-----\n{USER_JWT}\n------END NATS USER JWT------\n\n\
         -----BEGIN USER NKEY SEED-----\n{USER_SEED}\n------END USER NKEY SEED------\n"
    );
    let dir = support::scratch_dir("creds");
    let (good, other, garbage) = (dir.join("good.creds"), dir.join("other.creds"), dir.join("garbage.creds"));
    std::fs::write(&good, &text).expect("written");
    std::fs::write(&other, text.replace(USER_SEED, NKEY_SEED)).expect("written");
    std::fs::write(&garbage, "no credentials").expect("written");
    let nats = async_nats::ConnectOptions::new().credentials_file(&good).await.expect("readable");
    let nats = nats.connect(server.authority()).await.expect("connects");
    let mut requests = nats.subscribe("$mq9.AI.>").await.expect("subscribed");
    nats.flush().await.expect("flushed");
    let answering = tokio::spawn(async move {
        while let Some(request) = requests.next().await {
            let reply = request.reply.expect("a request");
            nats.publish(reply, r#"{"error":""}"#.into()).await.expect("answered");
        }
    });
    let url = format!("mq9://{}", server.authority());
    let client = options().with_credentials_file(&good).connect(&url).await.expect("connects");
    client.report("a", "b").await.expect("works");
    refused(options(), &url, ErrorKind::Unauthorized).await;
    refused(options().with_credentials_file(&other), &url, ErrorKind::Unauthorized).await;
    let error = refused(options().with_credentials_file(&garbage), &url, ErrorKind::Config).await;
    assert!(error.to_string().contains("credentials file"), "{error}");
    answering.abort();
    std::fs::remove_dir_all(dir).expect("removed");
}

#[tokio::test]
async fn tls_trusts_the_roots_given_and_no_others() {
    if !ready_for_tls() {
        return;
    }
    let certs = Certs::make();
    let server =
        NatsServer::builder().tls(certs.pem("server"), certs.key("server")).start().await.expect("a server");
    let responder = Responder::builder(&server.url(), host()).root_certificates(certs.pem("ca"));
    let _responder = responder.start().await.expect("one");
    let trusting = || options().with_tls_roots(certs.pem("ca"));
    works(trusting(), &server.mq9_url()).await;
    let plain = server.mq9_url().replace("mq9s://", "mq9://");
    works(trusting(), &plain).await;
    works(trusting().with_require_tls(true), &plain).await;
    let sibling = works(trusting(), &server.mq9_url()).await.open_sibling().await.expect("connects");
    sibling.report("a", "b").await.expect("works");
    refused(options(), &server.mq9_url(), ErrorKind::Config).await;
    let wrong = options().with_tls_roots(certs.pem("other-ca"));
    let error = refused(wrong, &server.mq9_url(), ErrorKind::Config).await;
    assert!(error.to_string().contains("TLS"));
}

#[tokio::test]
async fn a_certificate_for_another_host_is_not_accepted() {
    if !ready_for_tls() {
        return;
    }
    let certs = Certs::make();
    let server = NatsServer::builder().tls(certs.pem("elsewhere"), certs.key("elsewhere"));
    let server = server.start().await.expect("a server");
    refused(options().with_tls_roots(certs.pem("ca")), &server.mq9_url(), ErrorKind::Config).await;
}

#[tokio::test]
async fn client_certificates_are_presented() {
    if !ready_for_tls() {
        return;
    }
    let certs = Certs::make();
    let server = NatsServer::builder()
        .tls(certs.pem("server"), certs.key("server"))
        .verify_clients(certs.pem("ca"))
        .start()
        .await
        .expect("a server");
    let _responder = Responder::builder(&server.url(), host())
        .root_certificates(certs.pem("ca"))
        .client_certificate(certs.pem("client"), certs.key("client"))
        .start()
        .await
        .expect("one");
    let trusting = || options().with_tls_roots(certs.pem("ca"));
    let known = trusting().with_client_certificate(certs.pem("client"), certs.key("client"));
    works(known, &server.mq9_url()).await;
    refused(trusting(), &server.mq9_url(), ErrorKind::Config).await;
    let mixed = trusting().with_client_certificate(certs.pem("client"), certs.key("server"));
    refused(mixed, &server.mq9_url(), ErrorKind::Config).await;
}

#[tokio::test]
async fn required_tls_is_not_given_up_for_a_plain_server() {
    if !ready() {
        return;
    }
    let server = NatsServer::start().await.expect("a server");
    let _responder = Responder::start(&server.url(), host()).await.expect("one");
    works(options(), &server.mq9_url()).await;
    for (options, url) in [
        (options().with_require_tls(true), server.mq9_url()),
        (options(), server.mq9_url().replace("mq9://", "mq9s://")),
    ] {
        let error = within(10, "a refusal", options.connect(&url)).await.expect_err("refused");
        assert_eq!((error.kind(), error.reached()), (ErrorKind::Config, Reached::No), "{error:?}");
    }
}

#[tokio::test]
async fn a_server_without_mq9_is_named_at_once() {
    if !ready() {
        return;
    }
    let server = NatsServer::start().await.expect("a server");
    let begun = Instant::now();
    refused(options(), &server.mq9_url(), ErrorKind::NotMq9).await;
    assert!(begun.elapsed() < Duration::from_secs(3));
}

#[tokio::test]
async fn a_mailbox_that_is_not_permitted_is_refused_without_waiting() {
    if !ready() {
        return;
    }
    let server = Configured::start(
        r#"authorization { users = [
            { user: all, password: p }
            { user: some, password: p, permissions: { publish: { deny: ["$mq9.AI.MSG.SEND.forbidden"] } } }
        ] }"#,
    )
    .await;
    let url = |user: &str| format!("mq9://{user}:p@{}", server.authority());
    let _responder = Responder::start(&url("all"), host()).await.expect("one");
    let client = works(options(), &url("some")).await;
    client.create_mailbox(CreateMailbox::named(address("forbidden"))).await.expect("created");
    let begun = Instant::now();
    let error = client.send(&address("forbidden"), &Message::new("x")).await.expect_err("refused");
    assert_eq!((error.kind(), error.reached()), (ErrorKind::Unauthorized, Reached::No), "{error:?}");
    assert!(begun.elapsed() < Duration::from_secs(2), "only after {:?}", begun.elapsed());
    assert!(!format!("{error} {error:?}").contains("forbidden"));
    assert_eq!(client.state(), ConnectionState::Connected);
}

#[tokio::test]
async fn a_killed_server_is_noticed_at_once_and_come_back_to() {
    if !ready() {
        return;
    }
    let mut server = NatsServer::start().await.expect("a server");
    let host = host();
    let responder = Responder::start(&server.url(), host.clone()).await.expect("one");
    let quick = Reconnect::backoff(Duration::from_millis(10), Duration::from_millis(100));
    let client = works(options().with_reconnect(quick), &server.mq9_url()).await;
    server.down().expect("killed");
    let state = within(5, "the loss", client.state_changed(ConnectionState::Connected)).await;
    assert!(matches!(state, ConnectionState::Reconnecting { .. }), "{state:?}");
    drop(responder);
    server.up().await.expect("up");
    let _responder = Responder::start(&server.url(), host).await.expect("one");
    within(20, "coming back", async {
        let mut state = client.state();
        while state != ConnectionState::Connected {
            state = client.state_changed(state).await;
        }
    })
    .await;
    client.report("a", "b").await.expect("works");
}

// Made for these tests; nothing else ever trusted them.
const NKEY_PUBLIC: &str = "UA4SHUGJ3XPFCAMPUACMJDD3P5N3ICQZS4IYNJQ44CK2636ZVZWYHYY3";
const NKEY_SEED: &str = "SUAM6FF5BHP7I47RRB43GGGDWCN2HAW5KQQ7YZZSSMANY4TEQP7MQM7OFA";
const OPERATOR_JWT: &str = "eyJhbGciOiJlZDI1NTE5LW5rZXkiLCJ0eXAiOiJKV1QifQ.eyJpYXQiOjE3MDAwMDAwMDAsImlzcyI6Ik9EUUVQRDJRNlFBS1I1VTJQTVFJQ1RRQkJTTzI3M01MVEpBWktQTUJPSkFVRU9MVFhZREo3QUxTIiwianRpIjoib3BlcmF0b3IiLCJuYW1lIjoib3BlcmF0b3IiLCJuYXRzIjp7InR5cGUiOiJvcGVyYXRvciIsInZlcnNpb24iOjJ9LCJzdWIiOiJPRFFFUEQyUTZRQUtSNVUyUE1RSUNUUUJCU08yNzNNTFRKQVpLUE1CT0pBVUVPTFRYWURKN0FMUyJ9.T1vxb2J9mb817vVDoRdeFGrVVavT1qtT9WWYsERqHBUhOeoa_wp6N3V3NoBhvTpKjoYz_XWQgxXYqzeOES9yCQ";
const ACCOUNT: &str = "ACAS5X5SCLEKKPOXNGAL3R33J4NMBQV7BH4KPQPYN2W4LICXE4YOGIDS";
const ACCOUNT_JWT: &str = "eyJhbGciOiJlZDI1NTE5LW5rZXkiLCJ0eXAiOiJKV1QifQ.eyJpYXQiOjE3MDAwMDAwMDAsImlzcyI6Ik9EUUVQRDJRNlFBS1I1VTJQTVFJQ1RRQkJTTzI3M01MVEpBWktQTUJPSkFVRU9MVFhZREo3QUxTIiwianRpIjoiYWNjb3VudCIsIm5hbWUiOiJhY2NvdW50IiwibmF0cyI6eyJsaW1pdHMiOnsiY29ubiI6LTEsImRhdGEiOi0xLCJleHBvcnRzIjotMSwiaW1wb3J0cyI6LTEsImxlYWYiOi0xLCJwYXlsb2FkIjotMSwic3VicyI6LTEsIndpbGRjYXJkcyI6dHJ1ZX0sInR5cGUiOiJhY2NvdW50IiwidmVyc2lvbiI6Mn0sInN1YiI6IkFDQVM1WDVTQ0xFS0tQT1hOR0FMM1IzM0o0Tk1CUVY3Qkg0S1BRUFlOMlc0TElDWEU0WU9HSURTIn0.WijI51jADbbGfYIa6e-PdfXD2WJ1iM9UayEd3JoMSKEIwgV3AUy8ZVglhNdVtHJe1Otr2T9noltRU9AnI9NNAQ";
const USER_JWT: &str = "eyJhbGciOiJlZDI1NTE5LW5rZXkiLCJ0eXAiOiJKV1QifQ.eyJpYXQiOjE3MDAwMDAwMDAsImlzcyI6IkFDQVM1WDVTQ0xFS0tQT1hOR0FMM1IzM0o0Tk1CUVY3Qkg0S1BRUFlOMlc0TElDWEU0WU9HSURTIiwianRpIjoidXNlciIsIm5hbWUiOiJ1c2VyIiwibmF0cyI6eyJkYXRhIjotMSwicGF5bG9hZCI6LTEsInN1YnMiOi0xLCJ0eXBlIjoidXNlciIsInZlcnNpb24iOjJ9LCJzdWIiOiJVQU5IRU1RVEpOSk5FRUM3R0ozQTVWWEZBUTZCRDVBUDZXWEMzWERBQVBDQTdBSEZNWVJDVU1BUCJ9.-8SdViqsuz3ajYaUp6iyA7toik_1cllpN1Ze20r9PRAF5CN9gTzVXqniR_GPjRo45DAkKmHZZUiGL5rBT-2OCw";
const USER_SEED: &str = "SUAMDQFBIKVWOAOWKD2JMAOO72TTA75FGETCLDRQP5KJ5MB3VBB36KST6U";
