//! A consumer that stalls: what is taken in stays within its bounds in messages and in bytes, others go on,
//! and nothing is lost when it wakes.

#[path = "support/fault/mod.rs"]
mod fault;

use std::sync::{Arc, Mutex};

use agentchat_core::{
    Agent, Body, CallRequest, ConversationId, Event, Loopback, Outbound, Request, Resilient, ServeOptions,
    SubscribeOptions, Transport,
};
use fault::frames::Wire;
use fault::{MS, SECOND, Seed, message, seeds, session, soon, text};
use futures_util::StreamExt;
use tokio::sync::Semaphore;

const MOST: usize = 32;

struct World {
    network: Loopback,
    wire: Wire,
    alice: Agent,
    bob: Agent,
    /// Bob's session, beside the agent that uses it.
    session: Resilient,
}

/// Every other seed has a network that keeps no bounds by itself.
async fn world(seed: u64) -> World {
    let network = Loopback::new();
    let wire = Wire::clear().with_latency(MS);
    let wire = if seed % 2 == 1 { wire.greedy() } else { wire };
    let alice = Agent::builder(network.connector("alice").expect("a name"));
    let alice = soon("starting", alice.start()).await.expect("started");
    let session = session(wire.connector("bob", network.connector("bob").expect("a name")), seed).await;
    let bob = soon("starting", Agent::builder(session.clone()).start()).await.expect("started");
    World { network, wire, alice, bob, session }
}

fn in_conversation(to: &Agent, name: &str, text: &str) -> Outbound {
    let id = ConversationId::new(name).expect("id");
    Outbound::new(to.address().clone(), Body::text(text)).with_conversation(id)
}

