//! What a network can do, declared once: checked before a call, emulated where possible, and used by the
//! conformance suite to choose its cases.

use crate::disabled::disabled;
use crate::error::{Error, ErrorKind, Result};
use crate::header::is_line;
use crate::message::{Outbound, Priority};

/// What a transport can do, its limits and its guarantees. Everything but `headers` is off in
/// [`Capabilities::none`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// The URI schemes of addresses it can send to.
    pub schemes: &'static [&'static str],
    /// Header lines travel beside a body, and so do a message's sender, reply address and ids. On in
    /// [`none`](Self::none): nearly every network has a place for them. A transport that carries nothing but
    /// bodies switches it off; messages with headers are refused then, and whoever needs them puts them into
    /// the body above it.
    pub headers: bool,
    /// It has a directory: `register`, `unregister`, `discover`.
    pub directory: bool,
    /// The directory keeps cards, under the names that agents give themselves there: a card comes back byte
    /// for byte, registering takes a name from whoever holds it, and unregistering takes the entry out.
    /// Otherwise an agent is in the directory under the name of its account, as long as it has one:
    /// registering shows there of its card what the network has a place for, unregistering says that it is
    /// away, and queries by tag, by meaning and for everybody are unsupported.
    pub cards: bool,
    /// The directory compares meanings by itself. Otherwise a query by meaning falls back to text.
    pub semantic_search: bool,
    /// Others can read the status an agent reports.
    pub readable_status: bool,
    /// It keeps messages for an agent that is away.
    pub durable_inbox: bool,
    /// What `ack` does.
    pub ack: AckGuarantee,
    /// What order deliveries come in.
    pub order: OrderGuarantee,
    /// `seq` counts every message of a conversation that the inbox gets or its owner sends, without holes:
    /// what is missing between two numbers has not arrived yet. A session then puts each conversation of
    /// that inbox in order by number, whatever `order` says, and asks [`replay`](crate::Transport::replay)
    /// for what is missing. Where priorities overtake, or messages expire or are replaced, numbers have
    /// holes that nothing fills: leave it off there.
    pub numbered: bool,
    /// The server itself recognises a repeated `client_msg_id`.
    pub server_dedup: bool,
    /// Priorities other than normal are delivered first.
    pub priority: bool,
    /// Messages can expire.
    pub ttl: bool,
    /// Messages can be held back.
    pub delay: bool,
    /// Keyed state: `put`, `get`, and the `key` of a message.
    pub keyed_state: bool,
    /// `subscribe` can open a further inbox.
    pub extra_inbox: bool,
    /// `replay` reads history.
    pub replay: bool,
    /// It survives lost connections by itself: calls and subscriptions go on over the next one.
    pub reconnects: bool,
    /// There is no network behind it, because none is configured: see the [`Connector`](crate::Connector)
    /// that an `Option` of one is.
    pub disabled: bool,
    /// The largest body, in bytes.
    pub max_body: Option<usize>,
}

/// What acknowledging does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum AckGuarantee {
    /// Nothing: a message counts as delivered once it is written to the connection. At most once.
    None,
    /// What is not acknowledged comes again on the next attachment. At least once.
    Redelivers,
    /// The same, but the network keeps one cursor over the arrivals of a subscription: acknowledging a
    /// delivery acknowledges everything that arrived before it there. So what is settled while something
    /// before it is not may come again on the next attachment, too.
    ///
    /// Through a session ([`Resilient`](crate::Resilient)) tags are handed in in any order, as everywhere.
    /// For implementers: it hands a tag on only when everything that arrived before it on this subscription
    /// is settled, in that order; `ack` may move the cursor to the last of its tags and need not remember
    /// what is settled below it. Whoever uses such a transport without a session has to do the same. Rows
    /// read from history did not arrive on the subscription: their tags are not handed in, and the cursor
    /// waits until they are settled. What never arrived below the cursor, because the network dropped it on
    /// a living connection, is found in history as soon as its conversation goes on.
    Cumulative,
}

/// What order deliveries come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum OrderGuarantee {
    /// None.
    None,
    /// As sent, within a conversation and priority.
    ConversationAndPriority,
    /// As sent, within a conversation.
    Conversation,
}

