//! What the commands can be told.

use std::time::Duration;

use crate::address::MailAddress;
use crate::error::{Error, ErrorKind, Result};
use crate::message::MsgId;

/// How a mailbox is created.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct CreateMailbox {
    /// The name; without one the broker makes a 20-character id.
    pub name: Option<MailAddress>,
    /// How long it lives, in whole seconds rounded up. The broker's collector runs each 60 s, so the
    /// real life is up to a minute longer. `None` leaves the broker's default of 86,400 s.
    pub ttl: Option<Lifetime>,
    /// A free description, kept by the broker.
    pub description: Option<String>,
}

/// How long a mailbox lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Lifetime {
    /// It never expires (ttl 0 on the wire). Messages still go after 7 days in the broker's storage.
    Forever,
    /// It expires this long after its creation; traffic does not prolong it.
    For(Duration),
}

impl CreateMailbox {
    /// A mailbox of this name, with the broker's default lifetime.
    pub fn named(name: MailAddress) -> Self {
        Self { name: Some(name), ..Self::default() }
    }

    /// A mailbox whose name the broker makes.
    pub fn unnamed() -> Self {
        Self::default()
    }

    /// Sets the lifetime.
    pub fn with_lifetime(mut self, lifetime: Lifetime) -> Self {
        self.ttl = Some(lifetime);
        self
    }

    /// Sets the description.
    pub fn with_description(mut self, description: impl Into<String>) -> Self {
        self.description = Some(description.into());
        self
    }
}

/// A consumer group's name. Never empty: the broker treats `""` as a real group that everyone shares.
///
/// Offsets are kept per group and mailbox, but the broker ignores `deliver` for a group that has an
/// offset in *any* mailbox. Use a name in one mailbox only; [`Group::for_mailbox`] makes such a name.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Group {
    name: String,
    mailbox: Option<MailAddress>,
}

impl Group {
    /// A group of this name.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] when the name is empty.
    pub fn new(name: impl Into<String>) -> Result<Self> {
        let name = name.into();
        if name.is_empty() {
            return Err(Error::new(ErrorKind::Invalid, "group", "a group's name must not be empty"));
        }
        Ok(Self { name, mailbox: None })
    }

    /// The group `{mailbox}/{name}`: the same `name` in two mailboxes makes two groups. It is bound to its
    /// mailbox: reading or acknowledging another one with it is refused.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] when the name is empty.
    pub fn for_mailbox(mailbox: &MailAddress, name: &str) -> Result<Self> {
        let Self { name, .. } = Self::new(name)?;
        Ok(Self { name: format!("{mailbox}/{name}"), mailbox: Some(mailbox.clone()) })
    }

    /// The name on the wire.
    pub fn as_str(&self) -> &str {
        &self.name
    }

    /// Refuses a mailbox other than the one the group is bound to.
    pub(crate) fn check(&self, operation: &'static str, mailbox: &MailAddress) -> Result<()> {
        match &self.mailbox {
            Some(own) if own != mailbox => {
                Err(Error::new(ErrorKind::Invalid, operation, "the group is bound to another mailbox"))
            }
            _ => Ok(()),
        }
    }
}

impl std::fmt::Debug for Group {
    /// Masks the mailbox that a bound group's name begins with.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.mailbox {
            None => f.debug_tuple("Group").field(&self.name).finish(),
            Some(mailbox) => {
                let own = &self.name[mailbox.as_str().len()..];
                write!(f, "Group({mailbox:?}{own:?})")
            }
        }
    }
}

/// Where reading begins for a group without a stored offset, and for every read without a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum DeliverPolicy {
    /// The oldest message kept. (The broker's own default is `latest`, which misses what was sent
    /// before the first fetch.)
    #[default]
    Earliest,
    /// The newest message kept, *included*: one message comes even if nothing new was sent.
    Latest,
    /// The first message stored at or after this time, in seconds since 1970. When there is none
    /// (a future time, or milliseconds by mistake) the broker falls back to the earliest.
    FromTime(u64),
    /// This message and all after it. Beyond the end, the last message comes again.
    FromId(MsgId),
}

impl DeliverPolicy {
    /// An alias of [`DeliverPolicy::Earliest`]: everything kept.
    pub const ALL: Self = Self::Earliest;
    /// An alias of [`DeliverPolicy::Latest`]: what is new, and the last message kept.
    pub const NEW: Self = Self::Latest;

    /// Reads `earliest` or `all`, `latest` or `new`, and with a position `from_time=SECONDS` or
    /// `from_timestamp=SECONDS`, and `from_id=NUMBER`.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for anything else.
    pub fn parse(name: &str) -> Result<Self> {
        let position = |text: &str| text.parse::<u64>().ok();
        let policy = match name.split_once('=') {
            None if ["earliest", "all"].contains(&name) => Some(Self::Earliest),
            None if ["latest", "new"].contains(&name) => Some(Self::Latest),
            Some(("from_time" | "from_timestamp", seconds)) => position(seconds).map(Self::FromTime),
            Some(("from_id", number)) => position(number).map(|number| Self::FromId(MsgId::new(number))),
            _ => None,
        };
        policy.ok_or_else(|| {
            let known = "earliest (all), latest (new), from_time (from_timestamp) =SECONDS, from_id=NUMBER";
            Error::new(ErrorKind::Invalid, "deliver policy", format!("{name:?} is none of {known}"))
        })
    }
}

