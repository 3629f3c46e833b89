//! Sharing one mailbox between consumers, as the broker does not balance a group.

use crate::error::{Error, ErrorKind, Result};
use crate::message::Received;

/// One of `of` equal shares of a mailbox: a consumer gets only the messages that hash to its share.
///
/// Every share has a group of its own, `{group}.p{index}of{of}`, and reads the whole mailbox; messages of
/// other shares are settled unseen. All shares of one count together get every message exactly once.
/// Changing the count begins new groups, which read again from their deliver policy.
///
/// The hash is FNV-1a, 64 bit, over the bytes that [`PartitionBy`] names, modulo the count. It is part of
/// this crate's stable behaviour: processes of different builds agree on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    index: u32,
    of: u32,
    by: PartitionBy,
}

/// What a message is assigned to its share by.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum PartitionBy {
    /// The id in the mailbox, as eight little-endian bytes. Spreads evenly; related messages part.
    #[default]
    Id,
    /// The compaction key (`mq9-key`); messages without one go by id.
    Key,
    /// The value of this header, compared without case; messages without it go by id.
    Header(String),
}

impl Partition {
    /// Share `index` of `of`, counted from 0, by message id.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] unless `index < of`.
    pub fn new(index: u32, of: u32) -> Result<Self> {
        if index < of {
            return Ok(Self { index, of, by: PartitionBy::default() });
        }
        Err(Error::new(ErrorKind::Invalid, "partition", format!("there is no share {index} of {of}")))
    }

    /// Sets what messages are assigned by, so that related ones meet the same consumer.
    pub fn with_by(mut self, by: PartitionBy) -> Self {
        self.by = by;
        self
    }

    /// Whether `message` belongs to this share.
    pub fn owns(&self, message: &Received) -> bool {
        let named = match &self.by {
            PartitionBy::Id => None,
            PartitionBy::Key => message.key(),
            PartitionBy::Header(name) => message.headers.get(name),
        };
        let hash = match named {
            Some(value) => fnv1a(value.as_bytes()),
            None => fnv1a(&message.id.get().to_le_bytes()),
        };
        hash % u64::from(self.of) == u64::from(self.index)
    }

    /// The name of this share's group.
    pub(crate) fn group_name(&self, group: &str) -> String {
        format!("{group}.p{}of{}", self.index, self.of)
    }
}

fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::consumer::model::row;
    use crate::message::Priority::Normal;

    #[test]
    fn the_hash_is_fnv_1a_as_published() {
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn a_share_outside_the_count_is_refused() {
        assert_eq!(Partition::new(2, 2).expect_err("index").kind(), ErrorKind::Invalid);
        assert_eq!(Partition::new(0, 0).expect_err("count").kind(), ErrorKind::Invalid);
    }

    #[test]
    fn ids_spread_over_the_shares() {
        let share = Partition::new(1, 4).expect("share");
        let owned = (0..4000).filter(|id| share.owns(&row(*id, Normal))).count();
        assert!((800..1200).contains(&owned), "{owned} of 4000");
    }

    proptest! {
        #[test]
        fn every_message_has_exactly_one_share(id: u64, of in 1_u32..9, value in ".{0,12}") {
            let mut message = row(id, Normal);
            message.headers.append("Conversation", value);
            for by in [PartitionBy::Id, PartitionBy::Key, PartitionBy::Header("conversation".into())] {
                let owners = (0..of)
                    .filter(|index| {
                        Partition::new(*index, of).is_ok_and(|share| share.with_by(by.clone()).owns(&message))
                    })
                    .count();
                prop_assert_eq!(owners, 1);
            }
        }

        #[test]
        fn one_header_value_always_meets_the_same_share(a: u64, b: u64, value in ".{0,12}") {
            let share = Partition::new(0, 3).expect("share").with_by(PartitionBy::Header("c".into()));
            let owns = |id| {
                let mut message = row(id, Normal);
                message.headers.append("c", value.clone());
                share.owns(&message)
            };
            prop_assert_eq!(owns(a), owns(b));
        }
    }
}
