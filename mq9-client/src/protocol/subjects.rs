//! The NATS subject of each command.

use crate::address::MailAddress;
use crate::message::MsgId;

/// One command and what it is aimed at.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Command<'a> {
    /// The name asked for, if one is; it is not in the subject.
    Create(Option<&'a MailAddress>),
    Send(&'a MailAddress),
    Fetch(&'a MailAddress),
    Ack(&'a MailAddress),
    Query(&'a MailAddress),
    Delete(&'a MailAddress, MsgId),
    Register,
    Unregister,
    Report,
    Discover,
}

impl Command<'_> {
    /// The name that errors carry.
    pub(crate) const fn operation(self) -> &'static str {
        match self {
            Self::Create(_) => "MAILBOX.CREATE",
            Self::Send(_) => "MSG.SEND",
            Self::Fetch(_) => "MSG.FETCH",
            Self::Ack(_) => "MSG.ACK",
            Self::Query(_) => "MSG.QUERY",
            Self::Delete(..) => "MSG.DELETE",
            Self::Register => "AGENT.REGISTER",
            Self::Unregister => "AGENT.UNREGISTER",
            Self::Report => "AGENT.REPORT",
            Self::Discover => "AGENT.DISCOVER",
        }
    }

    /// The mailbox it is about.
    pub(crate) fn mailbox(&self) -> Option<&MailAddress> {
        match self {
            Self::Send(mailbox)
            | Self::Fetch(mailbox)
            | Self::Ack(mailbox)
            | Self::Query(mailbox)
            | Self::Delete(mailbox, _) => Some(mailbox),
            Self::Create(mailbox) => *mailbox,
            Self::Register | Self::Unregister | Self::Report | Self::Discover => None,
        }
    }

    pub(crate) fn subject(&self) -> String {
        let operation = self.operation();
        let named = self.mailbox().filter(|_| !matches!(self, Self::Create(_)));
        let name = named.map_or("", MailAddress::as_str);
        let mut subject = String::with_capacity(PREFIX.len() + operation.len() + name.len() + 24);
        subject.push_str(PREFIX);
        subject.push_str(operation);
        if !name.is_empty() {
            subject.push('.');
            subject.push_str(name);
        }
        if let Self::Delete(_, id) = self {
            subject.push('.');
            subject.push_str(&id.to_string());
        }
        subject
    }
}

const PREFIX: &str = "$mq9.AI.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_are_those_the_broker_reads() {
        let mailbox = MailAddress::new("agent.inbox").expect("valid");
        for (command, subject) in [
            (Command::Create(Some(&mailbox)), "$mq9.AI.MAILBOX.CREATE"),
            (Command::Send(&mailbox), "$mq9.AI.MSG.SEND.agent.inbox"),
            (Command::Fetch(&mailbox), "$mq9.AI.MSG.FETCH.agent.inbox"),
            (Command::Ack(&mailbox), "$mq9.AI.MSG.ACK.agent.inbox"),
            (Command::Query(&mailbox), "$mq9.AI.MSG.QUERY.agent.inbox"),
            (Command::Delete(&mailbox, MsgId::new(17)), "$mq9.AI.MSG.DELETE.agent.inbox.17"),
            (Command::Register, "$mq9.AI.AGENT.REGISTER"),
            (Command::Unregister, "$mq9.AI.AGENT.UNREGISTER"),
            (Command::Report, "$mq9.AI.AGENT.REPORT"),
            (Command::Discover, "$mq9.AI.AGENT.DISCOVER"),
        ] {
            assert_eq!(command.subject(), subject);
        }
    }
}
