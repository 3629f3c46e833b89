//! Who gets a message: subscriptions, wildcards, queue groups.

use std::collections::HashMap;

use super::frame::Subscribe;
use super::subject::{literal_prefix, matches, prefixes};

/// A connection's number, unique while the broker lives.
pub(crate) type ConnectionId = u64;

/// All subscriptions of one broker.
#[derive(Debug, Default)]
pub(crate) struct Router {
    /// By the literal part of the pattern; see [`literal_prefix`].
    by_prefix: HashMap<String, Vec<Subscription>>,
    /// Where each subscription is, by connection and sid.
    by_connection: HashMap<ConnectionId, HashMap<String, String>>,
    /// Turns the choice within queue groups.
    turn: usize,
}

/// One receiver of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Recipient {
    pub(crate) connection: ConnectionId,
    pub(crate) sid: String,
}

impl Router {
    /// Adds a subscription. As on nats-server, a sid in use keeps its first subscription.
    ///
    /// `false`: the connection has as many as it may have.
    pub(crate) fn subscribe(&mut self, connection: ConnectionId, wanted: Subscribe) -> bool {
        let own = self.by_connection.entry(connection).or_default();
        if own.contains_key(&wanted.sid) {
            return true;
        }
        if own.len() >= MAX_SUBSCRIPTIONS {
            return false;
        }
        let prefix = literal_prefix(&wanted.subject).to_owned();
        own.insert(wanted.sid.clone(), prefix.clone());
        let Subscribe { subject, queue, sid } = wanted;
        let subscription = Subscription { connection, sid, pattern: subject, queue, delivered: 0, max: None };
        self.by_prefix.entry(prefix).or_default().push(subscription);
        true
    }

    /// Ends a subscription; with `max`, once it has had so many messages in all.
    pub(crate) fn unsubscribe(&mut self, connection: ConnectionId, sid: &str, max: Option<u64>) {
        if let Some(max) = max.filter(|max| *max > 0)
            && let Some(subscription) = self.find(connection, sid)
            && subscription.delivered < max
        {
            subscription.max = Some(max);
            return;
        }
        let prefix = self.by_connection.get_mut(&connection).and_then(|own| own.remove(sid));
        if let Some(prefix) = prefix {
            self.remove(&prefix, |subscription| {
                subscription.connection == connection && subscription.sid == sid
            });
        }
    }

    /// Forgets a connection.
    pub(crate) fn disconnect(&mut self, connection: ConnectionId) {
        for prefix in self.by_connection.remove(&connection).unwrap_or_default().into_values() {
            self.remove(&prefix, |subscription| subscription.connection == connection);
        }
    }

    /// Who gets a message on `subject`: every matching plain subscription, and one member of every queue
    /// group. Counts the deliveries, so call it only to deliver. `except`: a connection to leave out.
    pub(crate) fn route(&mut self, subject: &str, except: Option<ConnectionId>) -> Vec<Recipient> {
        let mut recipients = Vec::new();
        let mut groups: Vec<(&str, Vec<&Subscription>)> = Vec::new();
        for subscription in matching(&self.by_prefix, subject).filter(|s| Some(s.connection) != except) {
            match subscription.queue.as_deref() {
                None => recipients.push(subscription.recipient()),
                Some(queue) => match groups.iter_mut().find(|(name, _)| *name == queue) {
                    Some((_, members)) => members.push(subscription),
                    None => groups.push((queue, vec![subscription])),
                },
            }
        }
        for (_, members) in groups {
            recipients.push(members[self.turn % members.len()].recipient());
            self.turn = self.turn.wrapping_add(1);
        }
        self.count(&recipients);
        recipients
    }

    /// As [`Router::route`], but among the subscriptions of one connection.
    pub(crate) fn route_within(&mut self, connection: ConnectionId, subject: &str) -> Vec<Recipient> {
        let recipients: Vec<Recipient> = matching(&self.by_prefix, subject)
            .filter(|subscription| subscription.connection == connection)
            .map(Subscription::recipient)
            .collect();
        self.count(&recipients);
        recipients
    }

    fn count(&mut self, recipients: &[Recipient]) {
        for Recipient { connection, sid } in recipients {
            let spent = self.find(*connection, sid).is_some_and(|subscription| {
                subscription.delivered += 1;
                subscription.max.is_some_and(|max| subscription.delivered >= max)
            });
            if spent {
                self.unsubscribe(*connection, sid, None);
            }
        }
    }

    fn find(&mut self, connection: ConnectionId, sid: &str) -> Option<&mut Subscription> {
        let prefix = self.by_connection.get(&connection)?.get(sid)?;
        let candidates = self.by_prefix.get_mut(prefix)?.iter_mut();
        candidates
            .into_iter()
            .find(|subscription| subscription.connection == connection && subscription.sid == sid)
    }

    fn remove(&mut self, prefix: &str, gone: impl Fn(&Subscription) -> bool) {
        if let Some(subscriptions) = self.by_prefix.get_mut(prefix) {
            subscriptions.retain(|subscription| !gone(subscription));
            if subscriptions.is_empty() {
                self.by_prefix.remove(prefix);
            }
        }
    }
}

#[derive(Debug)]
struct Subscription {
    connection: ConnectionId,
    sid: String,
    pattern: String,
    queue: Option<String>,
    delivered: u64,
    max: Option<u64>,
}

