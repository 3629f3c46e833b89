//! Servers that mark a message as delivered when they write it to a socket.

use std::sync::Arc;

use agentchat_core::store::{CursorStore, MemoryStore};
use agentchat_core::{AckGuarantee, CloseMode, Connector};
use transport_ws::testing::{HttpFault, Profile, PushFault};

use crate::ws_support::{
    Attached, World, backlog, ending, is_quiet, message, numbers, read, say, within, word, words,
};

/// As after a restart of the process: nothing is left but the store.
async fn attach(world: &World, store: &Arc<MemoryStore>) -> Attached {
    let store = Arc::clone(store);
    world.connector("bob").with_cursor_store(store).connect().await.expect("attached")
}

async fn world() -> (World, Attached, Arc<MemoryStore>) {
    let world = World::of(Profile::Legacy).await;
    let alice = world.attach("alice").await;
    (world, alice, Arc::default())
}

async fn cursors(store: &MemoryStore) -> Vec<String> {
    let kept = store.list("agentchat/bob@").await.expect("readable");
    let kept = kept.into_iter().filter(|(key, _)| key.contains("conv_"));
    kept.map(|(_, cursor)| String::from_utf8(cursor.bytes().to_vec()).expect("text")).collect()
}

#[tokio::test]
async fn what_was_written_and_not_settled_comes_again_after_a_restart() {
    let (world, alice, store) = world().await;
    let bob = attach(&world, &store).await;
    assert_eq!(bob.capabilities().ack, AckGuarantee::Redelivers);
    let mut events = read(&bob).await;
    for number in 0..5 {
        say(&alice, &bob, number.to_string()).await;
    }
    let mut found = Vec::new();
    while found.len() < 5 {
        found.push(message(&mut events).await);
    }
    assert_eq!(world.server.stored("bob"), 0, "the server is done with them");
    bob.ack(&[found[0].tag.clone(), found[1].tag.clone(), found[3].tag.clone()]).await.expect("settled");
    drop(events);
    bob.close(CloseMode::Detach).await.expect("closed");
    assert_eq!(cursors(&store).await, ["3"], "the cursor stands before the first that is not settled");
    let bob = attach(&world, &store).await;
    let found = backlog(&mut read(&bob).await).await;
    assert_eq!(words(&found), ["2", "3", "4"]);
    let tags: Vec<_> = found.iter().map(|delivery| delivery.tag.clone()).collect();
    bob.ack(&tags).await.expect("settled");
    bob.close(CloseMode::Detach).await.expect("closed");
    let bob = attach(&world, &store).await;
    assert!(backlog(&mut read(&bob).await).await.is_empty(), "all is settled");
}

#[tokio::test]
async fn without_a_store_it_is_at_most_once_and_says_so() {
    let (world, alice, _) = world().await;
    let bob = world.attach("bob").await;
    assert_eq!(bob.capabilities().ack, AckGuarantee::None);
    let mut events = read(&bob).await;
    say(&alice, &bob, "a").await;
    message(&mut events).await;
    let bob = world.attach("bob").await;
    assert!(backlog(&mut read(&bob).await).await.is_empty());
}

#[tokio::test]
async fn a_conversation_that_was_first_written_to_a_lost_socket_is_found() {
    let (world, alice, store) = world().await;
    let bob = attach(&world, &store).await;
    let mut events = read(&bob).await;
    backlog(&mut events).await;
    world.server.faults().pushes([PushFault::Drop, PushFault::Drop]);
    for number in 0..2 {
        say(&alice, &bob, number.to_string()).await;
    }
    world.server.faults().cut_all();
    ending(&mut events).await;
    let bob = attach(&world, &store).await;
    assert_eq!(words(&backlog(&mut read(&bob).await).await), numbers(0..2));
}

