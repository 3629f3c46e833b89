//! Which of the server's conversations carry the conversations that senders named.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// By a conversation's name, the server's conversations it was seen in. Cheap to clone; bounded.
#[derive(Debug, Clone, Default)]
pub(crate) struct Names(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    of: HashMap<String, (u64, Vec<String>)>,
    uses: u64,
}

impl Names {
    pub(crate) fn note(&self, name: &str, server: &str) {
        if name == server {
            return;
        }
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.uses += 1;
        let used = inner.uses;
        if let Some((last, servers)) = inner.of.get_mut(name) {
            *last = used;
            if !servers.iter().any(|it| it == server) && servers.len() < SERVERS {
                servers.push(server.to_owned());
            }
            return;
        }
        if inner.of.len() >= NAMES
            && let Some(oldest) = inner.of.iter().min_by_key(|(_, (used, _))| *used).map(|it| it.0.clone())
        {
            inner.of.remove(&oldest);
        }
        inner.of.insert(name.to_owned(), (used, vec![server.to_owned()]));
    }

    /// Where a conversation is. One of the server's own is in itself.
    pub(crate) fn servers_of(&self, name: &str) -> Vec<String> {
        let inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut servers = inner.of.get(name).map(|(_, servers)| servers.clone()).unwrap_or_default();
        if SERVERS_OWN.iter().any(|prefix| name.starts_with(prefix)) {
            servers.push(name.to_owned());
        }
        servers
    }
}

/// What the ids of the server's own conversations begin with.
const SERVERS_OWN: [&str; 2] = ["conv_", "grp_"];
const NAMES: usize = 1024;
/// A name may stand in conversations with several peers.
const SERVERS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_to_where_they_were_seen_and_are_bounded() {
        let names = Names::default();
        names.note("c", "conv_1");
        names.note("c", "conv_1");
        names.note("c", "conv_2");
        assert_eq!(names.servers_of("c"), ["conv_1", "conv_2"]);
        assert_eq!(names.servers_of("conv_9"), ["conv_9"]);
        assert!(names.servers_of("never").is_empty());
        for number in 0..NAMES {
            names.note(&format!("n{number}"), "conv_1");
        }
        assert!(names.servers_of("c").is_empty(), "the oldest is forgotten first");
    }
}
