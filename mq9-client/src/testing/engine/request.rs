//! The bodies of the commands. Their names and the order of their fields show in the broker's error texts.

use serde::Deserialize;
use serde::de::DeserializeOwned;

#[derive(Deserialize, Default)]
pub(crate) struct MailboxCreateReq {
    pub(crate) name: Option<String>,
    pub(crate) ttl: Option<u64>,
    /// Kept by the broker, but no command shows it.
    #[serde(rename = "desc")]
    pub(crate) _desc: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct MsgFetchReq {
    pub(crate) group_name: Option<String>,
    #[serde(default)]
    pub(crate) deliver: DeliverPolicy,
    pub(crate) from_time: Option<u64>,
    pub(crate) from_id: Option<u64>,
    pub(crate) force_deliver: Option<bool>,
    pub(crate) config: Option<FetchConfig>,
}

#[derive(Deserialize, Default, Clone, Copy)]
#[serde(rename_all = "snake_case")]
pub(crate) enum DeliverPolicy {
    Earliest,
    #[default]
    Latest,
    FromTime,
    FromId,
}

#[derive(Deserialize)]
pub(crate) struct FetchConfig {
    pub(crate) num_msgs: Option<u32>,
    pub(crate) max_wait_ms: Option<u64>,
}

#[derive(Deserialize)]
pub(crate) struct MsgAckReq {
    pub(crate) group_name: String,
    pub(crate) mail_address: String,
    pub(crate) msg_id: u64,
}

#[derive(Deserialize, Default)]
pub(crate) struct MsgQueryReq {
    pub(crate) key: Option<String>,
    pub(crate) tags: Option<Vec<String>>,
    pub(crate) since: Option<u64>,
    pub(crate) limit: Option<u64>,
}

#[derive(Deserialize)]
pub(crate) struct AgentRegisterReq {
    pub(crate) name: String,
    pub(crate) payload: String,
}

#[derive(Deserialize)]
pub(crate) struct AgentUnregisterReq {
    pub(crate) name: String,
}

#[derive(Deserialize)]
pub(crate) struct AgentReportReq {
    pub(crate) name: String,
    /// Written to a topic of the broker's own that no mq9 command reads.
    #[serde(rename = "report_info")]
    pub(crate) _report_info: Option<String>,
}

#[derive(Deserialize, Default)]
pub(crate) struct AgentDiscoverReq {
    pub(crate) text: Option<String>,
    pub(crate) semantic: Option<String>,
    pub(crate) limit: Option<u32>,
    pub(crate) page: Option<u32>,
}

/// Reads a body, prefixing what the parser says with `context`.
pub(crate) fn parse<T: DeserializeOwned>(body: &[u8], context: &str) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|error| format!("{context}{error}"))
}

/// As [`parse`], for the commands whose body may be empty.
pub(crate) fn parse_or_default<T: DeserializeOwned + Default>(
    body: &[u8],
    context: &str,
) -> Result<T, String> {
    if body.is_empty() { Ok(T::default()) } else { parse(body, context) }
}
