//! Which command a subject names.

/// A command of the protocol, with what its subject carries.
// No address may be shown, so `Debug` is for tests only.
#[cfg_attr(test, derive(Debug))]
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb<'a> {
    Create,
    Send(&'a str),
    Fetch(&'a str),
    /// The address in the subject is ignored by the broker: the one in the body counts.
    Ack,
    Query(&'a str),
    Delete {
        address: &'a str,
        id: &'a str,
    },
    Register,
    Unregister,
    Report,
    Discover,
    /// Begins like mq9 but is no command; answered on the connection, never on the reply subject.
    Unrecognized,
    /// Plain NATS.
    Plain,
}

impl<'a> Verb<'a> {
    /// Reads a subject. The broker compares the bytes `$mq9.AI`, so `$mq9.AIX.foo` counts as its own.
    pub(crate) fn of(subject: &'a str) -> Self {
        let Some(rest) = subject.strip_prefix(PREFIX) else { return Self::Plain };
        let Some(command) = rest.strip_prefix('.') else { return Self::Unrecognized };
        match command {
            "MAILBOX.CREATE" => Self::Create,
            "AGENT.REGISTER" => Self::Register,
            "AGENT.UNREGISTER" => Self::Unregister,
            "AGENT.REPORT" => Self::Report,
            "AGENT.DISCOVER" => Self::Discover,
            _ => command.strip_prefix("MSG.").map_or(Self::Unrecognized, Self::message),
        }
    }

    /// The command without what its subject carries, for showing.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Create => "MAILBOX.CREATE",
            Self::Send(_) => "MSG.SEND",
            Self::Fetch(_) => "MSG.FETCH",
            Self::Ack => "MSG.ACK",
            Self::Query(_) => "MSG.QUERY",
            Self::Delete { .. } => "MSG.DELETE",
            Self::Register => "AGENT.REGISTER",
            Self::Unregister => "AGENT.UNREGISTER",
            Self::Report => "AGENT.REPORT",
            Self::Discover => "AGENT.DISCOVER",
            Self::Unrecognized => "unrecognized",
            Self::Plain => "plain",
        }
    }

    fn message(command: &'a str) -> Self {
        match command.split_once('.') {
            None | Some((_, "")) => Self::Unrecognized,
            Some(("SEND", address)) => Self::Send(address),
            Some(("FETCH", address)) => Self::Fetch(address),
            Some(("ACK", _)) => Self::Ack,
            Some(("QUERY", address)) => Self::Query(address),
            Some(("DELETE", rest)) => match rest.rsplit_once('.') {
                Some((address, id)) if !address.is_empty() => Self::Delete { address, id },
                _ => Self::Unrecognized,
            },
            Some(_) => Self::Unrecognized,
        }
    }
}

const PREFIX: &str = "$mq9.AI";

#[cfg(test)]
mod tests {
    use super::Verb;

    #[test]
    fn the_address_is_everything_after_the_command_and_the_id_the_last_token() {
        assert_eq!(Verb::of("$mq9.AI.MSG.SEND.a.b.urgent"), Verb::Send("a.b.urgent"));
        assert_eq!(Verb::of("$mq9.AI.MSG.DELETE.a.b.7"), Verb::Delete { address: "a.b", id: "7" });
        assert_eq!(Verb::of("$mq9.AI.MSG.ACK.whatever"), Verb::Ack);
    }

    #[test]
    fn what_begins_like_mq9_is_never_plain() {
        for subject in ["$mq9.AI", "$mq9.AI.", "$mq9.AIX.foo", "$mq9.AI.MSG.SEND.", "$mq9.AI.MSG.DELETE.foo"]
        {
            assert_eq!(Verb::of(subject), Verb::Unrecognized, "{subject}");
        }
        for subject in ["$mq9.ai.MAILBOX.CREATE", "$MQ9.AI.MAILBOX.CREATE", "a.b"] {
            assert_eq!(Verb::of(subject), Verb::Plain, "{subject}");
        }
    }
}
