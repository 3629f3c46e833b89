//! What comes back: messages as received, and the network's word on messages sent.

use std::fmt;
use std::time::SystemTime;

use bytes::Bytes;

use crate::address::Address;
use crate::header::Headers;
use crate::id::{AckTag, ClientMsgId, ConversationId, CorrelationId, MessageId, digest};
use crate::message::{Body, Priority};

/// A message as received.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Delivery {
    /// The server's id. Seen or not is decided by `client_msg_id` and the sender's name where there is
    /// one, else by this, never by `seq`.
    pub id: MessageId,
    /// The sender's id, when the network carried one.
    pub client_msg_id: Option<ClientMsgId>,
    /// The sender's inbox, as the sender gave it. It is not proof of who sent it.
    pub sender: Option<Address>,
    /// What it is ordered within.
    pub conversation: Option<ConversationId>,
    /// What it says.
    pub body: Body,
    /// Lines beside the body.
    pub headers: Headers,
    /// What the network itself says about the message, and no sender can write: mostly nothing. Headers are
    /// the sender's, whatever they are called; to be trusted is this.
    pub network: NetworkFacts,
    /// Where answers should go.
    pub reply_to: Option<Address>,
    /// The call that this asks or answers.
    pub correlation_id: Option<CorrelationId>,
    /// How urgent it is.
    pub priority: Priority,
    /// Its compaction key.
    pub key: Option<String>,
    /// Its labels.
    pub tags: Vec<String>,
    /// After this moment it should not be acted on.
    pub deadline: Option<SystemTime>,
    /// Its number within the conversation, where the network numbers.
    pub seq: Option<u64>,
    /// Messages of its conversation with higher numbers went before it: an [`Event::Gap`](crate::Event::Gap)
    /// told of it, or nobody could know that it was missing. It is new all the same, and handed out once.
    /// Told by a session ([`Resilient`](crate::Resilient)), or by a transport that looks after order itself,
    /// without [`Capabilities::numbered`](crate::Capabilities::numbered); others leave it `false`.
    pub late: bool,
    /// When the network stored it.
    pub created: Option<SystemTime>,
    /// When it arrived here.
    pub received: SystemTime,
    /// Whether it is known to have been delivered before.
    pub redelivered: bool,
    /// What to hand to [`Transport::ack`](crate::Transport::ack) once it is settled.
    pub tag: AckTag,
}

impl Delivery {
    /// A delivery with the parts every network has; the rest begins empty. For transports, and for tests
    /// of handlers.
    pub fn new(id: MessageId, tag: AckTag, body: Body) -> Self {
        Self {
            id,
            client_msg_id: None,
            sender: None,
            conversation: None,
            body,
            headers: Headers::new(),
            network: NetworkFacts::default(),
            reply_to: None,
            correlation_id: None,
            priority: Priority::Normal,
            key: None,
            tags: Vec::new(),
            deadline: None,
            seq: None,
            late: false,
            created: None,
            received: SystemTime::now(),
            redelivered: false,
            tag,
        }
    }

    /// What the message costs in memory, roughly: body, headers and the network's own words in bytes.
    pub fn size(&self) -> usize {
        self.body.bytes.len() + self.headers.size() + self.network.as_bytes().len()
    }

    /// What a repetition is recognised by: the sender's id under the sender's name, and without one of both the
    /// server's id: strangers who do not say who they are may use the same ids. It is short enough for the key
    /// of a store.
    pub(crate) fn identity(&self) -> String {
        let mut identity = String::new();
        self.write_identity(&mut identity);
        identity
    }

    /// Writes the [identity](Self::identity) behind what is in `to`.
    pub(crate) fn write_identity(&self, to: &mut String) {
        // No id and no name has a line break, so that no two pairs are written the same.
        let (Some(id), Some(sender)) = (&self.client_msg_id, &self.sender) else {
            to.push('s');
            return to.push_str(self.id.as_str());
        };
        match sender.name() {
            name if name.len() > LONG_NAME => {
                let digest = digest(name).to_string();
                for part in ["h", id.as_str(), "\n", &digest] {
                    to.push_str(part);
                }
            }
            name => {
                for part in ["c", id.as_str(), "\n", name] {
                    to.push_str(part);
                }
            }
        }
    }

