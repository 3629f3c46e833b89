//! What an mq9 error means to an agent.

use agentchat_core::{Advice, Error, ErrorKind, Reached};

/// Translates an error of the mq9 client, keeping its three answers and the broker's own words.
pub(crate) fn error(operation: &'static str, cause: mq9_client::Error) -> Error {
    let text = cause.broker_text().map(str::to_owned);
    let mapped = Error::new(kind(cause.kind()), operation, cause.to_string())
        .with_advice(match cause.kind() {
            // The client is finished; the agent's connector makes a new one.
            mq9_client::ErrorKind::Disconnected => Advice::Reconnect,
            _ => advice(cause.advice()),
        })
        .with_reached(reached(cause.reached()))
        .with_context("command", cause.operation());
    let mapped = match text {
        Some(text) => mapped.with_code(text),
        None => mapped,
    };
    mapped.with_source(cause)
}

fn kind(kind: mq9_client::ErrorKind) -> ErrorKind {
    use mq9_client::ErrorKind as Mq9;
    match kind {
        Mq9::Invalid => ErrorKind::Invalid,
        Mq9::Config | Mq9::NotMq9 => ErrorKind::Config,
        Mq9::Unauthorized => ErrorKind::Unauthorized,
        Mq9::MailboxNotFound => ErrorKind::NotFound,
        Mq9::MailboxExists => ErrorKind::Conflict,
        Mq9::TooLarge => ErrorKind::TooLarge,
        Mq9::Timeout => ErrorKind::Timeout,
        Mq9::Disconnected => ErrorKind::Disconnected,
        Mq9::Closed => ErrorKind::Closed,
        Mq9::Unsupported => ErrorKind::Unsupported,
        Mq9::Protocol | Mq9::Partitioned => ErrorKind::Protocol,
        _ => ErrorKind::Unexpected,
    }
}

fn advice(advice: mq9_client::Advice) -> Advice {
    use mq9_client::Advice as Mq9;
    match advice {
        Mq9::Backoff => Advice::Backoff,
        Mq9::After(wait) => Advice::After(wait),
        Mq9::Reconnect => Advice::Reconnect,
        _ => Advice::Never,
    }
}

fn reached(reached: mq9_client::Reached) -> Reached {
    use mq9_client::Reached as Mq9;
    match reached {
        Mq9::No => Reached::No,
        Mq9::Yes => Reached::Yes,
        _ => Reached::Unknown,
    }
}
