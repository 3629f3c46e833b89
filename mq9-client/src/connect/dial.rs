//! One attempt at a connection.

use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_nats::{ConnectErrorKind, ReconnectToServer, ServerAddr, ServerError, rustls};

use crate::connect::link::{Alarm, Bell, Link};
use crate::connect::{ConnectOptions, Credentials, probe, tls};
use crate::error::{Advice, Error, ErrorKind, Reached, Result};
use crate::uri::Mq9Uri;

/// Connects once, and probes if the options say so.
pub(crate) async fn dial(uri: &Mq9Uri, options: &ConnectOptions) -> Result<Link> {
    let link = match tokio::time::timeout(options.connect_timeout, attempt(uri, options)).await {
        Ok(link) => link?,
        Err(_) => return Err(timed_out(uri, options)),
    };
    if options.probe {
        probe::probe(&link, options.request_timeout).await?;
    }
    tracing::debug!(target: "mq9_client", server = %uri.server(), "connected");
    Ok(link)
}

async fn attempt(uri: &Mq9Uri, options: &ConnectOptions) -> Result<Link> {
    let required = options.require_tls || uri.requires_tls();
    let server = address(&format!("nats://{}", uri.authority()))?;
    let nowhere = address(NOWHERE)?;
    let alarm = Arc::new(Alarm::default());
    let nats = nats_options(uri, options).await?;
    let nats = nats.tls_client_config(tls::config(options, required)?);
    let bell = Bell(Arc::clone(&alarm));
    // A connection never comes back by itself: NATS would replay commands whose callers have long been
    // told that they failed. With one attempt allowed, and that one aimed at a port nobody can serve,
    // the NATS task ends at once and fails everything that still waits.
    let (fresh, first) = (AtomicBool::new(true), server.clone());
    let nats = nats
        .require_tls(required)
        .event_callback(move |event| {
            bell.hear(&event);
            ready(())
        })
        .max_reconnects(1)
        .reconnect_to_server_callback({
            let nowhere = nowhere.clone();
            move |_, _| {
                let addr = if fresh.swap(false, Ordering::Relaxed) { first.clone() } else { nowhere.clone() };
                ready(Some(ReconnectToServer { addr, delay: Some(Duration::ZERO) }))
            }
        })
        .connect(vec![server, nowhere])
        .await
        .map_err(|error| refusal(uri, options, error))?;
    Ok(Link::new(nats, alarm, false))
}

async fn nats_options(uri: &Mq9Uri, options: &ConnectOptions) -> Result<async_nats::ConnectOptions> {
    let nats = async_nats::ConnectOptions::new()
        .name(&options.name)
        .connection_timeout(options.connect_timeout)
        .request_timeout(None)
        .ping_interval(options.ping_interval)
        .client_capacity(options.queue_capacity.min(tokio::sync::Semaphore::MAX_PERMITS))
        .subscription_capacity(SUBSCRIPTION_CAPACITY)
        .ignore_discovered_servers()
        .retain_servers_order();
    Ok(match options.credentials.as_ref().or(uri.credentials()) {
        None => nats,
        Some(Credentials::User { user, password }) => {
            nats.user_and_password(user.clone(), password.expose().to_owned())
        }
        Some(Credentials::Token(token)) => nats.token(token.expose().to_owned()),
        Some(Credentials::NkeySeed(seed)) => nats.nkey(seed.expose().to_owned()),
        Some(Credentials::File(path)) => nats.credentials_file(path).await.map_err(|error| {
            Error::new(ErrorKind::Config, "connect", "the credentials file cannot be used")
                .with_source(error.to_string())
        })?,
    })
}

fn refusal(uri: &Mq9Uri, options: &ConnectOptions, error: async_nats::ConnectError) -> Error {
    let unreachable = |what| {
        let what = format!("{} {what}", uri.server());
        Error::new(ErrorKind::Disconnected, "connect", what)
            .with_reached(Reached::No)
            .with_advice(Advice::Backoff)
    };
    let config = |what| Error::new(ErrorKind::Config, "connect", what);
    let refused = || Error::new(ErrorKind::Unauthorized, "connect", "the server refused the credentials");
    match error.kind() {
        ConnectErrorKind::TimedOut => timed_out(uri, options),
        ConnectErrorKind::AuthorizationViolation => refused(),
        ConnectErrorKind::Authentication => {
            config("the credentials cannot be used to sign").with_source(error)
        }
        ConnectErrorKind::ServerParse => config("the address cannot be used").with_source(error),
        ConnectErrorKind::Tls => config("the TLS material cannot be used").with_source(error),
        ConnectErrorKind::Dns => unreachable("names a host that cannot be resolved").with_source(error),
        ConnectErrorKind::Io | ConnectErrorKind::MaxReconnects => {
            if is_tls(&error) {
                config("the TLS handshake failed").with_source(error)
            } else if is_authentication(&error) {
                refused().with_source(error)
            } else {
                unreachable("cannot be reached").with_source(error)
            }
        }
    }
}

fn timed_out(uri: &Mq9Uri, options: &ConnectOptions) -> Error {
    let mut what = format!("{} did not answer in time", uri.server());
    if options.require_tls || uri.requires_tls() {
        what.push_str("; TLS is required here, and RobustMQ itself speaks none over NATS");
    }
    Error::new(ErrorKind::Timeout, "connect", what).with_reached(Reached::No)
}

fn is_tls(error: &async_nats::ConnectError) -> bool {
    std::error::Error::source(error)
        .and_then(|source| source.downcast_ref::<std::io::Error>())
        .and_then(std::io::Error::get_ref)
        .is_some_and(|inner| inner.is::<rustls::Error>())
}

fn is_authentication(error: &async_nats::ConnectError) -> bool {
    std::error::Error::source(error)
        .and_then(|source| source.downcast_ref::<ServerError>())
        .is_some_and(|refusal| refusal.to_string().to_ascii_lowercase().contains("auth"))
}

fn address(url: &str) -> Result<ServerAddr> {
    url.parse().map_err(|error: std::io::Error| {
        Error::new(ErrorKind::Config, "connect", "the address cannot be used").with_source(error)
    })
}

impl Bell {
    fn hear(&self, event: &async_nats::Event) {
        self.0.hear(event);
    }
}

/// Port 0 belongs to nobody, so connecting there fails at once and without leaving the machine.
const NOWHERE: &str = "nats://127.0.0.1:0";
/// Subscriptions are used for one echo at most.
const SUBSCRIPTION_CAPACITY: usize = 16;
