//! The greeting, written past the WebSocket library: that logs each frame it writes at its lowest level, and
//! this one holds the key.

use tokio::io::{AsyncWrite, AsyncWriteExt};
use zeroize::Zeroizing;

/// Writes `text` as the first frame on the connection below a socket, where nothing waits to be written yet.
/// Dropping the future may leave a part of it written: the socket cannot be used then.
pub(super) async fn write_first(below: &mut (impl AsyncWrite + Unpin), text: &str) -> std::io::Result<()> {
    // It need not be hard to guess: what is masked is chosen by nobody else.
    let frame = text_frame(text, fastrand::u32(..).to_be_bytes());
    below.write_all(&frame).await?;
    below.flush().await
}

/// A whole text frame of a client.
fn text_frame(text: &str, mask: [u8; 4]) -> Zeroizing<Vec<u8>> {
    let length = text.len();
    // As large as it gets, so that no copy is left behind.
    let mut frame = Zeroizing::new(Vec::with_capacity(length + 14));
    frame.push(WHOLE_TEXT);
    match (u8::try_from(length).ok().filter(|it| *it < TWO_BYTES), u16::try_from(length)) {
        (Some(length), _) => frame.push(MASKED | length),
        (None, Ok(length)) => {
            frame.push(MASKED | TWO_BYTES);
            frame.extend(length.to_be_bytes());
        }
        (None, Err(_)) => {
            frame.push(MASKED | EIGHT_BYTES);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    frame.extend(mask);
    frame.extend(text.bytes().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

const WHOLE_TEXT: u8 = 0x81;
const MASKED: u8 = 0x80;
/// The length follows in so many bytes.
const TWO_BYTES: u8 = 126;
const EIGHT_BYTES: u8 = 127;

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;
    use tokio_tungstenite::WebSocketStream;
    use tokio_tungstenite::tungstenite::protocol::{Message, Role};

    use super::*;

    #[tokio::test]
    async fn a_server_reads_a_greeting_of_any_length() {
        for length in [0, 1, 125, 126, 127, 65_535, 65_536, 100_000] {
            let (mut client, server) = tokio::io::duplex(1 << 20);
            let text = "k".repeat(length);
            write_first(&mut client, &text).await.expect("written");
            let mut server = WebSocketStream::from_raw_socket(server, Role::Server, None).await;
            let read = server.next().await.expect("a frame").expect("well formed");
            assert_eq!(read, Message::text(text), "{length}");
        }
    }

    #[test]
    fn the_mask_is_in_use() {
        let frame = text_frame("key", [1, 2, 3, 4]);
        assert_eq!(frame[..], [0x81, 0x83, 1, 2, 3, 4, b'k' ^ 1, b'e' ^ 2, b'y' ^ 3]);
    }
}
