//! What a NATS client says: one value per protocol line, its payload included.

use bytes::Bytes;

/// A complete protocol line from a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Frame {
    /// `CONNECT`, with its JSON text still to be read.
    Connect(Bytes),
    /// `PING`.
    Ping,
    /// `PONG`.
    Pong,
    /// `PUB` or `HPUB`.
    Publish(Publish),
    /// `SUB`.
    Subscribe(Subscribe),
    /// `UNSUB`; with `max`, only after so many messages in all.
    Unsubscribe { sid: String, max: Option<u64> },
    /// `INFO`, `+OK`: lines without meaning from a client.
    Noise,
}

/// A message on its way in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Publish {
    pub(crate) subject: String,
    pub(crate) reply: Option<String>,
    /// The raw block, `NATS/1.0` line and closing blank line included.
    pub(crate) header: Option<Bytes>,
    pub(crate) payload: Bytes,
}

/// A subscription wanted. The sid is text, as any client may choose it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Subscribe {
    pub(crate) subject: String,
    pub(crate) queue: Option<String>,
    pub(crate) sid: String,
}