/// Handles everything at once but the conversation `stuck`, which waits for permits.
fn handler(gate: Arc<Semaphore>, log: Arc<Mutex<Vec<String>>>) -> impl agentchat_core::Handler {
    move |request: Request| {
        let (gate, log) = (Arc::clone(&gate), Arc::clone(&log));
        async move {
            let stuck = request.delivery().conversation.as_ref().is_some_and(|id| id.as_str() == "stuck");
            if stuck {
                gate.acquire().await?.forget();
            }
            log.lock().expect("no panic").push(request.body().as_str().expect("text").to_owned());
            Ok(())
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_stalled_conversation_holds_its_own_messages_and_no_others() {
    for seed in seeds(0..2) {
        let _seed = Seed(seed);
        let world = world(seed).await;
        let (gate, log) = (Arc::new(Semaphore::new(0)), Arc::new(Mutex::new(Vec::new())));
        let bounds = SubscribeOptions::own().with_max_unsettled(MOST);
        let options = ServeOptions::default().with_subscribe(bounds).with_concurrency(4);
        let handler = handler(Arc::clone(&gate), Arc::clone(&log));
        let _serving = soon("serving", world.bob.serve(handler, options)).await.expect("served");
        let mut dice = fastrand::Rng::with_seed(seed);
        let mut others = Vec::new();
        let mut stuck = 0;
        for number in 0..500 {
            // Fewer than the bound get stuck.
            let text = if stuck < 20 && dice.u8(0..4) == 0 {
                stuck += 1;
                format!("stuck {}", stuck - 1)
            } else {
                others.push(format!("other {number}"));
                others[others.len() - 1].clone()
            };
            let name = if text.starts_with("stuck") { "stuck" } else { "other" };
            let message = in_conversation(&world.bob, name, &text);
            soon("sending", world.alice.send(&message)).await.expect("accepted");
        }
        tokio::time::sleep(60 * SECOND).await;
        assert_eq!(*log.lock().expect("no panic"), others, "the others went on, in order");
        assert_eq!(world.wire.held("bob").messages(), stuck, "what is stuck is unsettled");
        assert!(world.wire.held("bob").most_messages <= MOST + 1, "{}", world.wire.held("bob").most_messages);
        gate.add_permits(1_000);
        tokio::time::sleep(60 * SECOND).await;
        let log = log.lock().expect("no panic");
        let woken: Vec<String> = (0..stuck).map(|number| format!("stuck {number}")).collect();
        assert_eq!(log[others.len()..], woken, "everything that was stuck, in order");
        assert_eq!((world.wire.held("bob").messages(), world.wire.held("bob").bytes()), (0, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_stalled_inbox_stops_the_intake_within_its_bounds_and_no_other_inbox() {
    const EACH: usize = 10_000;
    for seed in seeds(0..2) {
        let _seed = Seed(seed);
        for (messages, bytes) in [(MOST, usize::MAX), (10_000, 20 * EACH)] {
            let world = world(seed).await;
            let (gate, log) = (Arc::new(Semaphore::new(0)), Arc::new(Mutex::new(Vec::new())));
            let bounds = SubscribeOptions::own().with_max_unsettled(messages).with_max_unsettled_bytes(bytes);
            let options = ServeOptions::default().with_subscribe(bounds);
            let handler = handler(Arc::clone(&gate), Arc::clone(&log));
            let serving = soon("serving", world.bob.serve(handler, options)).await.expect("served");
            let sent: Vec<String> = (0..200).map(|number| format!("{number:0EACH$}")).collect();
            for text in &sent {
                let message = in_conversation(&world.bob, "stuck", text);
                soon("sending", world.alice.send(&message)).await.expect("accepted");
            }
            tokio::time::sleep(600 * SECOND).await;
            let held = world.wire.held("bob");
            // One may be read over the bound, to see the end of a backlog.
            assert!(held.most_messages <= messages.saturating_add(1), "{}", held.most_messages);
            assert!(held.most_bytes <= bytes.saturating_add(2 * EACH), "{}", held.most_bytes);
            assert!(held.messages() >= 20, "it holds what it may: {}", held.messages());
            let stats = world.session.stats();
            assert!(stats.delivered as usize <= held.most_messages, "{stats:?}");

            // The reply inbox is another one: calls of the same agent go on.
            let echo = world.network.connector("echo").expect("a name");
            let echo = soon("starting", Agent::builder(echo).start()).await.expect("started");
            let answer = |request: Request| async move {
                request.reply(request.body().clone()).await?;
                Ok(())
            };
            let _echoing = echo.serve(answer, ServeOptions::default()).await.expect("served");
            let asked = world.bob.call(echo.address(), CallRequest::new(Body::text("still there?")));
            let reply = soon("the reply", soon("asking", asked).await.expect("sent").response()).await;
            assert_eq!(reply.expect("a reply").body().as_str(), Some("still there?"));

            gate.add_permits(1_000);
            tokio::time::sleep(600 * SECOND).await;
            assert!(*log.lock().expect("no panic") == sent, "everything came, once and in order");
            assert_eq!(world.wire.held("bob").messages(), 0);
            assert_eq!(soon("stopping", serving.stop(SECOND)).await.unsettled, 0);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_subscription_that_nobody_reads_takes_in_no_more_than_its_bound() {
    for seed in seeds(0..2) {
        let _seed = Seed(seed);
        let world = world(seed).await;
        let bounds = SubscribeOptions::own().with_max_unsettled(MOST);
        let mut stalled =
            soon("subscribing", world.session.subscribe(bounds)).await.expect("subscribed").events;
        let fresh = SubscribeOptions::fresh(86_400 * SECOND);
        let mut other = soon("subscribing", world.session.subscribe(fresh)).await.expect("subscribed");
        for number in 0..300 {
            for to in [world.bob.address(), &other.address] {
                let message = Outbound::new(to.clone(), Body::text(number.to_string()));
                soon("sending", world.alice.send(&message)).await.expect("accepted");
            }
            let delivery = message(&mut other.events, 60 * SECOND).await.expect("the other inbox goes on");
            assert_eq!(text(&delivery), number.to_string());
            world.session.ack(&[delivery.tag]).await.expect("settled");
        }
        tokio::time::sleep(60 * SECOND).await;
        let held = world.wire.held("bob").messages();
        assert!((MOST..=MOST + 1).contains(&held), "{held}");
        for number in 0..300 {
            let delivery = message(&mut stalled, 60 * SECOND).await.expect("it wakes");
            assert_eq!(text(&delivery), number.to_string());
            world.session.ack(&[delivery.tag]).await.expect("settled");
        }
        let last = tokio::time::timeout(60 * SECOND, stalled.next()).await;
        assert!(!matches!(last, Ok(Some(Ok(Event::Message(_))))), "{last:?}");
    }
}
