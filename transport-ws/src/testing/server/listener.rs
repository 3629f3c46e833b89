//! Accepting connections.

use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::host::Host;
use super::http::Connection;
use super::io::{Wire, Writing};

/// Takes a port of 127.0.0.1, without listening yet.
pub(crate) fn bind(port: u16) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    // Connections of the life before may still be dying on this port.
    socket.set_reuseaddr(true)?;
    socket.bind((Ipv4Addr::LOCALHOST, port).into())?;
    Ok(socket)
}

/// [`bind`] to a port that was ours until now. Another connection may have been given it in between, and gives
/// it back.
pub(crate) async fn bind_again(port: u16) -> io::Result<TcpSocket> {
    let mut tries = 0;
    loop {
        match bind(port) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && tries < PORT_TRIES => tries += 1,
            bound => return bound,
        }
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }
}

pub(crate) fn listen(socket: TcpSocket) -> io::Result<TcpListener> {
    socket.listen(BACKLOG)
}

/// Accepts until it is aborted.
pub(crate) async fn accept(host: Arc<Host>, listener: TcpListener) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                if host.script.refuses() {
                    continue;
                }
                let _ = stream.set_nodelay(true);
                let writing = Arc::new(Writing::default());
                let connection =
                    Connection { host: Arc::clone(&host), writing: Arc::clone(&writing), peer: peer.ip() };
                host.spawn_connection(serve(connection, stream));
            }
            // No file descriptors, for one: others may give some back.
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

async fn serve(connection: Connection, stream: TcpStream) {
    let wire = Wire::new(stream, Arc::clone(&connection.host), Arc::clone(&connection.writing));
    let service = service_fn(move |request| connection.clone().answer(request));
    let mut server = http1::Builder::new();
    // A connection may idle for as long as its client likes.
    server.timer(TokioTimer::new()).header_read_timeout(None).max_buf_size(MAX_HEAD);
    // What ends a connection is the client's affair, or a fault that was asked for.
    let _ = server.serve_connection(TokioIo::new(wire), service).with_upgrades().await;
}

const BACKLOG: u32 = 1024;
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);
const PORT_TRIES: u32 = 200;
const MAX_HEAD: usize = 256 * 1024;
