//! What a session does with what arrives: each message once, in order, backlog before live, acknowledged
//! when it is settled and not before.

mod acks;
mod flow;
#[cfg(test)]
pub(crate) mod fuzz;
pub(crate) mod limits;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod readers;
mod seen;
#[cfg(test)]
mod tests;
mod unsettled;

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use tokio::time::Instant;

pub(crate) use self::acks::{AckLog, Wire};
use self::flow::Progress;
pub(crate) use self::limits::{AckStyle, InboxLimits, InboxStats};
use self::seen::Seen;
use self::unsettled::{Entry, Place, Unsettled};
use crate::dedup::Mark;
use crate::delivery::Delivery;
use crate::id::{AckTag, ConversationId};
use crate::options::SubscribeOptions;
use crate::session::order::Order;

/// One inbox over all the connections of a session.
///
/// The driver feeds it what happens and then takes [`Inbox::poll`] until it is empty; it reads the
/// subscription only while there is credit ([`Inbox::has_credit`]), and calls [`Inbox::on_tick`] at
/// [`Inbox::deadline`].
///
/// - **Once.** A message is recognised by its id under the sender's name (else by the server's id). A
///   repetition of a settled one is acknowledged again at once; one of a message in progress is
///   acknowledged together with it.
/// - **In order** within a conversation, by [`Order`]. Messages without conversation or number pass as they
///   arrive.
/// - **Backlog before live.** From [`Inbox::on_subscribed`] to [`Inbox::on_caught_up`], rows of a
///   conversation of which nothing passed yet wait, and so do rows above the number that is due. They may
///   take half of the credit; beyond that, the conversation that holds the most goes on. The end is
///   announced ([`InboxAction::CaughtUp`]) when everything that had arrived by then has passed.
/// - **Acknowledged when settled**, as [`AckStyle`](limits::AckStyle) says, on the connection it arrived on.
///   What was settled but not acknowledged when a connection ended comes again, and is acknowledged then.
/// - **Bounded**: unsettled messages by number and bytes, held ones included; remembered arrivals to
///   [`ARRIVALS_PER_MESSAGE`] times that number; remembered ids by number and age.
#[derive(Debug)]
pub(crate) struct Inbox {
    limits: InboxLimits,
    order: Order<Numbered>,
    unsettled: Unsettled,
    seen: Seen,
    acks: AckLog,
    steps: VecDeque<Step>,
    /// While the backlog is read: since when, and when something happened last.
    catching_up: Option<(Instant, Instant)>,
    /// How far settled ids have aged, and until when that was counted. While `behind` they do not age, so
    /// that what comes again after a long time without a connection is recognised.
    aged: Instant,
    counted: Instant,
    behind: bool,
    /// The backlog has been read; it has passed when no older row than this is held.
    caught_up_at: Option<u64>,
    /// Handed out in an earlier session and not settled.
    outstanding: HashSet<String>,
    stats: InboxStats,
    /// The identity that was written last.
    scratch: String,
    /// Whether somebody asks for the identities of what is handed out.
    keeps_identities: bool,
}

/// What the driver has to do.
#[derive(Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant, reason = "it is taken apart at once")]
pub(crate) enum InboxAction {
    /// Hand it to the reader, under a tag of the inbox's own. `late`: messages with higher numbers,
    /// own ones included, went before it.
    Deliver { delivery: Box<Delivery>, late: bool },
    /// Acknowledge these on the connection of now.
    Ack(Vec<AckTag>),
    /// Read history and answer with [`Inbox::on_history`], with no rows when it fails.
    AskHistory { conversation: ConversationId, from: u64, limit: usize },
    /// Tell the reader that the numbers from `expected` up to before `got` could not be had.
    Gap { conversation: ConversationId, expected: u64, got: u64 },
    /// Tell the reader that the backlog of this connection has been handed out.
    CaughtUp,
}

/// A delivery and its number among the unsettled.
#[derive(Debug)]
struct Numbered(u64, Box<Delivery>);

#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "few wait at a time")]
enum Step {
    Deliver(Numbered, bool),
    Ask(ConversationId, u64, usize),
    Gap(ConversationId, u64, u64),
    CaughtUp,
}

impl Inbox {
    /// An empty inbox that waits for its first backlog.
    pub(crate) fn new(limits: InboxLimits, now: Instant) -> Self {
        Self {
            order: Order::new(limits.order.clone()),
            unsettled: Unsettled::new(limits.session),
            seen: Seen::new(limits.seen_ids, limits.seen_age),
            acks: AckLog::new(limits.ack),
            steps: VecDeque::new(),
            catching_up: Some((now, now)),
            aged: now,
            counted: now,
            behind: true,
            caught_up_at: None,
            outstanding: HashSet::new(),
            stats: InboxStats::default(),
            scratch: String::new(),
            keeps_identities: false,
            limits,
        }
    }

