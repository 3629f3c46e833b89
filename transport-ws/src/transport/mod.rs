//! AgentChat as a transport: sends by REST, receives over the socket.
//!
//! `connector` attaches over a socket, `follower` by REST until the agent leads, `poll` by REST alone.
//! `frames` is what else
//! a socket brings. `reading` is one subscription: rows in their `order`, with their `fates`; `shared` is what it has in
//! common with the socket's task. `positions`, `lost` and `keeping` make good what older servers forget.

mod connector;
mod counts;
mod directory;
mod ending;
mod events;
mod fates;
mod follower;
mod frames;
mod invitations;
mod keeping;
mod leftover;
mod lost;
mod names;
mod order;
mod poll;
mod positions;
mod reading;
mod senders;
mod sends;
pub(crate) mod shared;
mod text_map;
mod verdict;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use agentchat_core::{
    AckTag, Address, AgentCard, Capabilities, CloseMode, CloseOnce, ConversationId, Delivery, Discovered,
    Error, ErrorKind, Heartbeat, Inbox, MessageId, Outbound, Query, Reached, Receipt, ReplayRange, Result,
    SendOutcome, SubscribeOptions, Subscription, Transport, Warning,
};
use async_trait::async_trait;
use tokio::time::{sleep, timeout};

pub use connector::AgentChatConnector;
pub use counts::ReceiveStats;
use directory::Directory;
use events::Events;
pub(crate) use frames::Pushes;
pub use frames::{Frames, Pushed};
use invitations::Invites;
pub use invitations::{Invitations, Invited};
use names::Names;
pub use poll::AgentChatPollConnector;
pub(crate) use poll::INTERVAL as POLL_INTERVAL;
use reading::{Reading, in_server_numbers, message_of, tag};
pub(crate) use sends::Sends;
use shared::{Owner, Shared};
use verdict::confirmed;

use crate::api::{AgentChat, Draft, History, Recipient, Sent};
use crate::http::ApiError;
use crate::map_error::ErrorCode;
use crate::mapping::{address_of, from_row, to_draft};
use crate::wire::MessageRow;

/// One attachment of an agent to AgentChat: a live socket, and REST beside it, made by
/// [`AgentChatConnector`]; or REST alone, made by [`AgentChatPollConnector`].
///
/// What it does that the [`Transport`] does not say:
/// - The directory of AgentChat lists accounts, under handles that are never given to somebody else. An agent
///   is in it as long as its account: registering sets its profile and its presence, unregistering its
///   presence. It is searched by handles: the exact one, or how they begin.
/// - An agent has one inbox, in which its calls are answered as well.
/// - Deliveries have the server's numbers, which count the server's conversations: a conversation that its
///   sender named has holes where others went. Missing numbers are looked for here, with 2 s of patience.
/// - A call that is not answered costs no attachment: its error advises to wait, and tells whether the call may
///   have taken effect. Where there is a socket, the server is asked over it at once whether it is there.
/// - A later subscription takes the inbox over from an earlier one.
pub struct AgentChatTransport {
    capabilities: Capabilities,
    address: Address,
    own: Arc<str>,
    client: AgentChat,
    names: Names,
    invites: Invites,
    shared: Arc<Shared>,
    owner: Arc<Owner>,
    end: CloseOnce,
}

impl AgentChatTransport {
    /// The API that this attachment uses, under its key. Calls are tried once.
    pub fn client(&self) -> &AgentChat {
        &self.client
    }

    /// Sends, and again where the server's clock second was full: a refusal that is known to have stored
    /// nothing and that names its end, a second away at most.
    async fn send_draft(&self, draft: &Draft) -> Result<Sent> {
        let mut seconds = FULL_SECONDS;
        loop {
            let error = match self.client.send(draft).await {
                Ok(sent) => return Ok(sent),
                Err(error) => error,
            };
            if let Some(wait) = full_second(&error)
                && seconds > 0
            {
                seconds -= 1;
                // Those who wait for the same second must not all come back at once.
                sleep(wait + Duration::from_millis(fastrand::u64(0..100))).await;
                continue;
            }
            // What is waited on may be this very message: stored by an attempt whose answer was lost.
            if error.error_code() == Some(ErrorCode::AwaitingReply)
                && let Ok(Some(row)) = self.client.find_sent(draft.to(), draft.client_msg_id()).await
            {
                if let (Some(server), Some(seq)) = (row.conversation_id(), row.seq()) {
                    self.shared.note_own(server, seq);
                }
                return Ok(Sent::found(row));
            }
            return Err(confirmed(&self.client, &self.own, without_names(error, draft.to())).await);
        }
    }

