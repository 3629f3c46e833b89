//! The engine behind a listener.

mod builder;
mod control;
mod host;
mod http;
mod io;
mod listener;
mod outbox;
mod socket;
mod webhook;

use std::fmt;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinHandle;

pub use builder::AgentChatServerBuilder;
pub(crate) use host::Host;
use listener::{accept, bind_again, listen};

use super::faults::Faults;

/// An AgentChat server in this process, on a port of 127.0.0.1. Dropping it stops everything.
///
/// What it knows outlives [`AgentChatServer::down`] and [`AgentChatServer::up`].
pub struct AgentChatServer {
    host: Arc<Host>,
    port: u16,
    timekeeper: JoinHandle<()>,
    listener: Option<JoinHandle<()>>,
    /// Keeps the port from being given away while the server is down.
    reserved: Option<TcpSocket>,
}

impl AgentChatServer {
    /// Begins to describe a server.
    pub fn builder() -> AgentChatServerBuilder {
        AgentChatServerBuilder::new()
    }

    /// Starts one with the newer server's behaviour.
    ///
    /// # Errors
    ///
    /// As [`AgentChatServerBuilder::start`].
    pub async fn start() -> std::io::Result<Self> {
        Self::builder().start().await
    }

    fn running(host: Arc<Host>, listener: TcpListener, port: u16) -> Self {
        let timekeeper = tokio::spawn(Arc::clone(&host).keep_time());
        let listener = tokio::spawn(accept(Arc::clone(&host), listener));
        AgentChatServer { host, port, timekeeper, listener: Some(listener), reserved: None }
    }

    /// Where REST calls go: `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn base_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Where sockets are opened: `ws://127.0.0.1:PORT/v1/ws`.
    #[must_use]
    pub fn ws_url(&self) -> String {
        format!("ws://127.0.0.1:{}/v1/ws", self.port)
    }

    /// The port; the same for the server's whole life.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What may go wrong.
    #[must_use]
    pub fn faults(&self) -> Faults {
        Faults::new(Arc::clone(&self.host))
    }

    /// Shuts down as for a deployment: nobody is accepted, requests under way are cut, sockets are closed
    /// with 1001. Those that have not said hello yet wait for their time to run out.
    ///
    /// # Errors
    ///
    /// If another process took the port in the moment between.
    pub async fn down(&mut self) -> std::io::Result<()> {
        self.close_door().await?;
        self.host.cut_requests();
        self.host.with(|engine, now| engine.shut_down(now));
        Ok(())
    }

    /// Ends everything at once, as when the process is killed. Agents seem to be online still.
    ///
    /// # Errors
    ///
    /// As [`AgentChatServer::down`].
    pub async fn kill(&mut self) -> std::io::Result<()> {
        self.close_door().await?;
        self.host.crash();
        Ok(())
    }

    /// Listens again on the same port. Nothing happens if the server is up already.
    ///
    /// # Errors
    ///
    /// If the port cannot be listened on.
    pub async fn up(&mut self) -> std::io::Result<()> {
        if self.listener.is_some() {
            return Ok(());
        }
        let socket = match self.reserved.take() {
            Some(socket) => socket,
            None => bind_again(self.port).await?,
        };
        let listener = listen(socket)?;
        self.listener = Some(tokio::spawn(accept(Arc::clone(&self.host), listener)));
        Ok(())
    }

    async fn close_door(&mut self) -> std::io::Result<()> {
        if let Some(listener) = self.listener.take() {
            listener.abort();
            // The port is free only when the task is gone.
            let _ = listener.await;
            self.reserved = Some(bind_again(self.port).await?);
        }
        Ok(())
    }
}

impl Drop for AgentChatServer {
    fn drop(&mut self) {
        self.timekeeper.abort();
        if let Some(listener) = &self.listener {
            listener.abort();
        }
        self.host.crash();
    }
}

impl fmt::Debug for AgentChatServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let up = self.listener.is_some();
        f.debug_struct("AgentChatServer").field("port", &self.port).field("up", &up).finish_non_exhaustive()
    }
}