    /// A subscription began: its backlog comes first.
    pub(crate) fn on_subscribed(&mut self, now: Instant) {
        self.catching_up = Some((now, now));
        self.caught_up_at = None;
        self.order.begin_catch_up();
    }

    /// The next reader has other bounds.
    pub(crate) fn set_bounds(&mut self, options: &SubscribeOptions) {
        self.limits.set_bounds(options);
    }

    /// The connection ended. What is held, queued or in the reader's hands stays; its tags are worth
    /// nothing any more, so nothing is acknowledged until it has come again.
    pub(crate) fn on_disconnected(&mut self, now: Instant) {
        self.acks.reset();
        self.unsettled.clear_wires();
        self.behind = true;
        self.on_subscribed(now);
    }

    /// The reader went away. What it was not handed is forgotten and comes again from the server; what it
    /// was handed it may still settle, until that has come again and been settled by the next reader.
    pub(crate) fn on_abandoned(&mut self, now: Instant) {
        self.steps.clear();
        self.order.forget();
        for number in self.unsettled.all_in(Place::Handed) {
            self.unsettled.move_to(number, Place::Loose);
        }
        let mut forgotten = self.unsettled.all_in(Place::Held);
        forgotten.extend(self.unsettled.all_in(Place::Queued));
        let loose = self.unsettled.all_in(Place::Loose);
        let surplus = loose.len().saturating_sub(self.limits.max_unsettled);
        forgotten.extend(&loose[..surplus]);
        let aged = self.aged(now);
        for entry in forgotten.into_iter().filter_map(|number| self.unsettled.remove(number)) {
            self.seen.abandon(entry.mark, aged);
        }
        self.on_disconnected(now);
    }

    /// A message arrived on the subscription.
    pub(crate) fn on_delivery(&mut self, delivery: impl Into<Box<Delivery>>, now: Instant) {
        let delivery = delivery.into();
        self.end_stale_catch_up(now);
        self.progress(now);
        let wire = self.acks.arrived(delivery.tag.clone());
        let mark = self.identify(&delivery);
        let aged = self.aged(now);
        if self.is_own(&delivery) {
            self.stats.received += 1;
            self.stats.self_filtered += 1;
            self.acks.settle_again(wire);
            self.note(delivery.conversation.as_ref(), delivery.seq, now);
        } else {
            self.take_in(mark, delivery, wire, (now, aged));
        }
        self.flow(now);
    }

    /// A message of somebody else arrived.
    fn take_in(&mut self, mark: Mark, delivery: Box<Delivery>, wire: Wire, (now, aged): (Instant, Instant)) {
        let loose = match self.progress_of(mark) {
            Progress::Here => {
                self.stats.received += 1;
                self.stats.duplicates += 1;
                self.join(mark, wire);
                return self.note(delivery.conversation.as_ref(), delivery.seq, now);
            }
            _ if self.seen.settled(mark, aged) => {
                self.stats.received += 1;
                self.stats.duplicates += 1;
                self.acks.settle_again(wire);
                return self.note(delivery.conversation.as_ref(), delivery.seq, now);
            }
            Progress::None => None,
            Progress::Loose(number) => Some(number),
        };
        match (&delivery.conversation, delivery.seq) {
            (Some(conversation), Some(seq)) if self.limits.numbered => {
                let conversation = conversation.clone();
                let numbered = self.admit(mark, loose, delivery, wire, Place::Held);
                self.order.row(&conversation, seq, numbered, now);
            }
            _ => {
                let numbered = self.admit(mark, loose, delivery, wire, Place::Queued);
                self.steps.push_back(Step::Deliver(numbered, false));
            }
        }
    }

    /// The transport has handed over what waited when the subscription began.
    pub(crate) fn on_caught_up(&mut self, now: Instant) {
        self.catching_up = None;
        (self.behind, self.counted) = (false, now);
        self.caught_up_at = Some(self.order.arrivals());
        self.order.end_catch_up(now);
        self.flow(now);
    }