#[tokio::test]
async fn at_first_use_what_was_delivered_is_not_new_and_what_waits_is() {
    let (world, alice, store) = world().await;
    let early = world.attach("bob").await;
    let mut events = read(&early).await;
    for number in 0..3 {
        say(&alice, &early, number.to_string()).await;
        message(&mut events).await;
    }
    let waits = early.address().clone();
    drop(events);
    early.close(CloseMode::Detach).await.expect("closed");
    let message = agentchat_core::Outbound::new(waits, agentchat_core::Body::text("waits"));
    within(alice.send(&message)).await.expect("accepted");
    // It is written to this attachment, which is lost before anybody reads.
    drop(attach(&world, &store).await);
    within(world.server.until_stored("bob", 0)).await;
    let bob = attach(&world, &store).await;
    let mut events = read(&bob).await;
    let found = backlog(&mut events).await;
    assert_eq!(words(&found), ["waits"]);
    bob.ack(&[found[0].tag.clone()]).await.expect("settled");
    drop(events);
    bob.close(CloseMode::Detach).await.expect("closed");
    let bob = attach(&world, &store).await;
    assert!(backlog(&mut read(&bob).await).await.is_empty());
}

/// An account that was written to before anybody ever attached to it.
#[tokio::test]
async fn at_first_use_what_waits_is_new_also_where_its_conversation_begins_with_it() {
    let (world, alice, store) = world().await;
    // It makes the account, and attaches nobody.
    drop(world.connector("bob"));
    let to = agentchat_core::Address::parse("agentchat://bob").expect("valid");
    for number in 0..2 {
        let message =
            agentchat_core::Outbound::new(to.clone(), agentchat_core::Body::text(number.to_string()));
        within(alice.send(&message)).await.expect("accepted");
    }
    // They are written to this attachment, which is lost before anybody reads.
    drop(attach(&world, &store).await);
    within(world.server.until_stored("bob", 0)).await;
    let bob = attach(&world, &store).await;
    let found = backlog(&mut read(&bob).await).await;
    assert_eq!(words(&found), numbers(0..2));
    bob.ack(&[found[0].tag.clone(), found[1].tag.clone()]).await.expect("settled");
    bob.close(CloseMode::Detach).await.expect("closed");
    let bob = attach(&world, &store).await;
    assert!(backlog(&mut read(&bob).await).await.is_empty(), "all is settled");
}

#[tokio::test]
async fn at_first_use_what_waits_from_the_beginning_of_a_conversation_comes_again() {
    let (world, alice, store) = world().await;
    let address = inbox(&world);
    let message = agentchat_core::Outbound::new(address, agentchat_core::Body::text("waits"));
    within(alice.send(&message)).await.expect("accepted");
    // It is written to this attachment, which is lost before anybody reads.
    drop(attach(&world, &store).await);
    within(world.server.until_stored("bob", 0)).await;
    assert_eq!(cursors(&store).await, ["1"]);
    for _ in 0..2 {
        let bob = attach(&world, &store).await;
        assert_eq!(words(&backlog(&mut read(&bob).await).await), ["waits"]);
    }
}

#[tokio::test]
async fn at_first_use_something_newer_does_not_settle_what_waits() {
    let (world, alice, store) = world().await;
    let address = inbox(&world);
    let message = agentchat_core::Outbound::new(address, agentchat_core::Body::text("waits"));
    within(alice.send(&message)).await.expect("accepted");
    let bob = attach(&world, &store).await;
    within(world.server.until_stored("bob", 0)).await;
    say(&alice, &bob, "newer").await;
    drop(bob);
    let bob = attach(&world, &store).await;
    let found = backlog(&mut read(&bob).await).await;
    assert_eq!(words(&found), ["waits", "newer"]);
    // The newer one is settled, and the history before it looked at: the first is there, and not settled.
    bob.ack(&[found[1].tag.clone()]).await.expect("settled");
    bob.close(CloseMode::Detach).await.expect("closed");
    assert_eq!(cursors(&store).await, ["1"]);
    let bob = attach(&world, &store).await;
    let back = words(&backlog(&mut read(&bob).await).await);
    assert_eq!(back, ["waits", "newer"], "a cursor says nothing of what is settled behind it");
}

