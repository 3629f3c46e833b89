//! Scenes of agents, in which everything is secret, and handlers, hooks and guards quote it.

use std::future::ready;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use agentchat_core::agent::DeadLetter;
use agentchat_core::{
    Address, Agent, AgentCard, Body, CallRequest, ClientMsgId, CloseMode, CorrelationId, Delivery, Error,
    ErrorKind, HandlerError, HandlerResult, Loopback, LoopbackConnector, Outbound, Request, ServeOptions,
    ServePolicy, batch_handler,
};

use crate::session_scenes::{connector, secret_conversation, start};
use crate::support::peer::{self, Peer};
use crate::support::steps::{Fault, Steps};
use crate::support::{SECOND, Scripted, soon};

/// Messages that cannot be handled, and requests that come too late.
pub(crate) async fn serving() {
    let network = Loopback::new();
    let (alice, bob) = (start(&network, "alice").await, start(&network, "bob").await);
    let morgue = start(&network, "morgue").await;
    let options = ServeOptions::default().with_dead_letter(morgue.address().clone(), 2);
    let serving = bob.serve(quoting, options).await.expect("served");
    alice.send(&secret(&bob).with_header("x", "header-to-hide")).await.expect("sent");
    let nowhere = Address::parse("loopback://nowhere-inbox-to-hide").expect("valid");
    let late = secret(&bob)
        .with_correlation_id(CorrelationId::random())
        .with_reply_to(nowhere)
        .with_deadline(SystemTime::UNIX_EPOCH);
    alice.send(&late).await.expect("sent");
    tokio::time::sleep(60 * SECOND).await;
    assert_eq!(serving.stop(SECOND).await.unsettled, 0);
    let card = AgentCard::new("dave", "card-to-hide").expect("valid");
    let folder = std::env::temp_dir().join(format!("path-to-hide-{}", ClientMsgId::random()));
    std::fs::create_dir(&folder).expect("made");
    let dave = Agent::builder(connector(&network, "dave-inbox-to-hide")).card(card);
    let _dave = dave.beacon(folder.join("dave.json")).start().await.expect("started");
    std::fs::remove_dir_all(&folder).expect("removed");
    network.cut();
    tokio::time::sleep(120 * SECOND).await;
}

/// Handlers, a hook and a guard that quote what they were given. It reaches whom it is for.
pub(crate) async fn quotations() {
    let network = Loopback::new();
    let (alice, bob) = (start(&network, "alice").await, start(&network, "bob").await);
    let letters: Arc<Mutex<Vec<String>>> = Arc::default();
    let buried = Arc::clone(&letters);
    let hook = move |letter: DeadLetter| {
        let mut letters = buried.lock().expect("not poisoned");
        letters.push(letter.error.to_string());
        // It has words of its own, the first time.
        ready(if letters.len() == 1 { Err(quote(&letter.delivery).into()) } else { Ok(()) })
    };
    let guard = |message: &Delivery| match message.headers.get("how") {
        Some("refuse") => Err(quote(message)),
        Some("break") => panic!("{}", quote(message)),
        _ => Ok(()),
    };
    let options = ServeOptions::default().with_dead_letter_hook(hook, 1).with_turn_guard(guard);
    let serving = bob.serve(quoting, options).await.expect("served");
    for how in ["retry", "panic", "reject", "pass on", "refuse", "break"] {
        let request = CallRequest::new(Body::text("body-to-hide")).with_header("how", how);
        let call = alice.call(bob.address(), request).await.expect("sent");
        let error = soon(call.response()).await.expect_err("not handled").to_string();
        let for_sender = ["reject", "refuse"].contains(&how);
        assert_eq!(error.contains("body-to-hide"), for_sender, "{how}: {error}");
    }
    tokio::time::sleep(10 * SECOND).await;
    assert_eq!(serving.stop(SECOND).await.unsettled, 0);
    let letters = letters.lock().expect("not poisoned");
    assert_eq!(letters.len(), 7, "one came twice: {letters:?}");
    assert!(letters.iter().all(|why| why.contains("body-to-hide")), "{letters:?}");
}

/// Conversations that are handled in batches, by their newest message alone, and up to their limit.
pub(crate) async fn policies() {
    let network = Loopback::new();
    let (alice, bob) = (start(&network, "alice").await, start(&network, "bob").await);
    let slow = || {
        batch_handler(|_: Vec<Request>| async {
            tokio::time::sleep(SECOND / 10).await;
            Ok(())
        })
    };
    for policy in [ServePolicy::Batch(10), ServePolicy::Latest] {
        let options = ServeOptions::default().with_policy(policy).with_turn_limit(4, 1_000 * SECOND);
        let serving = bob.serve(slow(), options).await.expect("served");
        for _ in 0..6 {
            alice.send(&secret(&bob).with_conversation(secret_conversation())).await.expect("sent");
            tokio::time::sleep(SECOND / 100).await;
        }
        alice.send(&secret(&bob).with_conversation(secret_conversation())).await.expect("sent");
        tokio::time::sleep(10 * SECOND).await;
        let served = serving.stop(SECOND).await;
        match policy {
            ServePolicy::Latest => assert!(served.stats.superseded > 0, "{served:?}"),
            _ => assert_eq!((served.stats.handled, served.stats.rejected), (4, 3)),
        }
    }
}

