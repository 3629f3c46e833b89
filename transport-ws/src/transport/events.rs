//! The events of a subscription, as a stream.

use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};

use agentchat_core::{Event, Result};
use futures_core::Stream;
use futures_util::future::BoxFuture;

use super::reading::Reading;

/// A [`Reading`] to be polled. What is ready is handed over at once; only a wait makes a future.
pub(super) struct Events(State);

enum State {
    Ready(Box<Reading>),
    Waiting(BoxFuture<'static, Next>),
    Over,
}

type Next = Option<(Result<Event>, Box<Reading>)>;

impl Events {
    pub(super) fn new(reading: Reading) -> Self {
        Self(State::Ready(Box::new(reading)))
    }
}

impl Stream for Events {
    type Item = Result<Event>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let State::Ready(reading) = &mut self.0
            && let Some(event) = reading.ready()
        {
            return Poll::Ready(Some(Ok(event)));
        }
        let mut waiting = match mem::replace(&mut self.0, State::Over) {
            State::Ready(reading) => Box::pin(reading.next()) as BoxFuture<'static, Next>,
            State::Waiting(waiting) => waiting,
            State::Over => return Poll::Ready(None),
        };
        match waiting.as_mut().poll(cx) {
            Poll::Pending => {
                self.0 = State::Waiting(waiting);
                Poll::Pending
            }
            Poll::Ready(next) => Poll::Ready(next.map(|(event, reading)| {
                self.0 = State::Ready(reading);
                event
            })),
        }
    }
}
