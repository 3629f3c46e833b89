//! What goes over the line before anything else: the key in its one place, and never where it would be kept.
#![cfg(feature = "test-server")]

mod ws_support;

use std::cell::Cell;
use std::fmt::{self, Write};
use std::sync::{Arc, Mutex};

use agentchat_core::CloseMode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tracing::field::{Field, Visit};
use tracing::{Event, Metadata, Subscriber, span};
use transport_ws::Handshake;
use ws_support::{World, connector, within};

/// What clients say on each connection, byte for byte.
type Said = Arc<Mutex<Vec<Vec<u8>>>>;

/// Stands between the clients and a server, and keeps what the clients say.
struct Line {
    base: String,
    said: Said,
    task: JoinHandle<()>,
}

impl Line {
    async fn to(world: &World) -> Self {
        let server = world.server.base_url().trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let base = format!("http://{}", listener.local_addr().expect("an address"));
        let said = Said::default();
        let all = Arc::clone(&said);
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let (server, said) = (server.clone(), Arc::clone(&all));
                connections.spawn(async move { carry(client, &server, &said).await });
            }
        });
        Self { base, said, task }
    }

    /// The head of each request, in the order of the connections.
    fn heads(&self) -> Vec<String> {
        let said = self.said.lock().expect("not poisoned");
        let mut heads = Vec::new();
        for bytes in said.iter() {
            let text = String::from_utf8_lossy(bytes);
            let mut rest = &*text;
            // Bodies of JSON lie between, and frames behind: neither has this at the beginning of a line.
            while let Some(begin) =
                ["GET /", "POST /", "PATCH /", "PUT /"].iter().filter_map(|it| rest.find(it)).min()
            {
                let Some(length) = rest[begin..].find("\r\n\r\n") else { break };
                heads.push(rest[begin..begin + length].to_owned());
                rest = &rest[begin + length..];
            }
        }
        heads
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn carry(mut client: TcpStream, server: &str, said: &Said) {
    let Ok(mut server) = TcpStream::connect(server).await else { return };
    let number = {
        let mut said = said.lock().expect("not poisoned");
        said.push(Vec::new());
        said.len() - 1
    };
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
        (client.split(), server.split());
    let up = async {
        let mut bytes = [0; 4_096];
        while let Ok(count @ 1..) = from_client.read(&mut bytes).await {
            said.lock().expect("not poisoned")[number].extend_from_slice(&bytes[..count]);
            if to_server.write_all(&bytes[..count]).await.is_err() {
                break;
            }
        }
    };
    let down = async {
        let _ = tokio::io::copy(&mut from_server, &mut to_client).await;
    };
    tokio::select! {
        () = up => {}
        () = down => {}
    }
}

/// Keeps every field of every span and event.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<String>>);

impl Subscriber for Log {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &span::Attributes<'_>) -> span::Id {
        span.record(&mut self.clone());
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, values: &span::Record<'_>) {
        values.record(&mut self.clone());
    }

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        event.record(&mut self.clone());
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

impl Visit for Log {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let _ = writeln!(self.0.lock().expect("not poisoned"), "{field}={value:?}");
    }
}

/// Keeps what the libraries below log in the threads of clients: a server in the same process logs as well.
struct Libraries;

impl log::Log for Libraries {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        IS_CLIENT.get()
    }

    fn log(&self, record: &log::Record<'_>) {
        if IS_CLIENT.get() {
            let told = (record.level(), format!("{}: {}", record.target(), record.args()));
            LOGGED.lock().expect("not poisoned").push(told);
        }
    }

    fn flush(&self) {}
}

static LOGGED: Mutex<Vec<(log::Level, String)>> = Mutex::new(Vec::new());

thread_local! {
    static IS_CLIENT: Cell<bool> = const { Cell::new(false) };
}

#[tokio::test]
async fn no_request_line_and_no_log_has_the_key() {
    let log = Log::default();
    let _listening = tracing::subscriber::set_default(log.clone());
    log::set_logger(&Libraries).expect("nobody else listens");
    log::set_max_level(log::LevelFilter::Trace);
    IS_CLIENT.set(true);
    let servers = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let servers = servers.expect("a runtime");
    for handshake in [Handshake::Hello, Handshake::Header] {
        let world = servers.spawn(World::new()).await.expect("a server");
        let line = Line::to(&world).await;
        let key = world.server.agent("bob");
        let config = world.config("bob").with_base_url(&line.base).with_handshake(handshake);
        let bob = within(agentchat_core::Connector::connect(&connector(config))).await.expect("attached");
        bob.close(CloseMode::Detach).await.expect("closed");

        let heads = line.heads();
        let upgrades: Vec<&String> =
            heads.iter().filter(|head| head.to_lowercase().contains("upgrade: websocket")).collect();
        let [upgrade] = upgrades[..] else { panic!("{handshake:?}: {} sockets", upgrades.len()) };
        assert_eq!(upgrade.lines().next(), Some("GET /v1/ws HTTP/1.1"), "{handshake:?}");
        assert!(heads.len() > 1, "{handshake:?}: the account was not asked for");
        for head in &heads {
            let request = head.lines().next().expect("a first line");
            assert!(!request.contains(&key), "{handshake:?}: the key is in {request:?}");
        }
        // In the one, the key is in the first frame, which is masked; in the other, in a header of the upgrade.
        assert_eq!(upgrade.contains(&key), handshake == Handshake::Header, "{handshake:?}");
        let told = log.0.lock().expect("not poisoned").clone();
        assert!(!told.is_empty() && !told.contains(&key), "{handshake:?}: the key was logged");
        let logged = std::mem::take(&mut *LOGGED.lock().expect("not poisoned"));
        assert!(logged.iter().any(|(_, line)| line.starts_with("tungstenite")), "it is heard");
        let leaks: Vec<_> = logged.iter().filter(|(_, line)| line.contains(&key)).collect();
        // What the README says: the request that has the key, at the lowest level, and only with a header.
        let documented = |level: log::Level, line: &str| {
            handshake == Handshake::Header && level == log::Level::Trace && line.starts_with("tungstenite")
        };
        assert!(leaks.iter().all(|(level, line)| documented(*level, line)), "{handshake:?}: {leaks:?}");
        drop((bob, world));
    }
    servers.shutdown_background();
}
