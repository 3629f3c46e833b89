//! What agents that share a lock wait for is dropped wherever it waits: for the lead, for the lock, for a start, for
//! the end of one that never led. Whoever waits again hears it, the lock is free for the next one, and nothing that
//! was accepted is lost.

#[path = "support/fault/mod.rs"]
mod fault;
mod support;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use agentchat_core::agent::Role;
use agentchat_core::{
    Agent, AgentCard, Body, CloseMode, ErrorKind, LeaderLock, Outbound, Request, ResilientConnector,
    ServeOptions,
};
use fault::drops::{Cutoff, told_once};
use fault::world::World;
use fault::{MS, SECOND, options, soon};
use support::Scratch;
use tokio::time::Instant;

/// A network, a lock, and how often each message was handled.
struct House {
    world: World,
    log: Arc<Mutex<BTreeMap<String, u32>>>,
    scratch: Scratch,
}

impl House {
    fn new(test: &str) -> Self {
        let house = Self { world: World::new(), log: Arc::default(), scratch: Scratch::new(test) };
        // The lock is tried at random moments: the same in each round.
        fastrand::seed(7);
        house
    }

    fn lock(&self) -> PathBuf {
        self.scratch.path().join("lock")
    }

    /// One of those that share the inbox of bob.
    async fn start(&self) -> agentchat_core::Result<Agent> {
        let log = Arc::clone(&self.log);
        let handler = move |request: Request| {
            let log = Arc::clone(&log);
            async move {
                let text = request.body().as_str().expect("text").to_owned();
                *log.lock().expect("no panic").entry(text).or_default() += 1;
                Ok(())
            }
        };
        let sessions = ResilientConnector::new(self.world.connector("bob"), options(7));
        let agent = Agent::builder(sessions).card(AgentCard::new("bob", "takes turns").expect("a card"));
        agent.leader_lock(self.lock()).serve(handler, ServeOptions::default()).start().await
    }

    async fn started(&self, role: Role) -> Agent {
        let agent = soon("starting", self.start()).await.expect("started");
        assert_eq!(agent.role(), role);
        agent
    }

    /// A message to bob is handled, whoever leads.
    async fn handles(&self, text: &str) {
        let ann = self.world.agent("ann").await;
        let to = agentchat_core::Address::parse("loopback://bob").expect("valid");
        soon("sending", ann.send(&Outbound::new(to, Body::text(text)))).await.expect("accepted");
        let handled = async {
            while !self.log.lock().expect("no panic").contains_key(text) {
                tokio::time::sleep(MS).await;
            }
        };
        soon("being handled", handled).await;
        // What was settled is acknowledged by then.
        tokio::time::sleep(SECOND).await;
    }
}

/// Runs `round` with ever later cutoffs until it says that its future came to its end: at every poll, then in steps
/// of so many milliseconds. A lock is tried about each second, so at each millisecond would take long.
async fn everywhere(what: &str, step: usize, mut round: impl AsyncFnMut(Cutoff) -> bool) {
    let millis = (0..3_000).step_by(step).map(Cutoff::Millis);
    for cutoffs in [(0..1_000).map(Cutoff::Polls).collect::<Vec<_>>(), millis.collect()] {
        let mut ended = false;
        for cutoff in cutoffs {
            let begun = std::time::Instant::now();
            ended = round(cutoff).await;
            fault::script::rest().await;
            assert_eq!(fault::tasks(), 0, "{what}, dropped at {cutoff:?}: a task is left");
            assert!(begun.elapsed() < 60 * SECOND, "{what}, dropped at {cutoff:?}, takes long");
            if ended {
                break;
            }
        }
        assert!(ended, "{what} does not come to its end");
    }
}

