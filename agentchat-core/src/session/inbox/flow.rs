//! How a message goes through the inbox, and what an input makes possible.

use tokio::time::Instant;

use super::acks::Wire;
use super::unsettled::Place;
use super::{Inbox, Numbered, Step};
use crate::dedup::Mark;
use crate::delivery::Delivery;
use crate::id::ConversationId;
use crate::session::order::OrderAction;

/// What becomes of a message just now.
pub(super) enum Progress {
    None,
    Loose(u64),
    Here,
}

impl Inbox {
    pub(super) fn is_own(&self, delivery: &Delivery) -> bool {
        self.limits.own.is_some() && delivery.sender == self.limits.own
    }

    /// The moment by which settled ids age. What they are remembered for, a network that delivers again, may
    /// come only once there is a connection.
    pub(super) fn aged(&mut self, now: Instant) -> Instant {
        if !self.behind {
            self.aged += now.saturating_duration_since(self.counted);
            self.counted = now;
        }
        self.aged
    }

    /// What the message is recognised by. It stands in `scratch` until the next one is asked about.
    pub(super) fn identify(&mut self, delivery: &Delivery) -> Mark {
        self.scratch.clear();
        delivery.write_identity(&mut self.scratch);
        self.seen.mark(&self.scratch)
    }

    /// Whether the message is held, due, or in the hands of the reader of now; or, in those of a reader that
    /// went away, its number.
    pub(super) fn progress_of(&mut self, mark: Mark) -> Progress {
        match self.unsettled.find(mark) {
            None => Progress::None,
            Some((number, entry)) if entry.place == Place::Loose => Progress::Loose(number),
            Some(_) => Progress::Here,
        }
    }

    /// A repetition of a message in progress is acknowledged together with it.
    pub(super) fn join(&mut self, mark: Mark, wire: Wire) {
        if let Some((_, entry)) = self.unsettled.find(mark) {
            if entry.wires.contains(&wire) {
                self.acks.drop_wire(&wire);
            } else {
                entry.wires.push(wire);
            }
        }
    }

    /// Takes in the message that was identified last, and that a reader that went away has as number `loose`.
    pub(super) fn admit(
        &mut self,
        mark: Mark,
        loose: Option<u64>,
        mut delivery: Box<Delivery>,
        wire: Wire,
        place: Place,
    ) -> Numbered {
        self.stats.received += 1;
        let loose = loose.and_then(|number| Some((self.unsettled.remove(number)?, number)));
        delivery.redelivered |= loose.is_some();
        delivery.redelivered |= !self.outstanding.is_empty() && self.outstanding.contains(&self.scratch);
        let identity = self.keeps_identities.then(|| self.scratch.as_str().into());
        let number = self.unsettled.admit(mark, identity, &mut delivery, wire, place);
        if let Some((loose, former)) = loose {
            self.unsettled.inherit(loose, former, number);
        }
        Numbered(number, delivery)
    }

    pub(super) fn note(&mut self, conversation: Option<&ConversationId>, seq: Option<u64>, now: Instant) {
        if let (Some(conversation), Some(seq), true) = (conversation, seq, self.limits.numbered) {
            self.order.note(conversation, seq, now);
        }
    }

    pub(super) fn pass(&mut self, numbered: Numbered, late: bool) {
        self.unsettled.move_to(numbered.0, Place::Queued);
        self.steps.push_back(Step::Deliver(numbered, late));
    }

    pub(super) fn progress(&mut self, now: Instant) {
        if let Some((_, last)) = &mut self.catching_up {
            *last = now;
        }
    }

    /// When the backlog counts as read although nobody said so. Without credit it cannot bring anything.
    pub(super) fn catch_up_ends(&self) -> Option<Instant> {
        let (since, last) = self.catching_up?;
        let cap = since + self.limits.catch_up_cap;
        Some(if self.has_credit() { cap.min(last + self.limits.catch_up_idle) } else { cap })
    }

    pub(super) fn end_stale_catch_up(&mut self, now: Instant) {
        if self.catch_up_ends().is_some_and(|at| at <= now) {
            self.catching_up = None;
            self.order.end_catch_up(now);
        }
    }

    /// Carries on what the last input made possible.
    pub(super) fn flow(&mut self, now: Instant) {
        self.drain_order();
        while self.holds_too_much() && self.order.press(now) {
            self.order.tick(now);
            self.drain_order();
        }
        self.ask(now);
        self.drain_order();
        let passed = |mark| self.order.oldest_held().is_none_or(|oldest| oldest >= mark);
        if self.caught_up_at.is_some_and(passed) {
            self.caught_up_at = None;
            self.steps.push_back(Step::CaughtUp);
        }
    }

    /// Asks history for as many rows as there is credit for, and for one at least when only that brings
    /// credit back.
    fn ask(&mut self, now: Instant) {
        let load = self.unsettled.total();
        let spare = match load.bytes < self.limits.max_unsettled_bytes {
            true => self.limits.max_unsettled.saturating_sub(load.messages + self.order.asked_rows()),
            false => 0,
        };
        let least = usize::from(self.unsettled.in_hand() == 0 && self.order.asked_rows() == 0);
        self.order.ask(spare.max(least), now);
    }

    fn drain_order(&mut self) {
        while let Some(action) = self.order.poll() {
            match action {
                OrderAction::Pass { item, late } => self.pass(item, late),
                OrderAction::AskHistory { conversation, from, limit } => {
                    self.steps.push_back(Step::Ask(conversation, from, limit));
                }
                OrderAction::Gap { conversation, expected, got } => {
                    self.steps.push_back(Step::Gap(conversation, expected, got));
                }
            }
        }
    }

    /// While catching up, what is held may take half of the credit.
    fn holds_too_much(&self) -> bool {
        let held = self.unsettled.held();
        self.is_catching_up()
            && (held.messages > self.limits.max_unsettled / 2
                || held.bytes > self.limits.max_unsettled_bytes / 2)
    }
}
