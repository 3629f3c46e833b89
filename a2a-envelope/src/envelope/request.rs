//! A request's envelope, from what its body says.

use bytes::Bytes;

use super::Envelope;
use crate::correlation::CorrelationId;
use crate::error::Result;
use crate::headers::Headers;
use crate::limits::Limits;
use crate::received::{MessageKind, Received};

impl Envelope {
    /// The envelope of an A2A request, with the headers that follow from its body: the method under its 1.0
    /// name, the version the body is spelled in, the correlation id (the body's own, or else `id`), the
    /// idempotency key (the `messageId`, or else the correlation id), and of a follow-up its task and context.
    ///
    /// The body stays as it is. A body that is no request gets the correlation id and key alone. Where the answers
    /// go is said by [`with_answer_address`](Self::with_answer_address).
    ///
    /// # Errors
    ///
    /// [`Error::Limit`](crate::Error::Limit) for a body beyond the default [`Limits`].
    pub fn request(body: impl Into<Bytes>, id: &CorrelationId) -> Result<Self> {
        let told = Received::read(Headers::new(), body, &Limits::default())?;
        let own = told.correlation.as_ref().and_then(|found| found.to_header().ok());
        let id = own.as_ref().unwrap_or(id);
        let mut headers = Self::new("").with_correlation_id(id)?;
        if told.kind == MessageKind::Request {
            let method = told.operation().map(|operation| operation.as_str().to_owned());
            let method = method.or_else(|| told.method.clone()).unwrap_or_else(|| SEND.to_owned());
            headers = headers.with_method(&method)?;
            if let Some(version) = told.version {
                headers = headers.with_a2a_version(version.as_str())?;
            }
        }
        let view = told.request();
        let message = view.as_ref().and_then(|view| view.message.as_ref());
        let key = message.and_then(|message| message.message_id.as_deref());
        // What no header can carry is no reason not to send: the correlation id is as good a key.
        headers = match key.map(|key| headers.clone().with_idempotency_key(key)) {
            Some(Ok(keyed)) => keyed,
            _ => headers.with_idempotency_key(id.as_str())?,
        };
        // In 0.1 the caller names the id of a new task, which is no follow-up.
        if let Some(task) = message.and_then(|message| message.task_id.as_deref()) {
            headers = headers.with_task_id(task)?;
            if let Some(context) = message.and_then(|message| message.context_id.as_deref()) {
                headers = headers.with_context_id(context)?;
            }
        }
        Ok(Self { headers: headers.headers, body: told.envelope.body })
    }
}

/// What a message without a method asks for.
const SEND: &str = "SendMessage";

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(body: &str) -> Vec<(String, String)> {
        let envelope = Envelope::request(body.to_owned(), &CorrelationId::new("c-1").unwrap()).unwrap();
        assert_eq!(envelope.body, body);
        let pairs = envelope.headers.iter().skip(1);
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    fn assert_pairs(body: &str, want: &[(&str, &str)]) {
        let got = pairs(body);
        let got: Vec<_> = got.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(got, want, "{body}");
    }

    #[test]
    fn headers_follow_from_the_body() {
        assert_pairs(
            r#"{"jsonrpc":"2.0","id":7,"method":"message/stream","params":{"message":{"messageId":"m-1","role":"user","parts":[]}}}"#,
            &[
                ("amb-correlation-id", "7"),
                ("mq9-a2a-method", "SendStreamingMessage"),
                ("a2a-version", "0.3"),
                ("amb-idempotency-key", "m-1"),
            ],
        );
        assert_pairs(
            r#"{"message":{"messageId":"m-1","taskId":"t","contextId":"c","role":"ROLE_USER","parts":[]}}"#,
            &[
                ("amb-correlation-id", "c-1"),
                ("mq9-a2a-method", "SendMessage"),
                ("a2a-version", "1.0"),
                ("amb-idempotency-key", "m-1"),
                ("mq9-a2a-task-id", "t"),
                ("amb-context-id", "c"),
            ],
        );
    }

    #[test]
    fn the_correlation_id_is_the_key_where_there_is_no_message_id_to_be_one() {
        let long = "x".repeat(5_000);
        for body in [
            r#"{"jsonrpc":"2.0","id":"r","method":"PauseTask","params":{"id":"t"}}"#.to_owned(),
            format!(
                r#"{{"jsonrpc":"2.0","id":"r","method":"SendMessage","params":{{"message":{{"messageId":"{long}"}}}}}}"#
            ),
        ] {
            let key = ("amb-idempotency-key".to_owned(), "r".to_owned());
            assert!(pairs(&body).contains(&key), "{body:.80}");
        }
        assert_pairs("opaque", &[("amb-correlation-id", "c-1"), ("amb-idempotency-key", "c-1")]);
    }

    #[test]
    fn a_new_task_has_no_id_yet() {
        let body = r#"{"jsonrpc":"2.0","id":1,"method":"tasks/send","params":{"id":"mine","message":{"role":"user","parts":[]}}}"#;
        assert!(!pairs(body).iter().any(|(name, _)| name == "mq9-a2a-task-id"));
    }

    #[test]
    fn what_is_written_is_a_request_that_passes_the_check() {
        for body in ["opaque", r#"{"jsonrpc":"2.0","id":"a b","method":"message/send","params":{}}"#] {
            let sent = Envelope::request(body, &CorrelationId::new("c-1").unwrap()).unwrap();
            let got = Received::read(sent.headers.clone(), sent.body.clone(), &Limits::default()).unwrap();
            assert_eq!((got.envelope.clone(), got.check(&Limits::default())), (sent, Ok(())));
        }
    }
}
