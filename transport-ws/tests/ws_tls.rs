//! TLS: whom an agent trusts, for REST and the socket alike, and what it says when it does not.
#![cfg(feature = "test-server")]

mod ws_support;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use agentchat_core::{Connector, Error, ErrorKind};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use transport_ws::http::RetryPolicy;
use transport_ws::testing::Profile;
use transport_ws::{AgentChat, AgentChatConfigBuilder, AgentChatConnector};
use ws_support::{World, message, read, say, within, word};

/// An authority of one's own.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    pem: Scratch,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("signed");
        let pem = Scratch::new(&issuer.pem());
        Self { issuer, pem }
    }

    /// What a server of that name needs, valid now or long ago.
    fn server(&self, host: &str, expired: bool) -> Arc<ServerConfig> {
        let mut params = CertificateParams::new(vec![host.to_owned()]).expect("a name");
        if expired {
            params.not_before = rcgen::date_time_ymd(2001, 1, 1);
            params.not_after = rcgen::date_time_ymd(2002, 1, 1);
        }
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("signed");
        let chain = vec![certificate.der().clone()];
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(chain, key);
        Arc::new(config.expect("a usable certificate"))
    }
}

/// TLS in front of a double.
struct Front {
    port: u16,
    config: Arc<Mutex<Arc<ServerConfig>>>,
    task: JoinHandle<()>,
}

impl Front {
    async fn of(world: &World, config: Arc<ServerConfig>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let (port, behind) = (listener.local_addr().expect("an address").port(), world.server.port());
        let config = Arc::new(Mutex::new(config));
        let current = Arc::clone(&config);
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let config = Arc::clone(&current.lock().unwrap_or_else(PoisonError::into_inner));
                connections.spawn(async move {
                    let mut outside = TlsAcceptor::from(config).accept(stream).await?;
                    let mut inside = TcpStream::connect(("127.0.0.1", behind)).await?;
                    tokio::io::copy_bidirectional(&mut outside, &mut inside).await
                });
            }
        });
        Self { port, config, task }
    }

    /// From now on it shows another certificate.
    fn shows(&self, config: Arc<ServerConfig>) {
        *self.config.lock().unwrap_or_else(PoisonError::into_inner) = config;
    }

    fn config(&self, world: &World, name: &str) -> AgentChatConfigBuilder {
        world.config(name).with_base_url(format!("https://localhost:{}", self.port))
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A file for the time of a test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(text: &str) -> Self {
        let name = format!("transport-ws-{}.pem", agentchat_core::ClientMsgId::random());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).expect("written");
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What remains is in the system's temporary directory.
        let _ = std::fs::remove_file(&self.0);
    }
}

fn connector(config: AgentChatConfigBuilder) -> AgentChatConnector {
    ws_support::connector(config)
}

async fn refused(config: AgentChatConfigBuilder) -> Error {
    within(connector(config).connect()).await.expect_err("not trusted")
}

#[tokio::test]
async fn rest_and_socket_go_by_tls_under_a_private_authority() {
    for profile in [Profile::Current, Profile::Legacy] {
        let (world, ours, other) =
            (World::of(profile).await, Authority::new("ours"), Authority::new("other"));
        let front = Front::of(&world, ours.server("localhost", false)).await;
        let (ours_pem, other_pem) = (&ours.pem.0, &other.pem.0);
        for trusted in 0..3 {
            let config = |name| {
                let config = front.config(&world, name);
                match trusted {
                    0 => config.with_tls_roots(ours_pem),
                    1 => config.with_extra_tls_roots(ours_pem),
                    _ => config.with_tls_roots(other_pem).with_extra_tls_roots(ours_pem),
                }
            };
            let alice = within(connector(config("alice")).connect()).await.expect("trusted");
            let bob = within(connector(config("bob")).connect()).await.expect("trusted");
            let mut events = read(&bob).await;
            say(&alice, &bob, "by TLS").await;
            let delivery = message(&mut events).await;
            assert_eq!(word(&delivery), "by TLS");
            bob.ack(&[delivery.tag]).await.expect("settled");
            within(bob.close(agentchat_core::CloseMode::Detach)).await.expect("closed");
        }
    }
}

