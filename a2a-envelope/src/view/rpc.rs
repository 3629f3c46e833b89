//! JSON-RPC objects.

use std::borrow::Cow;
use std::fmt;

use super::{filled, raw};
use crate::json::{Kind, Node};

/// A JSON-RPC object: a request, a response or an error.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RpcView<'a> {
    /// `id`, as the JSON token it is (`"7"` and `7` are different ids).
    pub id: Option<&'a str>,
    /// `method`, as spelled.
    pub method: Option<Cow<'a, str>>,
    /// `params`, as JSON text.
    pub params: Option<&'a str>,
    /// `result`, as JSON text.
    pub result: Option<&'a str>,
    /// `error`.
    pub error: Option<RpcError<'a>>,
}

/// The `error` of a JSON-RPC response.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RpcError<'a> {
    /// `code`; 0 if it is no whole number of 64 bits.
    pub code: i64,
    /// `message`.
    pub message: Cow<'a, str>,
    /// `data`, as JSON text: an array of details in 1.0, anything in 0.x.
    pub data: Option<&'a str>,
}

impl<'a> RpcView<'a> {
    /// Reads a body; `None` if it is no JSON object with `"jsonrpc": "2.0"` within the default limits.
    #[must_use]
    pub fn read(body: &'a [u8]) -> Option<Self> {
        let root = super::object(body)?;
        crate::dialect::is_json_rpc(root).then(|| Self::of(root))
    }

    pub(crate) fn of(root: Node<'a>) -> Self {
        let error = root.get("error").filter(|error| error.is_object()).map(|error| RpcError {
            code: error.get("code").and_then(|code| code.raw().parse().ok()).unwrap_or(0),
            message: error.text_of("message").unwrap_or_default(),
            data: raw(error, "data"),
        });
        Self {
            id: root.get("id").filter(|id| id.kind() != Kind::Null).map(Node::raw),
            method: filled(root, "method"),
            params: raw(root, "params"),
            // A result of null is a result all the same: a deletion has no other.
            result: root.get("result").map(Node::raw),
            error,
        }
    }
}

impl fmt::Debug for RpcView<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RpcView")
            .field("method", &self.method)
            .field("error", &self.error)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for RpcError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RpcError").field("code", &self.code).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_numbers_keep_their_spelling() {
        let view = RpcView::read(br#"{"jsonrpc":"2.0","id":1.0,"method":"m","params":{"n":1e400}}"#).unwrap();
        assert_eq!(
            (view.id, view.params, view.method.as_deref()),
            (Some("1.0"), Some(r#"{"n":1e400}"#), Some("m"))
        );
        assert_eq!((view.result, view.error), (None, None));
    }

    #[test]
    fn errors_are_read_with_details_of_either_version() {
        for data in [r#"[{"@type":"x"}]"#, r#""free form""#] {
            let text = format!(
                r#"{{"jsonrpc":"2.0","id":null,"error":{{"code":-32001,"message":"m","data":{data}}}}}"#
            );
            let error = RpcView::read(text.as_bytes()).unwrap().error.unwrap();
            assert_eq!((error.code, error.message.as_ref(), error.data), (-32001, "m", Some(data)));
        }
    }

    #[test]
    fn what_is_no_json_rpc_is_none() {
        for body in ["", "[]", "{}", r#"{"jsonrpc":2.0}"#, r#"{"jsonrpc":"1.0"}"#, r#"[{"jsonrpc":"2.0"}]"#] {
            assert_eq!(RpcView::read(body.as_bytes()), None, "{body}");
        }
        let null = RpcView::read(br#"{"jsonrpc":"2.0","id":1,"result":null}"#).unwrap();
        assert_eq!(null.result, Some("null"));
    }
}
