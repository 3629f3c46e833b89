//! Whether a key that the server spoke against is really bad.

use std::time::Duration;

use agentchat_core::{Error, ErrorKind};

use super::ending::Ending;
use crate::api::AgentChat;
use crate::map_error::ErrorCode;

/// Asks once more, by REST. A server whose database is away refuses every key, and takes its time to: no
/// answer soon, or one that takes the key, means that the connection was lost and no more.
pub(crate) async fn verdict(client: &AgentChat, how: String) -> Ending {
    let client = client.clone().with_call_timeout(SOON);
    match client.me().await {
        Err(error) if error.kind() == ErrorKind::Unauthorized => Ending::Refused(how),
        Err(error) if error.error_code() == Some(ErrorCode::Suspended) => {
            Ending::Refused("the account is suspended".to_owned())
        }
        Ok(me) if matches!(me.status.as_deref(), Some("suspended" | "deleted")) => {
            Ending::Refused(format!("the account is {}", me.status.unwrap_or_default()))
        }
        _ => Ending::Lost(how),
    }
}

/// A refusal of a call, unless the key is good after all.
pub(crate) async fn confirmed(client: &AgentChat, error: Error) -> Error {
    if error.kind() != ErrorKind::Unauthorized {
        return error;
    }
    match verdict(client, error.to_string()).await {
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