/// A handler that answers otherwise than before, and a peer that repeats a reply and goes on behind the last.
pub(crate) async fn replying() {
    let network = Loopback::new();
    let asker = start(&network, "asker").await;
    let mut peer = Peer::start(&network, "peer-inbox-to-hide").await;
    let mut call = peer::call(&asker, &peer, 10 * SECOND).await;
    let request = peer.request().await;
    peer.answer(&request, [1, 1, 2]).await;
    peer.finish(&request, 3).await;
    assert_eq!(peer::rest(&mut call).await, (vec![1, 2, 3], None));
    peer.answer(&request, [4]).await;
    tokio::time::sleep(SECOND).await;

    let bob = start(&network, "bob").await;
    let fickle = |request: Request| async move {
        request.reply(Body::text("body-to-hide")).await?;
        request.reply(Body::text("body-to-hide-too")).await?;
        Ok(())
    };
    let serving = bob.serve(fickle, ServeOptions::default()).await.expect("served");
    let call = asker.call(bob.address(), CallRequest::new(Body::text("body-to-hide"))).await.expect("sent");
    soon(call.response()).await.expect("answered");
    assert_eq!(serving.stop(SECOND).await.unsettled, 0);
}

/// Acknowledgements that fail.
pub(crate) async fn acknowledging() {
    let network = Loopback::new();
    let (alice, scripted) = (start(&network, "alice").await, Scripted::new(&network, "bob-inbox-to-hide"));
    let bob = scripted.start().await;
    scripted.change(|script| script.acks = [ErrorKind::Timeout, ErrorKind::Disconnected].into());
    alice.send(&secret(&bob)).await.expect("sent");
    let serving = bob.serve(|_: Request| async { Ok(()) }, ServeOptions::default()).await.expect("served");
    tokio::time::sleep(10 * SECOND).await;
    assert_eq!(serving.stop(SECOND).await.unacknowledged, 1);
}

/// An agent without a network, and one that cannot leave its directory.
pub(crate) async fn leaving() {
    let network: Option<LoopbackConnector> = None;
    let nobody = Agent::builder(network).start().await.expect("started");
    assert!(!nobody.is_enabled());

    let steps = Steps::new(&Loopback::new(), "heidi-inbox-to-hide").fault("unregister", Fault::Refused);
    let card = AgentCard::new("heidi", "card-to-hide").expect("valid");
    let heidi = Agent::builder(steps.clone()).card(card).start().await.expect("started");
    let closed = soon(heidi.close(CloseMode::Retire, SECOND)).await;
    assert!(steps.log().contains(&"unregister"), "{closed:?}");
}

/// An agent that leads, and one that would, whose card is refused.
pub(crate) async fn leading() {
    let network = Loopback::new();
    let path = std::env::temp_dir().join(format!("scene-{}.lock", ClientMsgId::random()));
    let leader = Agent::builder(connector(&network, "ivan-inbox-to-hide")).leader_lock(&path);
    let leader = leader.start().await.expect("started");
    let card = AgentCard::new("judy", "card-to-hide").expect("valid");
    let steps = Steps::new(&network, "judy-inbox-to-hide").fault("register", Fault::Refused);
    let follower = Agent::builder(steps).card(card).leader_lock(&path).start().await.expect("started");
    drop(leader);
    assert_eq!(soon(follower.lead()).await.expect_err("refused").kind(), ErrorKind::Forbidden);
    std::fs::remove_file(path).expect("it was made");
}

/// Fails as the message says, and quotes it.
async fn quoting(request: Request) -> HandlerResult {
    let why = quote(request.delivery());
    match request.delivery().headers.get("how") {
        Some("panic") => panic!("{why}"),
        Some("reject") => Err(HandlerError::reject(why)),
        Some("pass on") => Err(Error::new(ErrorKind::NotFound, "read", why).into()),
        _ => Err(why.into()),
    }
}

fn quote(message: &Delivery) -> String {
    let body = message.body.as_str().unwrap_or_default();
    format!("cannot read {body:?} in {:?} from {:?}", message.conversation, message.sender)
}

fn secret(to: &Agent) -> Outbound {
    Outbound::new(to.address().clone(), Body::text("body-to-hide"))
}
