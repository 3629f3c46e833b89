//! The header lines that the broker itself reads.

use crate::message::Priority;

/// What the `mq9-…` lines of one SEND say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Fields<'a> {
    pub(crate) priority: Priority,
    pub(crate) key: Option<&'a str>,
    pub(crate) ttl_s: Option<u64>,
    pub(crate) delay_s: Option<u64>,
    pub(crate) tags: Vec<&'a str>,
}

impl<'a> Fields<'a> {
    /// Reads a raw header block as the broker does: names exactly in lower case, values trimmed, the last
    /// line of a name wins, what does not parse counts as absent, LF is as good as CRLF, and one byte that
    /// is no UTF-8 disables the whole block.
    pub(crate) fn parse(block: Option<&'a [u8]>) -> Self {
        let mut fields = Self::default();
        let Some(text) = block.and_then(|block| std::str::from_utf8(block).ok()) else { return fields };
        for (name, value) in text.lines().skip(1).filter_map(|line| line.split_once(':')) {
            let value = value.trim();
            match name {
                "mq9-priority" => fields.priority = Priority::from_wire(value).unwrap_or_default(),
                "mq9-key" => fields.key = Some(value),
                "mq9-ttl" => fields.ttl_s = value.parse().ok(),
                "mq9-delay" => fields.delay_s = value.parse().ok(),
                "mq9-tags" => {
                    fields.tags = value.split(',').map(str::trim).filter(|tag| !tag.is_empty()).collect();
                }
                _ => {}
            }
        }
        fields
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_trimmed_and_the_last_line_of_a_name_wins() {
        let block =
            b"NATS/1.0\r\nmq9-priority: critical\r\nmq9-priority:high\r\nmq9-tags: a , ,b\nmq9-key: \r\n\r\n";
        let fields = Fields::parse(Some(block));
        assert_eq!(fields.priority, Priority::Normal, "an unknown last value counts as normal");
        assert_eq!((fields.key, fields.tags), (Some(""), vec!["a", "b"]));
    }

    #[test]
    fn names_in_other_case_numbers_that_do_not_parse_and_broken_text_are_ignored() {
        let block = b"NATS/1.0\r\nMQ9-Key: k\r\nmq9-ttl: -5\r\nmq9-delay: 1.5\r\n\r\n";
        assert_eq!(Fields::parse(Some(block)), Fields::default());
        assert_eq!(Fields::parse(Some(b"NATS/1.0\r\nmq9-key: k\r\nx: \xff\r\n\r\n")), Fields::default());
    }
}
