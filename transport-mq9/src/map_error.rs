//! What an mq9 error means to an agent.

use agentchat_core::{Advice, Error, ErrorKind, Reached};

/// Translates an error of the mq9 client, keeping its three answers and the broker's own words.
pub(crate) fn error(operation: &'static str, cause: mq9_client::Error) -> Error {
    let spoke_mq9 = cause.advice() != mq9_client::Advice::Never;
    translate(operation, cause, spoke_mq9)
}

/// The same for a server that spoke mq9 before: if nothing does there now, the broker behind it is away, and
/// nothing is configured wrong.
pub(crate) fn of_known(operation: &'static str, cause: mq9_client::Error) -> Error {
    translate(operation, cause, true)
}

fn translate(operation: &'static str, cause: mq9_client::Error, spoke_mq9: bool) -> Error {
    let text = cause.broker_text().map(str::to_owned);
    let (kind, advice) = match cause.kind() {
        // The client is finished; the agent's connector makes a new one.
        mq9_client::ErrorKind::Disconnected => (ErrorKind::Disconnected, Advice::Reconnect),
        mq9_client::ErrorKind::NotMq9 if spoke_mq9 => (ErrorKind::Disconnected, Advice::Reconnect),
        other => (kind(other), advice(cause.advice())),
    };
    let mapped = Error::new(kind, operation, message(operation, &cause))
        .with_advice(advice)
        .with_reached(reached(cause.reached()))
        .with_context("command", cause.operation());
    let mapped = match text {
        Some(text) => mapped.with_code(text),
        None => mapped,
    };
    mapped.with_source(cause)
}

/// The cause's line without what core's own line says anyway: the operation before it, and the broker's
/// words behind it.
fn message(operation: &str, cause: &mq9_client::Error) -> String {
    let line = cause.to_string();
    let quoted = cause.broker_text().map(|text| format!(" (broker: {text})"));
    let line = quoted.and_then(|quoted| line.strip_suffix(&quoted)).unwrap_or(&line);
    let line = line.strip_prefix(operation).and_then(|line| line.strip_prefix(": ")).unwrap_or(line);
    line.to_owned()
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