    /// Where an answer goes: `reply_to`, else the sender's inbox.
    pub fn answer_address(&self) -> Option<&Address> {
        self.reply_to.as_ref().or(self.sender.as_ref())
    }
}

/// What a network says about a message, in its own format, which is its transport's to read. `Debug` shows how
/// long it is: it may name people.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct NetworkFacts(Bytes);

impl NetworkFacts {
    /// For transports: what the network said, and nothing of the sender's.
    pub fn new(bytes: impl Into<Bytes>) -> Self {
        Self(bytes.into())
    }

    /// What it says; empty when it says nothing.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for NetworkFacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NetworkFacts({} bytes)", self.0.len())
    }
}

/// The network's answer to a send.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Receipt {
    /// What became of the message.
    pub outcome: SendOutcome,
    /// The number the network gave the message in its conversation, counted as in the sender's own inbox
    /// (see [`Capabilities::numbered`](crate::Capabilities::numbered)). A session learns from it that this
    /// number is not missing there.
    pub seq: Option<u64>,
    /// Things the sender should know although the send succeeded.
    pub warnings: Vec<Warning>,
    /// Members of a group that did not get it.
    pub skipped: Vec<Address>,
}

impl Receipt {
    /// A receipt without warnings.
    pub fn new(outcome: SendOutcome) -> Self {
        Self { outcome, seq: None, warnings: Vec::new(), skipped: Vec::new() }
    }

    /// Sets the number of the message in its conversation.
    pub fn with_seq(mut self, seq: u64) -> Self {
        self.seq = Some(seq);
        self
    }

    /// The server's id, unless the message is deferred.
    pub fn message_id(&self) -> Option<&MessageId> {
        match &self.outcome {
            SendOutcome::Accepted(id) | SendOutcome::Duplicate(id) => Some(id),
            SendOutcome::Deferred => None,
        }
    }
}

/// What became of a message that was sent. Each is the server's own word.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendOutcome {
    /// Stored under this id.
    Accepted(MessageId),
    /// The server had a message of that client id already, under this id. Nothing was stored.
    Duplicate(MessageId),
    /// Accepted, but it has no id yet (a delayed message).
    Deferred,
}

/// Something the sender should know although the send succeeded.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Warning {
    /// The recipient has this many messages waiting and may soon refuse more.
    Backlog {
        /// Whose inbox fills up.
        recipient: Address,
        /// How many messages wait there.
        waiting: u64,
    },
}

/// Names beyond it are told apart by their digest.
const LONG_NAME: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_fits_the_key_of_a_store_and_long_names_stay_apart() {
        let from = |name: &str, id: &str| {
            let mut delivery = Delivery::new(
                MessageId::new("m").expect("valid"),
                AckTag::new("t").expect("valid"),
                Body::text(""),
            );
            delivery.client_msg_id = Some(ClientMsgId::new(id).expect("valid"));
            delivery.sender = Some(Address::of("loopback", name).expect("valid"));
            delivery.identity()
        };
        let (long, id) = ("n".repeat(5_000), "i".repeat(128));
        assert_eq!(from("bob", "1"), "c1\nbob");
        assert!(from(&long, &id).len() <= 200 && from(&"n".repeat(512), &id).len() <= 900);
        assert_eq!(from(&long, &id), from(&long, &id));
        assert_ne!(from(&long, &id), from(&format!("{long}n"), &id));
        assert_ne!(from(&long, "1"), from(&long, "2"));
    }

    #[test]
    fn two_strangers_who_use_one_id_and_name_no_sender_are_two() {
        let from_a_stranger = |row: &str| {
            let (id, tag) = (MessageId::new(row).expect("valid"), AckTag::new("t").expect("valid"));
            let mut delivery = Delivery::new(id, tag, Body::text(""));
            delivery.client_msg_id = Some(ClientMsgId::new("1").expect("valid"));
            delivery.identity()
        };
        assert_ne!(from_a_stranger("row-1"), from_a_stranger("row-2"));
        assert_eq!(
            from_a_stranger("row-1"),
            from_a_stranger("row-1"),
            "the same row again is no other message"
        );
    }
}
