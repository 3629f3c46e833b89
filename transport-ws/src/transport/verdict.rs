//! Whether a key that the server spoke against is really bad.

use std::time::Duration;

use agentchat_core::{Error, ErrorKind};
use tokio::time::sleep;

use super::ending::Ending;
use crate::api::AgentChat;
use crate::map_error::ErrorCode;
use crate::socket::{CloseMeaning, End};

/// Why the attachment of `own` is over, from how its task ended: nothing is its owner's wish.
pub(crate) async fn ending_of(client: &AgentChat, own: &str, end: Option<End>) -> Ending {
    match end {
        None => Ending::Closed,
        // What is rare is boxed: it must not take room in the task of every agent.
        Some(end) if end.meaning == CloseMeaning::KeyInQuestion => {
            Box::pin(verdict(client, Some(own), end.how)).await
        }
        Some(end) => Ending::Lost(end.how),
    }
}

/// Asks again, by REST. A server whose database is away refuses every key: the recorded one takes its time
/// to, another may do it at once. So a refusal counts when it comes after the server showed that it can read
/// accounts, by showing this one's profile, for which it needs no key: one before that may be from before the
/// database was back. Or when it goes on refusing for a while. No answer soon, or one that takes the key, means
/// that the connection was lost and no more.
///
/// `own` is one's own handle, where it is known: the server named it earlier, so then the key was good.
///
/// What stays: a server that refuses keys at once, and finds no profile either, for longer than
/// [`PAUSES`] together, is believed.
pub(crate) async fn verdict(client: &AgentChat, own: Option<&str>, how: String) -> Ending {
    let client = client.clone().with_call_timeout(SOON);
    let pauses = if own.is_some() { PAUSES.as_slice() } else { &PAUSES[..1] };
    let mut pauses = pauses.iter();
    let mut reads_accounts = false;
    loop {
        match client.me().await {
            Err(error) if error.kind() == ErrorKind::Unauthorized && reads_accounts => {
                return Ending::Refused(how);
            }
            Err(error) if error.kind() == ErrorKind::Unauthorized => {}
            Err(error) if error.error_code() == Some(ErrorCode::Suspended) => {
                return Ending::Refused("the account is suspended".to_owned());
            }
            Ok(me) if matches!(me.status.as_deref(), Some("suspended" | "deleted")) => {
                return Ending::Refused(format!("the account is {}", me.status.unwrap_or_default()));
            }
            _ => return Ending::Lost(how),
        }
        if let Some(own) = own {
            match client.agent(own).await {
                Ok(_) => {
                    reads_accounts = true;
                    continue;
                }
                // Deleted, or not to be found just now.
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Unauthorized) => {}
                Err(_) => return Ending::Lost(how),
            }
        }
        let Some(pause) = pauses.next() else { return Ending::Refused(how) };
        sleep(*pause).await;
    }
}

/// A refusal of a call, unless the key is good after all.
pub(crate) async fn confirmed(client: &AgentChat, own: &str, error: Error) -> Error {
    if error.kind() != ErrorKind::Unauthorized {
        return error;
    }
    match verdict(client, Some(own), error.to_string()).await {
        Ending::Refused(_) => error,
        _ => {
            let what = "the server refused the key, and takes it when asked again";
            Error::new(ErrorKind::Disconnected, error.operation(), what)
                .with_advice(agentchat_core::Advice::Backoff)
                .with_source(error)
        }
    }
}

/// The recorded server answers a bad key within milliseconds, and any key after seven seconds while its
/// database is away.
const SOON: Duration = Duration::from_secs(4);
/// Between asking and asking again.
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(2)];