#[tokio::test(start_paused = true)]
async fn waiting_for_the_lead() {
    for broken in [false, true] {
        everywhere("waiting for the lead", 50, async |cutoff| {
            let house = House::new("drops-waiting");
            let leader = house.started(Role::Leader).await;
            let follower = house.started(Role::Follower).await;
            house.handles("before").await;
            let other = tokio::spawn({
                let follower = follower.clone();
                async move { follower.lead().await }
            });
            let wire = house.world.wire.clone();
            let dying = tokio::spawn(async move {
                tokio::time::sleep(5 * MS).await;
                drop(leader);
                if broken {
                    wire.cut_all();
                }
            });
            let led = cutoff.run(follower.lead()).await;
            soon("dying", dying).await.expect("no panic");
            soon("waiting again", follower.lead()).await.expect("it leads");
            soon("the other", other).await.expect("no panic").expect("it leads");
            assert_eq!(follower.role(), Role::Leader);
            house.handles("behind").await;
            let log = house.log.lock().expect("no panic").clone();
            assert!(log.len() == 2 && log.values().all(|times| *times == 1), "{log:?}");
            led.is_some_and(|led| led.is_ok())
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn waiting_for_the_lock() {
    everywhere("waiting for the lock", 50, async |cutoff| {
        let house = House::new("drops-lock");
        let held = LeaderLock::try_acquire(house.lock()).expect("usable").expect("free");
        let dying = tokio::spawn(async move {
            tokio::time::sleep(5 * MS).await;
            drop(held);
        });
        let had = cutoff.run(LeaderLock::acquire(house.lock())).await;
        let ended = had.is_some();
        drop(had);
        soon("dying", dying).await.expect("no panic");
        drop(soon("waiting again", LeaderLock::acquire(house.lock())).await.expect("usable"));
        ended
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn starting_with_a_lock() {
    for leads in [true, false] {
        everywhere("starting with a lock", 1, async |cutoff| {
            let house = House::new("drops-starting");
            let leader = if leads { None } else { Some(house.started(Role::Leader).await) };
            let started = cutoff.run(house.start()).await;
            let ended = started.is_some();
            drop((started, leader));
            // The first try may still be under way, and gives the lock back then.
            let agent = soon("starting again", house.start()).await.expect("started");
            soon("leading", agent.lead()).await.expect("it leads");
            house.handles("x").await;
            ended
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_end_of_one_that_follows() {
    everywhere("closing a follower", 1, async |cutoff| {
        let house = House::new("drops-closing");
        let _leader = house.started(Role::Leader).await;
        let follower = house.started(Role::Follower).await;
        let waiting = tokio::spawn({
            let follower = follower.clone();
            async move { follower.lead().await }
        });
        tokio::task::yield_now().await;
        let closed = cutoff.run(follower.close(CloseMode::Detach, SECOND)).await;
        if matches!(cutoff, Cutoff::Polls(0)) {
            waiting.abort();
            return false;
        }
        // Closed by half, it will not lead any more.
        let error = soon("waiting for the lead", waiting).await.expect("no panic").expect_err("closed");
        assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
        let error = soon("waiting again", follower.lead()).await.expect_err("closed");
        assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
        let again = soon("closing again", follower.close(CloseMode::Detach, SECOND)).await;
        told_once(closed.as_ref(), &again);
        house.handles("x").await;
        closed.is_some()
    })
    .await;
}

/// The agent itself goes, at every millisecond around the moment it begins to lead.
#[tokio::test(start_paused = true)]
async fn an_agent_that_takes_the_lead_over() {
    let mut over = None;
    // The first round tells when that is.
    for before in std::iter::once(None).chain((0..20).rev().map(Some)) {
        let house = House::new("drops-taking");
        let leader = house.started(Role::Leader).await;
        let follower = house.started(Role::Follower).await;
        house.handles("before").await;
        let begun = Instant::now();
        drop(leader);
        match (before, over) {
            (Some(before), Some(over)) => {
                tokio::time::sleep((over + 2 * MS) - before * MS).await;
            }
            _ => {
                soon("leading", follower.lead()).await.expect("it leads");
                over = Some(begun.elapsed());
            }
        }
        drop(follower);
        let agent = soon("starting", house.start()).await.expect("started");
        soon("leading", agent.lead()).await.expect("it leads");
        house.handles("behind").await;
        drop(agent);
        fault::script::rest().await;
        assert_eq!(fault::tasks(), 0, "a task is left {before:?} ms before the lead was taken over");
    }
    assert!(over.is_some_and(|over| over < Duration::from_secs(2)), "{over:?}");
}
