//! Closing tells the server what is settled, once, and whoever asks what came of it.

use std::task::Poll;
use std::time::Duration;

use agentchat_core::{CloseMode, Connector, ErrorKind, Reached, Result};
use transport_ws::testing::{HttpFault, Profile};

use crate::poll::{MS, attach, connector};
use crate::ws_support::{Attached, World, backlog, read, say, within};

fn is_refused(closed: Result<()>) {
    let error = closed.expect_err("it was closed before");
    assert_eq!((error.kind(), error.operation()), (ErrorKind::Closed, "close"), "{error:?}");
    assert!(!error.is_retryable() && error.reached() == Reached::No, "{error:?}");
    assert!(error.to_string().contains("already closed"), "{error}");
}

/// Polls at most so many times: `None` when that is not enough, and the future is dropped.
async fn pending_at_most<F: Future>(polls: u32, future: F) -> Option<F::Output> {
    let mut future = std::pin::pin!(future);
    let mut pending = 0;
    within(std::future::poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending => {
            pending += 1;
            if pending >= polls { Poll::Ready(None) } else { Poll::Pending }
        }
    }))
    .await
}

/// Over many threads: who closes must not be missed between two looks of the task that tells the server.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn closing_by_several_at_once_is_done_for_each() {
    let world = World::new().await;
    for round in 0..100 {
        let socket = world.attach("bob").await;
        let polling = attach(&world, "carol").await;
        let closing = [socket, polling].map(|attached| {
            tokio::spawn(async move {
                tokio::task::yield_now().await;
                let close = async || attached.close(CloseMode::Detach).await;
                (tokio::join!(close(), close(), close()), attached)
            })
        });
        for closing in closing {
            let ((one, two, three), attached) = within(closing).await.expect("it ends");
            one.and(two).and(three).unwrap_or_else(|error| panic!("round {round}: {error}"));
            is_refused(within(attached.close(CloseMode::Retire)).await);
        }
    }
}

#[tokio::test]
async fn closing_acknowledges_what_is_settled_and_says_when_it_could_not() {
    let world = World::new().await;
    let (alice, slow) = (world.attach("alice").await, Duration::from_secs(3600));
    for (number, lost) in [(0, false), (1, true)] {
        let bob = connector(&world, "bob", slow, slow).connect().await.expect("attached");
        say(&alice, &bob, number.to_string()).await;
        let found = backlog(&mut read(&bob).await).await;
        bob.ack(&[found[0].tag.clone()]).await.expect("settled");
        if lost {
            let fault = HttpFault::status(503);
            world.server.faults().repeat("POST /v1/messages/sync/ack", 100, fault);
        }
        assert_eq!(within(bob.close(CloseMode::Detach)).await.is_err(), lost);
        assert_eq!(world.server.stored("bob"), usize::from(lost));
    }
}

/// Drops the closing of `bob` after so many polls, unless it has ended by then, which is the answer. What came of
/// it must be told to the next one: an error where `lost`.
async fn dropped_after(polls: u32, pause: Duration, bob: Attached, lost: bool) -> bool {
    let first = pending_at_most(polls, bob.close(CloseMode::Detach)).await;
    let ended = first.is_some();
    tokio::time::sleep(pause).await;
    let told = match first {
        Some(first) => first,
        None => within(bob.close(CloseMode::Detach)).await,
    };
    assert_eq!(told.is_err(), lost, "dropped after {polls} polls: {told:?}");
    is_refused(within(bob.close(CloseMode::Detach)).await);
    ended
}

/// How one is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Socket,
    Poll,
    /// As `Poll`, and what it settles the server refuses to hear.
    Unheard,
}

async fn attached(world: &World, kind: Kind) -> Attached {
    let slow = Duration::from_secs(3600);
    match kind {
        Kind::Socket => world.attach("bob").await,
        Kind::Poll => attach(world, "bob").await,
        Kind::Unheard => connector(world, "bob", slow, slow).connect().await.expect("attached"),
    }
}

#[tokio::test]
async fn what_a_dropped_closing_came_to_is_told_to_the_next() {
    for profile in [Profile::Legacy, Profile::Current] {
        let world = World::of(profile).await;
        let alice = world.attach("alice").await;
        // The next one comes at once, or when what was begun has ended by itself.
        let pauses = [Duration::ZERO, 100 * MS];
        let kinds = [Kind::Socket, Kind::Poll, Kind::Unheard];
        for (kind, pause) in kinds.into_iter().flat_map(|kind| pauses.map(|pause| (kind, pause))) {
            for polls in 1.. {
                world.server.faults().clear();
                let bob = attached(&world, kind).await;
                say(&alice, &bob, "x").await;
                let found = backlog(&mut read(&bob).await).await;
                let tags: Vec<_> = found.into_iter().map(|delivery| delivery.tag).collect();
                bob.ack(&tags).await.expect("settled");
                let lost = kind == Kind::Unheard;
                if lost {
                    world.server.faults().repeat("POST /v1/messages/sync/ack", 100, HttpFault::status(503));
                }
                if dropped_after(polls, pause, bob, lost).await {
                    assert!(polls > 2, "it was never dropped while it closed");
                    break;
                }
            }
        }
    }
}
