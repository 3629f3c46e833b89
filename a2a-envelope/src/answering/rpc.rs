//! Answers as JSON-RPC objects.

use bytes::Bytes;

use super::answer::Content;
use super::{Answer, Answering};
use crate::convert::Wrapping;
use crate::json::quote;
use crate::vocabulary::{A2aVersion, ErrorCode, Operation};

impl Answering {
    /// A JSON-RPC response; `None` for what has no body.
    pub(super) fn rpc(&self, answer: &Answer) -> Option<Bytes> {
        let id = self.id.as_deref().unwrap_or("null");
        match &answer.content {
            Content::Json(json) => {
                let result = match (self.operation, answer.item) {
                    (Some(operation), _) => self.said(json, Wrapping::Of(operation), answer.is_last()),
                    // What was asked is not known here, but an item of a stream is an event everywhere.
                    (None, true) => {
                        self.said(json, Wrapping::Of(Operation::SendStreamingMessage), answer.is_last())
                    }
                    (None, false) => json.clone(),
                };
                Some(format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#).into())
            }
            Content::Raw(bytes) => Some(bytes.clone()),
            Content::Failure { code, message, data } => {
                let data = data.clone().or_else(|| self.details(*code));
                let data = data.map(|data| format!(",\"data\":{data}")).unwrap_or_default();
                let message = quote(message);
                let error = format!(r#"{{"code":{code},"message":{message}{data}}}"#);
                Some(format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{error}}}"#).into())
            }
            Content::Ack | Content::End => None,
        }
    }

    /// The details that 1.0 wants beside an A2A code.
    fn details(&self, code: i64) -> Option<String> {
        if self.version.is_some_and(A2aVersion::is_legacy) {
            return None;
        }
        let reason = ErrorCode::from_code(code)?.reason()?;
        Some(format!(
            r#"[{{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"{reason}","domain":"a2a-protocol.org"}}]"#
        ))
    }
}
