//! What the server says. Every function gives one whole frame, so that it can be written in one call.

use bytes::{BufMut, Bytes, BytesMut};

use super::frame::Publish;

pub(crate) const OK: &[u8] = b"+OK\r\n";
pub(crate) const PING: &[u8] = b"PING\r\n";
pub(crate) const PONG: &[u8] = b"PONG\r\n";

/// `MSG` without reply subject or headers.
pub(crate) fn reply(subject: &str, sid: &str, body: &[u8]) -> Bytes {
    frame(&format!("MSG {subject} {sid} {}\r\n", body.len()), b"", body)
}

/// `MSG`, or `HMSG` when the message has headers and the subscriber can read them.
pub(crate) fn message(sid: &str, message: &Publish, headers: bool) -> Bytes {
    let Publish { subject, reply, header, payload } = message;
    let reply = reply.as_deref().map(|reply| format!("{reply} ")).unwrap_or_default();
    match header {
        Some(header) if headers => {
            let total = header.len() + payload.len();
            frame(&format!("HMSG {subject} {sid} {reply}{} {total}\r\n", header.len()), header, payload)
        }
        _ => frame(&format!("MSG {subject} {sid} {reply}{}\r\n", payload.len()), b"", payload),
    }
}

/// The status message that tells a requester nobody serves the subject.
pub(crate) fn no_responders(reply: &str, sid: &str) -> Bytes {
    let size = NO_RESPONDERS.len();
    frame(&format!("HMSG {reply} {sid} {size} {size}\r\n"), NO_RESPONDERS, b"")
}

/// `-ERR`. Line ends and quotes in `text` would break the frame, so they become blanks.
pub(crate) fn error(text: &str) -> Bytes {
    let text: String = text.chars().map(|c| if matches!(c, '\r' | '\n' | '\'') { ' ' } else { c }).collect();
    Bytes::from(format!("-ERR '{text}'\r\n"))
}

fn frame(line: &str, header: &[u8], body: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(line.len() + header.len() + body.len() + 2);
    frame.put_slice(line.as_bytes());
    frame.put_slice(header);
    frame.put_slice(body);
    frame.put_slice(b"\r\n");
    frame.freeze()
}

const NO_RESPONDERS: &[u8] = b"NATS/1.0 503\r\n\r\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_left_out_for_a_subscriber_that_cannot_read_them() {
        let publish = Publish {
            subject: "a".into(),
            reply: Some("r".into()),
            header: Some(Bytes::from_static(b"NATS/1.0\r\n\r\n")),
            payload: Bytes::from_static(b"hi"),
        };
        assert_eq!(message("7", &publish, true), &b"HMSG a 7 r 12 14\r\nNATS/1.0\r\n\r\nhi\r\n"[..]);
        assert_eq!(message("7", &publish, false), &b"MSG a 7 r 2\r\nhi\r\n"[..]);
    }

    #[test]
    fn an_error_text_cannot_break_its_frame() {
        assert_eq!(error("a'b\r\nPING"), &b"-ERR 'a b  PING'\r\n"[..]);
    }
}