impl Capabilities {
    /// Nothing but sending and subscribing.
    pub const fn none(schemes: &'static [&'static str]) -> Self {
        Self {
            schemes,
            headers: true,
            directory: false,
            cards: false,
            semantic_search: false,
            readable_status: false,
            durable_inbox: false,
            ack: AckGuarantee::None,
            order: OrderGuarantee::None,
            numbered: false,
            server_dedup: false,
            priority: false,
            ttl: false,
            delay: false,
            keyed_state: false,
            extra_inbox: false,
            replay: false,
            reconnects: false,
            disabled: false,
            max_body: None,
        }
    }

    /// The same as a session over this network has it: it orders by number.
    pub(crate) fn in_session(mut self) -> Self {
        if self.numbered {
            self.order = OrderGuarantee::Conversation;
        }
        self
    }

    /// Checks a message before the transport sees it.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] for an option the network lacks, [`ErrorKind::TooLarge`] for the body,
    /// [`ErrorKind::Invalid`] for an address of another network, and for a media type, key, tag or header
    /// that cannot travel as one line: with a control character or a blank at an end, or (but for a key)
    /// empty.
    pub fn check(&self, message: &Outbound) -> Result<()> {
        if self.disabled {
            return Err(disabled("send"));
        }
        if !self.schemes.iter().any(|scheme| message.to.has_scheme(scheme)) {
            let what =
                format!("this transport sends to {:?}, not to {:?}", self.schemes, message.to.scheme());
            return Err(Error::new(ErrorKind::Invalid, "send", what));
        }
        for (wanted, able, what) in [
            (message.priority != Priority::Normal, self.priority, "priorities"),
            (message.ttl.is_some(), self.ttl, "message ttl"),
            (message.delay.is_some(), self.delay, "delayed delivery"),
            (message.key.is_some(), self.keyed_state, "compaction keys"),
            (!message.headers.is_empty(), self.headers, "headers"),
        ] {
            if wanted && !able {
                return Err(Error::unsupported("send", format!("this network has no {what}")));
            }
        }
        if let Some(limit) = self.max_body.filter(|limit| message.body.bytes.len() > *limit) {
            let what = format!("the body has {} bytes; at most {limit}", message.body.bytes.len());
            return Err(Error::new(ErrorKind::TooLarge, "send", what));
        }
        let tags = message.tags.iter().map(|tag| ("a tag", tag.as_str(), false));
        let key = message.key.iter().map(|key| ("the key", key.as_str(), true));
        let media_type = [("the media type", message.body.media_type.as_str(), false)];
        for (what, text, may_be_empty) in tags.chain(key).chain(media_type) {
            if !is_line(text) || (text.is_empty() && !may_be_empty) {
                let fault = format!("{what} is empty or has a control character or a blank at an end");
                return Err(Error::new(ErrorKind::Invalid, "send", fault));
            }
        }
        message.headers.check()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Address, Body};
    use std::time::Duration;

    fn message() -> Outbound {
        Outbound::new(Address::parse("loopback://b").expect("valid"), Body::text("12345"))
    }

    #[test]
    fn options_the_network_lacks_are_refused_by_name() {
        let able = Capabilities { max_body: Some(5), headers: false, ..Capabilities::none(&["loopback"]) };
        able.check(&message()).expect("a plain message is fine");
        let minute = Duration::from_secs(60);
        for (asked, what) in [
            (message().with_priority(Priority::Urgent), "priorities"),
            (message().with_ttl(minute), "ttl"),
            (message().with_delay(minute), "delayed"),
            (message().with_key("k"), "keys"),
            (message().with_header("a", "b"), "headers"),
        ] {
            let error = able.check(&asked).expect_err(what);
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            assert!(error.to_string().contains(what), "{error}");
        }
        let tight = Capabilities { max_body: Some(4), ..Capabilities::none(&["loopback"]) };
        assert_eq!(tight.check(&message()).expect_err("large").kind(), ErrorKind::TooLarge);
        let foreign = Capabilities::none(&["mq9"]);
        assert_eq!(foreign.check(&message()).expect_err("foreign").kind(), ErrorKind::Invalid);
    }
}
