//! A NATS client handed in. **Outside the stability promise**: `async-nats` is 0.x, and each of its
//! releases may change this function's signature.

use std::sync::Arc;

use crate::client::Client;
use crate::connect::{Alarm, ConnectOptions, Link, Session};
use crate::error::Result;
use crate::uri::Mq9Uri;

impl Client {
    /// Speaks mq9 over an existing NATS connection. Of the options only the request timeout and the
    /// bound on calls in flight count; nothing is probed.
    ///
    /// The connection stays the application's: it reconnects as it was told to, [`Client::close`] leaves
    /// it open, and siblings share it. Its events are not heard here, so when it is lost, or the broker
    /// refuses a command, calls under way end by their deadline; NATS may send a command from its queue
    /// after a reconnect although its call has failed.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Config`] for options that cannot be meant.
    ///
    /// # Panics
    /// Outside a tokio runtime, as every use of the connection.
    pub fn from_nats(nats: async_nats::Client, options: ConnectOptions) -> Result<Self> {
        options.check()?;
        let info = nats.server_info();
        let uri = match Mq9Uri::plain(&info.host, info.port) {
            Some(uri) => uri,
            None => format!("nats://{}", Mq9Uri::CONNECTED).parse()?,
        };
        let timeout = options.request_timeout;
        let link = Link::new(nats, Arc::new(Alarm::default()), true);
        Ok(Self::over(Session::over(link, uri, options), timeout))
    }
}
