//! What an earlier session left about its inboxes, and the keys under which stores keep it.

use std::collections::{HashMap, HashSet};

use crate::address::Address;
use crate::id::{ConversationId, digest};
use crate::store::{Cursor, SettledId};

/// What of an inbox is to be kept from now on, and what was kept before.
#[derive(Debug, Default)]
pub(super) struct Recall {
    /// Whether there is a store for what is handed out and settled.
    pub(super) remembers: bool,
    /// Whether there is a store for positions.
    pub(super) positions: bool,
    inboxes: HashMap<String, Known>,
}

/// What was kept about an inbox.
#[derive(Debug, Default, Clone)]
pub(super) struct Known {
    /// Identities, the oldest first.
    pub(super) settled: Vec<String>,
    /// Handed out, but not settled.
    pub(super) handed: HashSet<String>,
    /// The first number that was not handled.
    pub(super) next: HashMap<ConversationId, u64>,
}

/// The name of an inbox in keys.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Scope(String);

impl Recall {
    /// Sorts what the stores hold; `ids` come the oldest first. What others keep there is passed over.
    pub(super) fn new(
        remembers: bool,
        positions: bool,
        ids: Vec<SettledId>,
        cursors: Vec<(String, Cursor)>,
    ) -> Self {
        let mut inboxes: HashMap<String, Known> = HashMap::new();
        for id in ids.into_iter().map(|kept| kept.id) {
            let Some((kind, scope, identity)) = parts(&id) else { continue };
            let known = inboxes.entry(scope.to_owned()).or_default();
            match kind {
                HANDED => drop(known.handed.insert(identity.to_owned())),
                SETTLED => known.settled.push(identity.to_owned()),
                _ => {}
            }
        }
        for (key, cursor) in cursors {
            let Some((POSITION, scope, conversation)) = parts(&key) else { continue };
            let next = std::str::from_utf8(cursor.bytes()).ok().and_then(|next| next.parse().ok());
            if let (Ok(conversation), Some(next)) = (ConversationId::new(conversation), next) {
                inboxes.entry(scope.to_owned()).or_default().next.insert(conversation, next);
            }
        }
        for known in inboxes.values_mut() {
            for id in &known.settled {
                known.handed.remove(id);
            }
        }
        Self { remembers, positions, inboxes }
    }

    pub(super) fn of(&self, scope: &Scope) -> Known {
        self.inboxes.get(&scope.0).cloned().unwrap_or_default()
    }
}

impl Scope {
    /// A name of fixed length: addresses may be long, and are secrets on some networks.
    pub(super) fn of(inbox: &Address) -> Self {
        Self(digest(inbox.as_str()))
    }

    /// The key for a message that was settled.
    pub(super) fn settled(&self, identity: &str) -> String {
        self.key(SETTLED, identity)
    }

    /// The key for a message that was handed out.
    pub(super) fn handed(&self, identity: &str) -> String {
        self.key(HANDED, identity)
    }

    /// The key for the position in a conversation.
    pub(super) fn position(&self, conversation: &ConversationId) -> String {
        self.key(POSITION, conversation.as_str())
    }

    fn key(&self, kind: &str, rest: &str) -> String {
        format!("{kind}/{}/{rest}", self.0)
    }
}

/// The beginning of every position's key.
pub(super) const POSITIONS: &str = "p/";

fn parts(key: &str) -> Option<(&str, &str, &str)> {
    let (kind, rest) = key.split_once('/')?;
    let (scope, rest) = rest.split_once('/')?;
    Some((kind, scope, rest))
}

const SETTLED: &str = "s";
const HANDED: &str = "h";
const POSITION: &str = "p";
#[cfg(test)]
mod tests {
    use super::*;
    use std::time::UNIX_EPOCH;

    fn scope(name: &str) -> Scope {
        Scope::of(&Address::of("loopback", name).expect("valid"))
    }

    fn recalled(ids: &[String], cursors: &[(String, &'static str)]) -> Recall {
        let ids = ids.iter().map(|id| SettledId::new(id, UNIX_EPOCH)).collect();
        let cursors = cursors.iter().map(|(key, next)| (key.clone(), Cursor::new(*next))).collect();
        Recall::new(true, true, ids, cursors)
    }

    #[test]
    fn each_inbox_gets_its_own_and_what_is_settled_is_not_outstanding() {
        let (one, other) = (scope("one"), scope("other"));
        let recall = recalled(
            &[one.handed("ca\nx/y"), one.handed("cb\n"), one.settled("ca\nx/y"), other.settled("cb\n")],
            &[],
        );
        let known = recall.of(&one);
        assert_eq!(
            (known.settled, known.handed),
            (vec!["ca\nx/y".to_owned()], HashSet::from(["cb\n".into()]))
        );
        assert_eq!(recall.of(&other).settled, ["cb\n"]);
        assert!(recall.of(&scope("third")).settled.is_empty());
    }

    #[test]
    fn positions_come_back_and_what_is_none_is_passed_over() {
        let (one, conversation) = (scope("one"), ConversationId::new("a/b").expect("valid"));
        let key = one.position(&conversation);
        assert!(key.starts_with(POSITIONS));
        let recall =
            recalled(&["foreign".to_owned()], &[(key, "7"), (one.position(&conversation) + "x", "?")]);
        assert_eq!(recall.of(&one).next, HashMap::from([(conversation, 7)]));
    }

    #[test]
    fn keys_fit_the_store_and_show_no_address() {
        let one = Scope::of(&Address::of("loopback", &"secret".repeat(300)).expect("valid"));
        assert!(one.settled(&"c".repeat(900)).len() <= 1024 && one.handed(&"c".repeat(900)).len() <= 1024);
        assert!(!one.settled("c1").contains("secret"));
    }
}