/// One FETCH. `max_wait_ms` is always 0: a waiting FETCH does not wake when a message arrives, and it
/// blocks its connection and others on the broker.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct FetchOptions {
    /// The group whose offset is read; without one the read leaves no trace.
    pub group: Option<Group>,
    /// Where to begin.
    pub deliver: DeliverPolicy,
    /// Begin at `deliver` although the group has an offset. The broker then stores the position + 1
    /// as the offset at once: if the reply is lost, the first message is skipped.
    pub force_deliver: bool,
    /// How many rows per priority class (the broker's default is 100). A reply may hold up to
    /// three times as many, less two; 0 gives none.
    pub num_msgs: Option<u32>,
}

impl FetchOptions {
    /// A read without a group, from the earliest message.
    pub fn stateless() -> Self {
        Self::default()
    }

    /// A read at the group's offset, or from the earliest message when it has none.
    pub fn group(group: Group) -> Self {
        Self { group: Some(group), ..Self::default() }
    }

    /// Sets where to begin.
    pub fn with_deliver(mut self, deliver: DeliverPolicy) -> Self {
        self.deliver = deliver;
        self
    }

    /// Sets the rows per priority class.
    pub fn with_num_msgs(mut self, num_msgs: u32) -> Self {
        self.num_msgs = Some(num_msgs);
        self
    }

    /// Sets [`FetchOptions::force_deliver`].
    pub fn with_force_deliver(mut self, force: bool) -> Self {
        self.force_deliver = force;
        self
    }
}

/// One QUERY: a look at the mailbox that moves no offset.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct QueryOptions {
    /// The newest message of this compaction key. Goes before `tags`.
    pub key: Option<String>,
    /// Messages with any of these tags. Ignored when a key is given.
    pub tags: Vec<String>,
    /// Messages stored at or after this time, in seconds since 1970. The broker ignores it; the
    /// client filters, within the oldest `limit` rows that the broker returns.
    pub since: Option<u64>,
    /// At most this many, 1 to 100 (the broker's cap and default): the *oldest*, without a next page.
    /// To read further use a stateless fetch with [`DeliverPolicy::FromId`].
    pub limit: Option<u64>,
}

impl QueryOptions {
    /// Everything, up to 100 rows.
    pub fn all() -> Self {
        Self::default()
    }

    /// The newest message of `key`.
    pub fn key(key: impl Into<String>) -> Self {
        Self { key: Some(key.into()), ..Self::default() }
    }

    /// Messages with any of `tags`.
    pub fn tags<T: Into<String>>(tags: impl IntoIterator<Item = T>) -> Self {
        Self { tags: tags.into_iter().map(Into::into).collect(), ..Self::default() }
    }

    /// Sets the limit.
    pub fn with_limit(mut self, limit: u64) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Sets the lower bound of the store time, in seconds since 1970.
    pub fn with_since(mut self, since: u64) -> Self {
        self.since = Some(since);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_name_is_never_empty_and_can_be_bound_to_its_mailbox() {
        assert_eq!(Group::new("").expect_err("empty").kind(), ErrorKind::Invalid);
        let mailbox = MailAddress::new("a.b").expect("valid");
        let group = Group::for_mailbox(&mailbox, "workers").expect("group");
        assert_eq!(group.as_str(), "a.b/workers");
        assert!(group.check("MSG.ACK", &mailbox).is_ok());
        let other = MailAddress::new("a.c").expect("valid");
        assert_eq!(group.check("MSG.ACK", &other).expect_err("bound").kind(), ErrorKind::Invalid);
        assert!(Group::new("free").expect("group").check("MSG.ACK", &other).is_ok());
    }

    #[test]
    fn a_bound_groups_debug_form_masks_the_mailbox() {
        let mailbox = MailAddress::new("inbox.k3yl0ng").expect("valid");
        let shown = format!("{:?}", Group::for_mailbox(&mailbox, "w").expect("group"));
        assert!(!shown.contains("k3yl0ng") && shown.contains('w'), "{shown}");
    }

    #[test]
    fn deliver_policies_have_the_seeds_names_as_aliases() {
        assert_eq!(DeliverPolicy::parse("all").expect("alias"), DeliverPolicy::Earliest);
        assert_eq!(DeliverPolicy::parse("new").expect("alias"), DeliverPolicy::Latest);
        assert_eq!(DeliverPolicy::ALL, DeliverPolicy::default());
        for name in ["from_timestamp=9", "from_time=9"] {
            assert_eq!(DeliverPolicy::parse(name).expect("alias"), DeliverPolicy::FromTime(9));
        }
        assert_eq!(
            DeliverPolicy::parse("from_id=7").expect("a policy"),
            DeliverPolicy::FromId(MsgId::new(7))
        );
        for bad in ["Earliest", "", "all=1", "from_time", "from_timestamp=", "from_timestamp=x", "from_id=-1"]
        {
            let error = DeliverPolicy::parse(bad).expect_err(bad);
            assert!(error.to_string().contains("from_timestamp"), "{error}");
        }
    }
}
