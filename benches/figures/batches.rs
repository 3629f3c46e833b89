//! A reader that settles in batches whatever it could read without waiting.

use std::future::poll_fn;
use std::task::Poll;

use agentchat_core::{AckTag, Event, EventStream, Transport};
use bytes::Bytes;
use futures_util::StreamExt;

/// Hands `count` messages to `handle`, and settles at most `most` of them at once.
pub async fn read(
    transport: &dyn Transport,
    events: &mut EventStream,
    (count, most): (usize, usize),
    handle: impl Fn(&Bytes),
) {
    let mut tags: Vec<AckTag> = Vec::with_capacity(most);
    let mut left = count;
    while left > 0 {
        let mut event = Some(events.next().await);
        while let Some(read) = event {
            if let Event::Message(delivery) = read.expect("the stream goes on").expect("no error") {
                handle(&delivery.body.bytes);
                tags.push(delivery.tag);
                left -= 1;
            }
            if tags.len() == most || left == 0 {
                break;
            }
            event = poll_fn(|cx| match events.poll_next_unpin(cx) {
                Poll::Ready(event) => Poll::Ready(Some(event)),
                Poll::Pending => Poll::Ready(None),
            })
            .await;
        }
        transport.ack(&tags).await.expect("settled");
        tags.clear();
    }
}
