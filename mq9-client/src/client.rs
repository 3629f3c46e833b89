//! The client: one connection to a broker, shared by everyone who holds a clone.

mod call;
mod mailboxes;
mod messages;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub use mailboxes::Ensured;
pub use messages::Sent;

use crate::connect::{ConnectOptions, Session};
use crate::error::{Error, Result};
use crate::uri::Mq9Uri;

pub use crate::connect::ConnectionState;

/// A connection to an mq9 broker. Cloning is cheap and shares the connection; the last clone dropped
/// closes it.
///
/// Every call makes **one attempt** and ends by its deadline (the request timeout, unless
/// [`Client::with_timeout`] says otherwise). A call on a lost connection fails with
/// [`crate::ErrorKind::Disconnected`] at once, and so does one under way when the connection goes.
///
/// # Cancel safety
/// Every future may be dropped at any await. The command may then have been carried out or not, exactly
/// as after an error whose [`Error::reached`] is [`crate::Reached::Unknown`]: a dropped `send` may have
/// stored its message. NATS keeps a few dozen bytes for each abandoned call until its reply comes or
/// the connection ends.
///
/// # Order
/// The broker carries out the commands of one connection one at a time, in the order in which the
/// futures were first polled. A slow one therefore delays those behind it; use
/// [`Client::open_sibling`] where that matters.
#[derive(Clone)]
pub struct Client {
    pub(crate) session: Arc<Session>,
    timeout: Duration,
}

impl Client {
    /// Connects with the default options. See [`ConnectOptions::connect`].
    ///
    /// # Errors
    /// As [`ConnectOptions::connect`].
    pub async fn connect(url: &str) -> Result<Self> {
        ConnectOptions::new().connect(url).await
    }

    pub(crate) fn over(session: Session, timeout: Duration) -> Self {
        Self { session: Arc::new(session), timeout }
    }

    /// The same connection with another deadline for each call.
    pub fn with_timeout(&self, timeout: Duration) -> Self {
        Self { session: Arc::clone(&self.session), timeout }
    }

    /// The deadline of each call.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// A second connection to the same broker with the same options, but without the probe. What is
    /// slow on one does not delay the other. A client over a connection that was handed in shares it.
    ///
    /// # Errors
    /// As [`ConnectOptions::connect`], and the reason of the end once this client is closed.
    pub async fn open_sibling(&self) -> Result<Self> {
        Ok(Self::over(self.session.sibling().await?, self.timeout))
    }

    /// How many bytes a message may take on the wire, headers and encoding included, as the broker
    /// announced it. While the connection is down: as announced last.
    pub fn max_payload(&self) -> usize {
        self.session.max_payload()
    }

    /// The broker's address, without credentials and mailbox.
    pub fn server_uri(&self) -> Mq9Uri {
        self.session.uri()
    }

    /// Where the connection stands.
    pub fn state(&self) -> ConnectionState {
        self.session.state()
    }

    /// Waits until the state is other than `seen`, and gives it. States that pass quickly may be missed.
    pub async fn state_changed(&self, seen: ConnectionState) -> ConnectionState {
        self.session.state_other_than(seen).await
    }

    /// Waits until the client is finished, and gives the reason: closed by its owner, lost without
    /// reconnecting, or refused while reconnecting.
    pub async fn closed(&self) -> Error {
        self.session.closed().await
    }

    /// Closes the connection for every clone. What was handed to the socket goes out first, within the
    /// timeout; calls under way fail with [`crate::ErrorKind::Closed`]. Closing twice is the same as
    /// once. A connection that was handed in stays open.
    pub async fn close(&self) {
        self.session.close(self.timeout).await;
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("server", &self.server_uri())
            .field("state", &self.state())
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}