    /// History answered, or failed (no rows). Rows of another conversation, without a number, or beyond the
    /// limit that was asked for are not used.
    pub(crate) fn on_history(&mut self, conversation: &ConversationId, rows: Vec<Delivery>, now: Instant) {
        let limit = self.order.asked(conversation).map_or(self.limits.order.history_rows, |(_, limit)| limit);
        let mut rows: Vec<(u64, Delivery)> = rows
            .into_iter()
            .filter(|row| row.conversation.as_ref() == Some(conversation))
            .filter_map(|row| Some((row.seq?, row)))
            .collect();
        rows.sort_by_key(|(seq, _)| *seq);
        rows.truncate(limit);
        let proven = rows.last().map(|(seq, _)| *seq);
        let (mut fresh, mut known) = (Vec::new(), Vec::new());
        let aged = self.aged(now);
        for (seq, row) in rows {
            let mark = self.identify(&row);
            let loose = match self.progress_of(mark) {
                Progress::Here => None,
                _ if self.is_own(&row) || self.seen.settled(mark, aged) => None,
                Progress::None => Some(None),
                Progress::Loose(number) => Some(Some(number)),
            };
            if let Some(loose) = loose {
                let wire = self.acks.read(row.tag.clone());
                fresh.push((seq, self.admit(mark, loose, row.into(), wire, Place::Held)));
            } else {
                known.push(seq);
            }
        }
        self.order.history(conversation, fresh, &known, proven, now);
        self.flow(now);
    }

    /// An own message got this number, by the network's word on sending it: it leaves no hole. Without
    /// effect when own messages are delivered.
    pub(crate) fn note_own_send(&mut self, conversation: &ConversationId, seq: u64, now: Instant) {
        if self.limits.own.is_some() && self.limits.numbered {
            self.order.sent(conversation, seq, now);
            self.flow(now);
        }
    }

    /// The same for a message that was sent before this inbox was read. What came between then and now may
    /// have been handled elsewhere, so nothing is concluded about it.
    pub(crate) fn note_earlier_send(&mut self, conversation: &ConversationId, seq: u64, now: Instant) {
        if self.limits.own.is_some() {
            self.note(Some(conversation), Some(seq), now);
            self.flow(now);
        }
    }

    /// `next` is the first number of the conversation that was not handled in an earlier session.
    pub(crate) fn resume(&mut self, conversation: &ConversationId, next: u64, now: Instant) {
        self.order.resume(conversation, next, now);
        self.flow(now);
    }

    /// `identity` was settled in an earlier session.
    pub(crate) fn restore(&mut self, identity: &str, now: Instant) {
        let aged = self.aged(now);
        self.seen.settle(self.seen.mark(identity), aged);
    }

    /// These were handed out in an earlier session, and perhaps handled, but not settled: when they come
    /// they are redelivered.
    pub(crate) fn restore_outstanding(&mut self, identities: HashSet<String>) {
        self.outstanding = identities;
    }

    /// From now on [`Inbox::identity`] is asked.
    pub(crate) fn keep_identities(&mut self) {
        self.keeps_identities = true;
    }

    /// The identity of what is handed out under `tag` and not settled, where identities are kept.
    pub(crate) fn identity(&self, tag: &AckTag) -> Option<&Arc<str>> {
        self.unsettled.identity(self.unsettled.by_handle(tag)?)
    }

    /// Whether the numbers of deliveries are looked at.
    pub(crate) fn is_numbered(&self) -> bool {
        self.limits.numbered
    }

    /// The number that is due in the conversation: all before it are accounted for.
    pub(crate) fn due(&self, conversation: &ConversationId) -> Option<u64> {
        self.order.due(conversation)
    }

    /// The reader settled what it was handed under `tag`. Gives the identity to keep for
    /// [`Inbox::restore`], or `None` when there is nothing of that tag to settle: doing it twice is fine.
    #[cfg(test)]
    pub(crate) fn settled(&mut self, tag: &AckTag, now: Instant) -> Option<Arc<str>> {
        let entry = self.unsettled.by_handle(tag).and_then(|number| self.unsettled.remove(number));
        let identity = self.settle(entry, now);
        self.after_settling(now);
        identity
    }

    /// One of several that are settled at once: [`Inbox::after_settling`] is to follow the last of them.
    /// Nothing for a tag that is not of this inbox; else whether it can be acknowledged only when its message
    /// has come again.
    pub(crate) fn settle_issued(&mut self, tag: &AckTag, now: Instant) -> Option<bool> {
        let number = self.unsettled.parse(tag)?;
        let entry = self.unsettled.remove_known(number);
        let must_come_again = entry.as_ref().is_some_and(|entry| entry.wires.is_empty());
        self.settle(entry, now);
        Some(must_come_again)
    }