    /// A page of history as deliveries of one conversation.
    fn deliveries(&self, rows: Vec<MessageRow>, conversation: &ConversationId) -> Vec<Delivery> {
        let delivery = |row: MessageRow| {
            let delivery = from_row(&row, tag(&self.own, row.id()?)?)?;
            let delivery = in_server_numbers(delivery, &row, &self.names);
            (delivery.conversation.as_ref() == Some(conversation)).then_some(delivery)
        };
        rows.into_iter().filter_map(delivery).collect()
    }

    /// Tells the server what is settled, and goes. One that was dropped half way has told it to go.
    async fn leave(&self) -> Result<()> {
        if self.shared.ending().is_some() && !self.shared.inner().closing {
            return Ok(());
        }
        let kept = match &self.shared.keeping {
            Some(keeping) => timeout(CLOSING, keeping.flushed()).await.is_ok(),
            None => true,
        };
        let flushed = self.shared.acks.then(|| self.shared.flushed());
        self.shared.inner().closing = true;
        self.shared.work.notify_one();
        // The socket's task ends the attachment when the goodbye is answered, or by its own deadline.
        let ended = timeout(CLOSING, self.shared.ended()).await;
        self.shared.end(ending::Ending::Closed);
        // Nobody may be there any more to answer one that goes on where another was dropped.
        let written = match flushed {
            Some(mut flushed) => flushed.try_recv().is_ok() || self.shared.inner().all_told,
            None => true,
        };
        match ended {
            Ok(_) if written && kept => Ok(()),
            _ => Err(Error::new(
                ErrorKind::Timeout,
                "close",
                "what is settled could not be told to the server or kept",
            )
            .with_reached(Reached::Unknown)),
        }
    }

    fn directory(&self) -> Directory<'_> {
        Directory { client: &self.client, own: &self.own }
    }

    async fn history(
        &self,
        server: &str,
        conversation: &ConversationId,
        range: ReplayRange,
    ) -> Result<Vec<Delivery>> {
        let (mut found, mut after) = (Vec::new(), range.from.saturating_sub(1));
        for _ in 0..REPLAY_PAGES {
            let page = self.client.history(server, History::After(after)).await?;
            let last = page.readable().filter_map(MessageRow::seq).max();
            let is_last = page.is_last();
            let rows = page.rows.into_iter().filter_map(std::result::Result::ok).collect();
            found.extend(self.deliveries(rows, conversation));
            match last {
                Some(last) if !is_last && last > after && found.len() < range.limit => after = last,
                _ => break,
            }
        }
        found.retain(|delivery| delivery.seq.is_none_or(|seq| seq >= range.from));
        Ok(found)
    }
}

#[async_trait]
impl Transport for AgentChatTransport {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn address(&self) -> &Address {
        &self.address
    }

    /// Proves the key, shows the name and the description of `card` in the profile where they differ from
    /// what is there, sets the presence to online, and looks for invitations to groups. A card that is named
    /// like the agent's handle leaves the name that is shown as it is. The profile holds 100 characters of a
    /// name and 500 of a description; the rest of the card has no place on this network.
    async fn register(&self, card: &AgentCard) -> Result<()> {
        let registering = async {
            self.directory().register(card).await?;
            // Told of apart, and asked for again: the registration stands.
            self.invites.look(&self.client).await;
            Ok(())
        };
        self.shared.under("register", registering).await
    }

    /// Sets the presence to offline. The account, its profile and its inbox stay: handles are never given to
    /// somebody else, and whoever knows this one may go on writing to it.
    async fn unregister(&self) -> Result<()> {
        self.shared.under("unregister", self.directory().unregister()).await
    }

    /// Sets the presence that contacts see. The words that AgentChat has (`online`, `busy`, `offline`) are
    /// the status; any other is `online` with that word as message. Load and tasks are not carried.
    async fn report(&self, heartbeat: &Heartbeat) -> Result<()> {
        self.shared.under("report", self.directory().report(heartbeat)).await
    }

    /// Finds the agent of a handle ([`Query::name`]), or those whose handle begins with 2 to 50 characters
    /// ([`Query::text`]). Their profile is given as a card, their presence as status: alive is who has a
    /// connection. The server allows 60 searches a minute.
    ///
    /// # Errors
    /// [`Unsupported`](ErrorKind::Unsupported) for queries by tag, by meaning and for everybody.
    async fn discover(&self, query: &Query) -> Result<Discovered> {
        self.shared.under("discover", self.directory().discover(query)).await
    }

