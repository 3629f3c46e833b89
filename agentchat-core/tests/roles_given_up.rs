//! A follower that will never lead says so to whoever waits for it.
#![cfg(feature = "leader-lock")]

mod support;

use std::path::{Path, PathBuf};

use agentchat_core::agent::StartContext;
use agentchat_core::{
    Agent, AgentCard, ClientMsgId, ErrorKind, LeaderLock, LockState, Loopback, Request, ServeOptions,
};
use support::soon;

/// The folder of a lock, which goes with it.
struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        Self(Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("role-{}.lock", ClientMsgId::random())))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

async fn no_card(_: StartContext) -> agentchat_core::Result<AgentCard> {
    panic!("no card today")
}

#[tokio::test(start_paused = true)]
async fn a_card_whose_making_panics_ends_the_wait_and_another_may_lead() {
    let (network, place) = (Loopback::new(), Place::new());
    let lock = LeaderLock::try_acquire(&place.0).expect("usable").expect("free");
    let agent = Agent::builder(network.connector("alice").expect("a name")).leader_lock(&place.0);
    let agent = agent.card_with(no_card);
    let agent = agent.serve(async |_: Request| Ok(()), ServeOptions::default());
    let agent = agent.start().await.expect("started");
    drop(lock);
    let error = soon(agent.lead()).await.expect_err("it cannot lead");
    assert_eq!(error.kind(), ErrorKind::Unexpected, "{error}");
    let served = soon(agent.served()).await.expect("it had a handler");
    assert_eq!(served.error.as_ref().map(|error| error.kind()), Some(ErrorKind::Unexpected));
    assert_eq!(LeaderLock::probe(&place.0), LockState::Free);
}