    fn settle(&mut self, entry: Option<Entry>, now: Instant) -> Option<Arc<str>> {
        let entry = entry?;
        entry.wires.into_iter().for_each(|wire| self.acks.settle(wire));
        let aged = self.aged(now);
        self.seen.settle(entry.mark, aged);
        if let Some(identity) = &entry.identity {
            self.outstanding.remove(&**identity);
        }
        entry.identity
    }

    /// Goes on with the credit that settling gave back.
    pub(crate) fn after_settling(&mut self, now: Instant) {
        self.progress(now);
        self.flow(now);
    }

    /// Whether this inbox handed `tag` out, settled since or not.
    #[cfg(test)]
    pub(crate) fn issued(&self, tag: &AckTag) -> bool {
        self.unsettled.issued(tag)
    }

    /// Does what is due by time.
    pub(crate) fn on_tick(&mut self, now: Instant) {
        self.end_stale_catch_up(now);
        self.order.tick(now);
        self.flow(now);
    }

    /// What to do next.
    pub(crate) fn poll(&mut self) -> Option<InboxAction> {
        let tags = self.acks.take();
        if !tags.is_empty() {
            return Some(InboxAction::Ack(tags));
        }
        loop {
            return match self.steps.pop_front()? {
                Step::Deliver(Numbered(number, delivery), late) => {
                    // A reader that went away may have settled it meanwhile.
                    if !self.unsettled.move_to(number, Place::Handed) {
                        continue;
                    }
                    self.stats.delivered += 1;
                    Some(InboxAction::Deliver { delivery, late })
                }
                Step::Ask(conversation, from, limit) => {
                    // What filled the hole meanwhile saves the question.
                    if self.order.asked(&conversation) != Some((from, limit)) {
                        continue;
                    }
                    Some(InboxAction::AskHistory { conversation, from, limit })
                }
                Step::Gap(conversation, expected, got) => {
                    Some(InboxAction::Gap { conversation, expected, got })
                }
                Step::CaughtUp => Some(InboxAction::CaughtUp),
            };
        }
    }

    /// Whether the subscription may be read.
    pub(crate) fn has_credit(&self) -> bool {
        let load = self.unsettled.total();
        load.messages < self.limits.max_unsettled
            && load.bytes < self.limits.max_unsettled_bytes
            && self.acks.len() < self.limits.max_unsettled.saturating_mul(ARRIVALS_PER_MESSAGE)
    }

    /// How much may be read at once, in messages and bytes: one message in any case, so that the end of a
    /// backlog is seen.
    pub(crate) fn credit(&self) -> (usize, usize) {
        let (load, limits) = (self.unsettled.total(), &self.limits);
        let arrivals = limits.max_unsettled.saturating_mul(ARRIVALS_PER_MESSAGE);
        let messages = limits.max_unsettled.saturating_sub(load.messages);
        let messages = messages.min(arrivals.saturating_sub(self.acks.len())).max(1);
        (messages, limits.max_unsettled_bytes.saturating_sub(load.bytes))
    }

    /// Whether `delivery` can be taken in now: there is credit, or it repeats a message in progress.
    pub(crate) fn admits(&mut self, delivery: &Delivery) -> bool {
        self.has_credit()
            || (self.acks.len() < self.limits.max_unsettled.saturating_mul(ARRIVALS_PER_MESSAGE)
                && self.is_repetition(delivery))
    }

    fn is_repetition(&mut self, delivery: &Delivery) -> bool {
        let mark = self.identify(delivery);
        matches!(self.progress_of(mark), Progress::Here)
    }

    /// When [`Inbox::on_tick`] has something to do.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let stale = if self.unsettled.held().messages > 0 { self.catch_up_ends() } else { None };
        self.order.deadline().into_iter().chain(stale).min()
    }

    /// Whether the backlog is being read.
    pub(crate) fn is_catching_up(&self) -> bool {
        self.catching_up.is_some()
    }

    /// How many messages were taken in and not settled.
    pub(crate) fn unsettled(&self) -> usize {
        self.unsettled.total().messages
    }

    /// A network that looks after order itself gave up a gap.
    pub(crate) fn on_gap(&mut self) {
        self.stats.gaps += 1;
    }

    /// What has happened.
    pub(crate) fn stats(&self) -> InboxStats {
        let order = self.order.stats();
        let gaps = self.stats.gaps + order.gaps;
        InboxStats { late: order.late, gaps, gaps_filled: order.gaps_filled, ..self.stats }
    }
}

/// How many arrivals are remembered for acknowledging, for each message that may be unsettled: repetitions
/// and own messages pile up behind one that a handler is slow with.
const ARRIVALS_PER_MESSAGE: usize = 16;
