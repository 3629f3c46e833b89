//! A leader that closes gives its lock back when everything else is done, so that who follows finds nothing of it.
#![cfg(feature = "leader-lock")]

mod support;

use std::path::{Path, PathBuf};

use agentchat_core::{
    Agent, AgentCard, ClientMsgId, CloseMode, LeaderLock, LockState, Loopback, Request, ServeOptions,
};
use support::steps::{Fault, Steps};
use support::{SECOND, start, text};

/// The file of a lock, which goes with it.
struct Place(PathBuf);

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Closes a leader of which one step takes long, and gives how the lock stood a second before that step's end
/// and after the closing.
async fn closing(handler_takes: u32, hangs: Option<&'static str>, mode: CloseMode) -> [LockState; 2] {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let place = Place(folder.join(format!("last-{}.lock", ClientMsgId::random())));
    let network = Loopback::new();
    let steps = Steps::new(&network, "bob");
    let slow = move |_: Request| async move {
        tokio::time::sleep(handler_takes * SECOND).await;
        Ok(())
    };
    let builder = Agent::builder(steps.clone()).card(AgentCard::new("bob", "works").expect("a card"));
    let builder = builder.leader_lock(&place.0).serve(slow, ServeOptions::default());
    let bob = builder.start().await.expect("started");
    let alice = start(&network, "alice").await;
    alice.send(&text(&bob, "work")).await.expect("sent");
    tokio::time::sleep(SECOND / 10).await;
    let steps = match hangs {
        Some(step) => steps.fault(step, Fault::Hangs),
        None => steps,
    };
    let closing = {
        let bob = bob.clone();
        tokio::spawn(async move { bob.close(mode, 10 * SECOND).await })
    };
    tokio::time::sleep(9 * SECOND).await;
    assert!(!closing.is_finished(), "nothing took long");
    let before = LeaderLock::probe(&place.0);
    let closed = closing.await.expect("no panic");
    steps.heal();
    if closed.is_err() {
        assert_eq!(LeaderLock::probe(&place.0), LockState::Held, "it is not closed yet");
        bob.close(mode, 10 * SECOND).await.expect("closed at last");
    }
    [before, LeaderLock::probe(&place.0)]
}

#[tokio::test(start_paused = true)]
async fn the_lock_is_held_until_everything_else_of_a_closing_is_done() {
    let kept = [LockState::Held, LockState::Free];
    assert_eq!(closing(10, None, CloseMode::Retire).await, kept, "while a handler works");
    assert_eq!(closing(0, Some("unregister"), CloseMode::Retire).await, kept, "while it is in the directory");
    assert_eq!(closing(0, Some("close"), CloseMode::Detach).await, kept, "while it is attached");
}