#[tokio::test]
async fn tls_neither_needs_nor_installs_a_provider_of_the_process() {
    let (world, ours) = (World::new().await, Authority::new("ours"));
    let front = Front::of(&world, ours.server("localhost", false)).await;
    // REST asks whose key it is, then the socket is opened.
    let bob = connector(front.config(&world, "bob").with_tls_roots(&ours.pem.0));
    within(bob.connect()).await.expect("trusted");
    assert!(CryptoProvider::get_default().is_none());
}

#[tokio::test]
async fn another_authority_is_a_clear_error_and_no_key_is_sent() {
    let (world, ours, other) = (World::new().await, Authority::new("ours"), Authority::new("other"));
    let front = Front::of(&world, other.server("localhost", false)).await;
    let trusting = || front.config(&world, "bob").with_tls_roots(&ours.pem.0);
    for config in [front.config(&world, "bob"), trusting()] {
        let error = refused(config).await;
        assert_eq!(error.kind(), ErrorKind::Config, "{error:?}");
        assert!(error.is_fatal() && error.to_string().contains("no trusted root"), "{error}");
    }
    let client = AgentChat::new(&trusting().build().expect("valid")).expect("a client");
    let error = client.with_retry(RetryPolicy::default()).me().await.expect_err("not trusted");
    assert_eq!((error.kind(), error.attempts()), (ErrorKind::Config, 1));
    assert_eq!(world.requests("GET", "/"), 0, "nothing was asked over it");
}

#[tokio::test]
async fn a_certificate_for_another_host_is_a_clear_error() {
    let (world, ours) = (World::new().await, Authority::new("ours"));
    let front = Front::of(&world, ours.server("elsewhere.test", false)).await;
    let error = refused(front.config(&world, "bob").with_tls_roots(&ours.pem.0)).await;
    assert_eq!(error.kind(), ErrorKind::Config, "{error:?}");
    assert!(error.to_string().contains("for another host"), "{error}");
    assert_eq!(world.requests("GET", "/"), 0);
}

#[tokio::test]
async fn a_certificate_that_has_expired_may_be_renewed() {
    let (world, ours) = (World::new().await, Authority::new("ours"));
    let front = Front::of(&world, ours.server("localhost", true)).await;
    let bob = connector(front.config(&world, "bob").with_tls_roots(&ours.pem.0));
    let error = within(bob.connect()).await.expect_err("expired");
    assert!(error.is_retryable() && !error.is_fatal(), "{error:?}");
    assert!(error.to_string().contains("has expired"), "{error}");
    front.shows(ours.server("localhost", false));
    within(bob.connect()).await.expect("renewed");
}

#[tokio::test]
async fn the_socket_trusts_nobody_else_than_rest_does() {
    let (world, ours, other) = (World::new().await, Authority::new("ours"), Authority::new("other"));
    let front = Front::of(&world, ours.server("localhost", false)).await;
    // Whose key it is is asked once; from then on connecting is the socket's alone.
    let bob = connector(front.config(&world, "bob").with_tls_roots(&ours.pem.0));
    within(bob.connect()).await.expect("trusted");
    let sockets = |world: &World| world.received().len();
    let before = sockets(&world);
    for (config, kind, words) in [
        (other.server("localhost", false), ErrorKind::Config, "no trusted root"),
        (ours.server("elsewhere.test", false), ErrorKind::Config, "for another host"),
        (ours.server("localhost", true), ErrorKind::Disconnected, "has expired"),
    ] {
        front.shows(config);
        let error = within(bob.connect()).await.expect_err("not trusted");
        assert_eq!(error.kind(), kind, "{error:?}");
        assert!(error.to_string().contains(words), "{error}");
    }
    assert_eq!(sockets(&world), before, "no greeting, and no key, was sent");
}
