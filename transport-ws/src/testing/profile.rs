//! Which server is played, and how it decides what nobody knows for certain.

use std::time::Duration;

/// Which server is played.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Profile {
    /// The server of April 2026, of which there are recordings: a frame that is written counts as
    /// delivered, and there is no `ack` capability.
    Legacy,
    /// What later clients say of the server they meet: acknowledgements, context blocks, one cold
    /// message until there is a reply.
    #[default]
    Current,
}

/// What differs between servers, or is unknown. Each field starts at the profile's value, and where that
/// is not known either, at the one that helps a client least.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Switches {
    /// A message in a cold thread is refused until the other side has replied.
    pub awaiting_reply: bool,
    /// That refusal comes before the search for an earlier message with the same `client_msg_id`, so that
    /// a repetition of the very message that is waited on is refused too.
    pub awaiting_before_replay: bool,
    /// Messages and history carry a `context` block.
    pub context: bool,
    /// The `ack` capability can be negotiated.
    pub acks: bool,
    /// An acknowledgement may name a message that was never pushed on its socket.
    pub ack_unpushed: bool,
    /// A pushed message that is not acknowledged is pushed again on the same connection after so long.
    pub repush_after: Option<Duration>,
    /// `hello.ok` is sent after authentication by header.
    pub header_hello_ok: bool,
    /// A bad key in the header is answered with this status instead of an upgrade and close 1008.
    pub reject_upgrade: Option<u16>,
    /// System events of groups are pushed live. Their envelopes exist either way.
    pub push_system_events: bool,
    /// Live pushes carry the delivery's status.
    pub live_status: bool,
    /// Presence goes to those too who are somebody's contact only because a thread was answered. The
    /// recorded server tells those who added the contact themselves.
    pub presence_to_acquaintances: bool,
    /// Typing signals are passed on to the other participants.
    pub relay_typing: bool,
    /// The end of a full pause pushes what is stored.
    pub drain_on_unpause: bool,
    /// An agent may have so many sockets; further ones are closed with 1008.
    pub socket_limit: Option<usize>,
    /// So many rows at the end of each batch of the connect drain come again in the next one, as seen on
    /// a server that marks rows late. Only where acknowledgements are not negotiated.
    pub drain_overlap: usize,
    /// The pause between two batches of the connect drain.
    pub drain_pause: Duration,
    /// A contact that is added to a group joins at once instead of being invited.
    pub contacts_join_groups: bool,
    /// The directory can be read without a key.
    pub open_directory: bool,
    /// A directory offset beyond 10 000 is refused; otherwise it is clamped.
    pub strict_directory_offset: bool,
    /// Live agents per e-mail address.
    pub agents_per_email: usize,
    /// Agents per e-mail address in its whole life.
    pub lifetime_per_email: usize,
    /// The limits per client address on registration and recovery, and on anonymous directory reads.
    pub address_limits: bool,
    /// Each new account finds a message from the platform's own agent.
    pub welcome: bool,
    /// A restriction is weighed anew, and lifted, on each request of the restricted agent.
    pub lift_restrictions: bool,
    /// How long a claim of `/v1/reply/claim` holds.
    pub claim_lease: Duration,
    /// Every object has a member, and every socket now and then a frame, that no client has heard of.
    pub unknown_members: bool,
    /// How long a client may take for its `hello`.
    pub hello_timeout: Duration,
    /// Time between two pings of the server.
    pub ping_interval: Duration,
    /// How long the server waits for the pong.
    pub pong_timeout: Duration,
    /// How much may be queued for one socket, in bytes, before it is closed with 1013.
    pub send_buffer: usize,
}

impl Switches {
    pub(crate) fn of(profile: Profile) -> Self {
        let current = profile == Profile::Current;
        Switches {
            awaiting_reply: current,
            awaiting_before_replay: false,
            context: current,
            acks: current,
            ack_unpushed: true,
            repush_after: None,
            header_hello_ok: current,
            reject_upgrade: None,
            push_system_events: false,
            live_status: false,
            presence_to_acquaintances: current,
            relay_typing: false,
            drain_on_unpause: false,
            socket_limit: None,
            drain_overlap: 0,
            drain_pause: Duration::from_millis(100),
            contacts_join_groups: !current,
            open_directory: !current,
            strict_directory_offset: true,
            agents_per_email: if current { 10 } else { 1 },
            lifetime_per_email: if current { 30 } else { 3 },
            address_limits: true,
            welcome: false,
            lift_restrictions: true,
            claim_lease: Duration::from_secs(300),
            unknown_members: false,
            hello_timeout: Duration::from_secs(5),
            ping_interval: Duration::from_secs(if current { 45 } else { 30 }),
            pong_timeout: Duration::from_secs(if current { 30 } else { 10 }),
            send_buffer: 4 * 1024 * 1024,
        }
    }
}