impl Subscription {
    fn recipient(&self) -> Recipient {
        Recipient { connection: self.connection, sid: self.sid.clone() }
    }
}

fn matching<'a>(
    by_prefix: &'a HashMap<String, Vec<Subscription>>,
    subject: &'a str,
) -> impl Iterator<Item = &'a Subscription> {
    prefixes(subject)
        .filter_map(|prefix| by_prefix.get(prefix))
        .flatten()
        .filter(|subscription| matches(&subscription.pattern, subject))
}

/// Of one connection. nats-server sets no limit of its own; this one only bounds memory.
const MAX_SUBSCRIPTIONS: usize = 65_536;

#[cfg(test)]
mod tests {
    use super::*;

    fn router(subscriptions: &[(ConnectionId, &str, Option<&str>, &str)]) -> Router {
        let mut router = Router::default();
        for (connection, subject, queue, sid) in subscriptions {
            let queue = queue.map(str::to_owned);
            let wanted = Subscribe { subject: (*subject).into(), queue, sid: (*sid).into() };
            assert!(router.subscribe(*connection, wanted));
        }
        router
    }

    fn route(router: &mut Router, subject: &str) -> Vec<(ConnectionId, String)> {
        let mut all: Vec<_> =
            router.route(subject, None).into_iter().map(|to| (to.connection, to.sid)).collect();
        all.sort();
        all
    }

    #[test]
    fn every_matching_subscription_gets_the_message_once() {
        let mut router = router(&[
            (1, "a.b", None, "1"),
            (1, "a.*", None, "2"),
            (2, "a.>", None, "1"),
            (3, ">", None, "9"),
            (4, "a.c", None, "1"),
            (5, "a", None, "1"),
        ]);
        let expected = [(1, "1".into()), (1, "2".into()), (2, "1".into()), (3, "9".into())];
        assert_eq!(route(&mut router, "a.b"), expected);
        assert_eq!(route(&mut router, "b"), [(3, "9".into())]);
    }

    #[test]
    fn a_queue_group_shares_messages_and_each_goes_to_one_member() {
        let mut router = router(&[
            (1, "work.*", Some("q"), "1"),
            (2, "work.*", Some("q"), "1"),
            (3, "work.a", Some("q"), "1"),
            (4, "work.a", Some("other"), "1"),
            (5, "work.a", None, "1"),
        ]);
        let mut had: HashMap<ConnectionId, u32> = HashMap::new();
        for _ in 0..30 {
            let recipients = route(&mut router, "work.a");
            assert_eq!(recipients.len(), 3, "one of q, the other group, the plain one: {recipients:?}");
            for (connection, _) in recipients {
                *had.entry(connection).or_default() += 1;
            }
        }
        assert_eq!((had[&4], had[&5]), (30, 30));
        assert_eq!(had[&1] + had[&2] + had[&3], 30);
        assert!([1, 2, 3].iter().all(|member| had[member] > 0), "{had:?}");
    }

    #[test]
    fn the_publisher_can_be_left_out_even_of_its_queue_group() {
        let mut router = router(&[(1, "a", None, "1"), (1, "a", Some("q"), "2"), (2, "a", Some("q"), "1")]);
        for _ in 0..4 {
            let recipients = router.route("a", Some(1));
            assert_eq!(recipients, [Recipient { connection: 2, sid: "1".into() }]);
        }
    }

    #[test]
    fn unsubscribing_after_a_number_counts_what_was_delivered_before() {
        let mut router = router(&[(1, "a", None, "1"), (1, "b", None, "2")]);
        route(&mut router, "a");
        router.unsubscribe(1, "1", Some(3));
        assert_eq!(route(&mut router, "a").len(), 1);
        assert_eq!(route(&mut router, "a").len(), 1);
        assert_eq!(route(&mut router, "a").len(), 0);
        route(&mut router, "b");
        router.unsubscribe(1, "2", Some(1));
        assert_eq!(route(&mut router, "b").len(), 0);
    }

    #[test]
    fn nothing_of_a_connection_remains() {
        let mut router = router(&[(1, "a", None, "1"), (1, "a.>", Some("q"), "2"), (2, "a", None, "1")]);
        router.disconnect(1);
        assert_eq!(route(&mut router, "a"), [(2, "1".into())]);
        router.unsubscribe(2, "1", None);
        assert!(router.by_prefix.is_empty());
    }

    #[test]
    fn a_sid_in_use_keeps_its_first_subscription() {
        let mut router = router(&[(1, "a", None, "1"), (1, "b", None, "1")]);
        assert_eq!(route(&mut router, "a").len(), 1);
        assert_eq!(route(&mut router, "b").len(), 0);
    }

    #[test]
    fn subscriptions_of_a_connection_are_bounded() {
        let mut router = Router::default();
        let wanted =
            |sid: usize| Subscribe { subject: format!("s.{sid}"), queue: None, sid: sid.to_string() };
        assert!((0..MAX_SUBSCRIPTIONS).all(|sid| router.subscribe(1, wanted(sid))));
        assert!(!router.subscribe(1, wanted(MAX_SUBSCRIPTIONS)));
        assert!(router.subscribe(2, wanted(0)));
    }
}