    async fn send(&self, message: &Outbound) -> Result<Receipt> {
        self.shared.check("send")?;
        let draft = to_draft(message)?;
        let sent = self.shared.under("send", self.send_draft(&draft)).await?;
        // Its number was told to the reader by the client itself.
        if let (Some(server), Some(name)) = (sent.row.conversation_id(), &message.conversation) {
            self.names.note(name.as_str(), server);
        }
        receipt(&sent)
    }

    async fn subscribe(&self, options: SubscribeOptions) -> Result<Subscription> {
        self.shared.check("subscribe")?;
        options.check()?;
        match &options.inbox {
            Inbox::Own => {}
            Inbox::Existing(address) if *address == self.address => {}
            Inbox::Existing(address) if address.scheme() != self.address.scheme() => {
                return Err(Error::new(ErrorKind::Invalid, "subscribe", "the address is of another network"));
            }
            _ => return Err(Error::unsupported("subscribe", "an agent of AgentChat has one inbox")),
        }
        let reading = Reading::begin(
            Arc::clone(&self.shared),
            Arc::clone(&self.owner),
            self.client.clone(),
            self.names.clone(),
            Arc::clone(&self.own),
            &options,
        );
        Ok(Subscription::new(self.address.clone(), Box::pin(Events::new(reading))))
    }

    async fn ack(&self, tags: &[AckTag]) -> Result<()> {
        self.shared.check("ack")?;
        let ids: Option<Vec<&str>> = tags.iter().map(|tag| message_of(&self.own, tag)).collect();
        let Some(ids) = ids else {
            return Err(Error::new(ErrorKind::Invalid, "ack", "a tag is not of this agent's inbox"));
        };
        self.shared.settle(&ids);
        if let Some(keeping) = &self.shared.keeping {
            keeping.settled(&ids);
        }
        Ok(())
    }

    async fn close(&self, _mode: CloseMode) -> Result<()> {
        // The account stays in either mode.
        self.end.close(CloseMode::Detach, |_| self.leave()).await
    }

    /// Reads the history of the server's conversation, or of all in which a name of a sender's own was seen
    /// by this connector: a name that was not is empty.
    async fn replay(&self, conversation: &ConversationId, range: ReplayRange) -> Result<Vec<Delivery>> {
        self.shared.check("replay")?;
        if range.limit == 0 {
            return Ok(Vec::new());
        }
        let reading = async {
            let mut found = Vec::new();
            for server in self.names.servers_of(conversation.as_str()) {
                found.extend(self.history(&server, conversation, range).await?);
            }
            found.sort_by_key(|delivery| delivery.seq);
            found.truncate(range.limit);
            Ok(found)
        };
        self.shared.under("replay", reading).await
    }
}

impl fmt::Debug for AgentChatTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentChatTransport").field("acks", &self.shared.acks).finish_non_exhaustive()
    }
}

fn receipt(sent: &Sent) -> Result<Receipt> {
    let id = MessageId::new(sent.row.id().unwrap_or_default()).map_err(|_| {
        Error::new(ErrorKind::Protocol, "send", "the server's id is unusable").with_reached(Reached::Yes)
    })?;
    let outcome = if sent.replayed { SendOutcome::Duplicate(id) } else { SendOutcome::Accepted(id) };
    let mut receipt = Receipt::new(outcome);
    receipt.seq = sent.row.seq();
    if let Some(warning) = &sent.backlog
        && let Some(recipient) = address_of(&warning.handle)
    {
        receipt.warnings.push(Warning::Backlog { recipient, waiting: warning.waiting });
    }
    receipt.skipped = sent.skipped.iter().filter_map(|handle| address_of(handle)).collect();
    Ok(receipt)
}

/// The wait that a send is worth which came in a second that was full.
fn full_second(error: &ApiError) -> Option<Duration> {
    let wait = error.retry_after().filter(|wait| *wait <= Duration::from_secs(1))?;
    (error.error_code() == Some(ErrorCode::RateLimited)).then_some(wait)
}

/// The server's words name the recipient; errors show no addresses.
fn without_names(mut error: ApiError, to: &Recipient) -> Error {
    let (Recipient::Agent(name) | Recipient::Group(name)) = to;
    error.hide(name);
    error.into()
}

/// How many full seconds one send waits out.
const FULL_SECONDS: u32 = 2;
/// Pages of history that one replay reads.
const REPLAY_PAGES: usize = 50;
/// How long closing may take.
const CLOSING: Duration = Duration::from_secs(3);