#[tokio::test]
async fn an_old_conversation_that_goes_on_brings_only_what_is_new() {
    let (world, alice, store) = world().await;
    let early = world.attach("bob").await;
    let mut events = read(&early).await;
    for number in 0..3 {
        say(&alice, &early, number.to_string()).await;
        message(&mut events).await;
    }
    drop(events);
    early.close(CloseMode::Detach).await.expect("closed");
    let bob = attach(&world, &store).await;
    let mut events = read(&bob).await;
    assert!(backlog(&mut events).await.is_empty());
    say(&bob, &alice, "mine").await;
    say(&alice, &bob, "new").await;
    let new = message(&mut events).await;
    assert_eq!(word(&new), "new");
    bob.ack(&[new.tag]).await.expect("settled");
    // What was there before the store was is looked for once, and does not hold the cursor up.
    within(async {
        while cursors(&store).await != ["6"] {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    })
    .await;
    say(&alice, &bob, "newer").await;
    message(&mut events).await;
    drop(events);
    drop(bob);
    let bob = attach(&world, &store).await;
    assert_eq!(words(&backlog(&mut read(&bob).await).await), ["newer"]);
}

#[tokio::test]
async fn a_hidden_conversation_keeps_its_cursor_and_brings_only_what_is_new() {
    let (world, alice, store) = world().await;
    let bob = attach(&world, &store).await;
    let mut events = read(&bob).await;
    say(&alice, &bob, "a").await;
    let delivery = message(&mut events).await;
    bob.ack(&[delivery.tag]).await.expect("settled");
    drop(events);
    bob.close(CloseMode::Detach).await.expect("closed");
    assert_eq!(cursors(&store).await, ["2"]);
    let conversation = delivery.conversation.expect("the server's");
    client(&world).hide_conversation(conversation.as_str()).await.expect("hidden");
    let bob = attach(&world, &store).await;
    let mut events = read(&bob).await;
    assert!(backlog(&mut events).await.is_empty());
    bob.close(CloseMode::Detach).await.expect("closed");
    assert_eq!(cursors(&store).await, ["2"]);
    // It comes back with its next message, and brings nothing else.
    let bob = attach(&world, &store).await;
    let mut events = read(&bob).await;
    backlog(&mut events).await;
    world.server.faults().pushes([PushFault::Drop]);
    say(&alice, &bob, "b").await;
    drop(events);
    drop(bob);
    let bob = attach(&world, &store).await;
    let mut events = read(&bob).await;
    assert_eq!(words(&backlog(&mut events).await), ["b"]);
    assert!(is_quiet(&mut events).await);
}

#[tokio::test]
async fn the_cursor_of_a_group_that_was_left_is_cleared() {
    let (world, alice, store) = world().await;
    let bob = attach(&world, &store).await;
    let mut events = read(&bob).await;
    let api = world.connector("alice").client().clone();
    let draft = transport_ws::api::GroupDraft::new("Night shift").with_member("bob");
    let group = api.create_group(&draft, None).await.expect("made").group.id;
    for invitation in client(&world).invitations().await.expect("listed") {
        client(&world).accept_invitation(&invitation.id, None).await.expect("accepted");
    }
    let address = agentchat_core::Address::of("agentchat", &group).expect("an address");
    let message_to = agentchat_core::Outbound::new(address, agentchat_core::Body::text("to all"));
    within(alice.send(&message_to)).await.expect("accepted");
    let delivery = message(&mut events).await;
    bob.ack(&[delivery.tag]).await.expect("settled");
    let kept = || async {
        let kept = store.list("agentchat/bob@").await.expect("readable");
        kept.into_iter().any(|(key, _)| key.ends_with(&group))
    };
    within(async {
        while !kept().await {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    })
    .await;
    client(&world).leave_group(&group, None).await.expect("left");
    drop(events);
    bob.close(CloseMode::Detach).await.expect("closed");
    let bob = attach(&world, &store).await;
    backlog(&mut read(&bob).await).await;
    bob.close(CloseMode::Detach).await.expect("closed");
    assert!(!kept().await, "the server says that it is not this agent's any more");
}

/// Answers that are short for a while, or not the server's own.
#[tokio::test]
async fn an_answer_that_does_not_show_a_conversation_clears_no_cursor() {
    let short = |body: &str| HttpFault::answer(200, "application/json", body);
    for (what, list, fault) in [
        ("an empty list", true, short("[]")),
        ("a list that cannot be read in part", true, short(r#"[{"id":7}]"#)),
        ("a proxy's page", false, HttpFault::html(404)),
        ("a proxy's refusal", false, HttpFault::html(403)),
    ] {
        let (world, alice, store) = world().await;
        let address = inbox(&world);
        let waits = agentchat_core::Outbound::new(address, agentchat_core::Body::text("waits"));
        within(alice.send(&waits)).await.expect("accepted");
        drop(attach(&world, &store).await);
        within(world.server.until_stored("bob", 0)).await;
        let kept = store.list("agentchat/bob@").await.expect("readable");
        let conversation = kept.iter().find_map(|(key, _)| key.rsplit_once("/conv_")).expect("a cursor").1;
        let route = match list {
            true => "GET /v1/conversations".to_owned(),
            false => format!("GET /v1/messages/conv_{conversation}"),
        };
        world.server.faults().on(&route, fault);
        let bob = attach(&world, &store).await;
        backlog(&mut read(&bob).await).await;
        bob.close(CloseMode::Detach).await.expect("closed");
        assert_eq!(world.server.faults().pending(), 0, "{what}: it was asked");
        assert_eq!(cursors(&store).await, ["1"], "{what}");
        let bob = attach(&world, &store).await;
        assert_eq!(words(&backlog(&mut read(&bob).await).await), ["waits"], "{what}");
    }
}

#[tokio::test]
async fn a_history_that_hangs_holds_up_no_cursor_of_others() {
    let (world, alice, store) = world().await;
    let carol = world.attach("carol").await;
    let early = world.attach("bob").await;
    let mut events = read(&early).await;
    say(&alice, &early, "old").await;
    let old = message(&mut events).await.conversation.expect("the server's");
    drop(events);
    early.close(CloseMode::Detach).await.expect("closed");
    let bob = attach(&world, &store).await;
    let mut events = read(&bob).await;
    backlog(&mut events).await;
    let route = format!("GET /v1/messages/{}", old.as_str());
    world.server.faults().repeat(&route, 9, HttpFault::hang());
    // Behind a number that nobody has seen: it is looked for, and no answer comes.
    say(&bob, &alice, "mine").await;
    within(async {
        while world.requests("GET", &format!("/v1/messages/{}", old.as_str())) == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    })
    .await;
    say(&carol, &bob, "hers").await;
    let hers = message(&mut events).await;
    bob.ack(&[hers.tag]).await.expect("settled");
    let soon = tokio::time::timeout(std::time::Duration::from_secs(5), async {
        while cursors(&store).await != ["2"] {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    });
    soon.await.expect("it is written");
    bob.close(CloseMode::Detach).await.expect("closing does not wait for it either");
}

/// Of bob, who has not been there yet.
fn inbox(world: &World) -> agentchat_core::Address {
    world.server.agent("bob");
    agentchat_core::Address::of("agentchat", "bob").expect("an address")
}

fn client(world: &World) -> transport_ws::AgentChat {
    transport_ws::AgentChat::new(&world.config("bob").build().expect("valid")).expect("a client")
}
