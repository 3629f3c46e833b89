//! The directory over the transport: who registers is shown, who searches finds; invitations to groups.
#![cfg(feature = "test-server")]

mod ws_support;

use std::time::Duration;

use agentchat_core::{
    Address, AgentCard, Body, CloseMode, Connector, ErrorKind, Heartbeat, Outbound, Query, SearchRan,
};
use transport_ws::api::{AddResult, GroupDraft};
use transport_ws::testing::{HttpFault, JournalEntry, Profile};
use transport_ws::{AgentChatConnector, AgentChatPollConnector, InvitationPolicy};
use ws_support::{World, connector, message, read, within};

fn card(name: &str, description: &str) -> AgentCard {
    AgentCard::new(name, description).expect("a card")
}

fn beat(word: &str) -> Heartbeat {
    Heartbeat::new(word, Duration::from_secs(60))
}

#[tokio::test]
async fn registering_shows_the_card_and_unregistering_only_that_the_agent_is_away() {
    let world = World::new().await;
    let (alice, bob) = (world.attach("alice").await, world.attach("bob").await);
    bob.register(&card("Bob the Builder", "Builds")).await.expect("registered");
    assert_eq!(world.requests("GET", "/v1/agents/me"), 3, "two connects, and one proof of the key");
    assert_eq!(world.requests("PATCH", "/v1/agents/bob"), 1);
    let found = alice.discover(&Query::name("bob").alive_only()).await.expect("an answer");
    assert_eq!((found.agents.len(), found.ran), (1, SearchRan::Exact));
    let entry = &found.agents[0];
    assert_eq!((entry.name.as_str(), entry.address.as_ref()), ("bob", Some(bob.address())));
    let shown = AgentCard::from_json(entry.card.clone()).expect("a card");
    assert_eq!((shown.name(), shown.description()), ("Bob the Builder", "Builds"));
    bob.register(&card("Bob the Builder", "Builds")).await.expect("registered again");
    assert_eq!(world.requests("PATCH", "/v1/agents/bob"), 1, "nothing differs");

    bob.unregister().await.expect("unregistered");
    assert!(alice.discover(&Query::name("bob").alive_only()).await.expect("an answer").agents.is_empty());
    let away = alice.discover(&Query::name("bob")).await.expect("an answer");
    let status = away.agents[0].status.as_ref().expect("a presence");
    assert_eq!((status.status.as_str(), status.alive), ("offline", false));
    let mail = Outbound::new(bob.address().clone(), Body::text("for later"));
    alice.send(&mail).await.expect("the account and its inbox stay");
    assert_eq!(world.requests("DELETE", "/v1"), 0);
    bob.close(CloseMode::Retire).await.expect("closed");
}

#[tokio::test]
async fn a_heartbeat_is_a_presence() {
    let world = World::new().await;
    let (alice, bob) = (world.attach("alice").await, world.attach("bob").await);
    bob.register(&card("bob", "")).await.expect("registered");
    for (word, alive) in [("busy", true), ("indexing", true), ("online", true), ("offline", false)] {
        bob.report(&beat(word)).await.expect("reported");
        let found = alice.discover(&Query::name("bob")).await.expect("an answer");
        let status = found.agents[0].status.as_ref().expect("a presence");
        assert_eq!((status.status.as_str(), status.alive), (word, alive));
    }
}

#[tokio::test]
async fn handles_are_found_by_how_they_begin_over_all_pages() {
    let world = World::new().await;
    let alice = world.attach("alice").await;
    for number in 0..70 {
        world.server.agent(&format!("worker-{number:02}"));
    }
    let begin = Query::text("worker-");
    let all = alice.discover(&begin.clone().with_limit(100)).await.expect("an answer");
    assert_eq!((all.agents.len(), all.ran), (70, SearchRan::NetworkText));
    assert!(all.agents.iter().map(|agent| agent.name.as_str()).is_sorted());
    assert_eq!(alice.discover(&begin.clone().with_limit(3)).await.expect("an answer").agents.len(), 3);
    let alive = alice.discover(&Query::text("al").alive_only()).await.expect("an answer");
    assert_eq!(alive.agents[0].address.as_ref(), Some(alice.address()));
    assert!(alice.discover(&begin.alive_only()).await.expect("an answer").agents.is_empty());
    assert!(alice.discover(&Query::text("nobody")).await.expect("an answer").agents.is_empty());
    for nobody in ["nobody", "no handle at all", "../me", ""] {
        assert!(alice.discover(&Query::name(nobody)).await.expect(nobody).agents.is_empty(), "{nobody}");
    }
}

#[tokio::test]
async fn what_the_directory_cannot_do_is_refused_with_what_it_can() {
    let world = World::new().await;
    let alice = world.attach("alice").await;
    assert!(alice.capabilities().directory && !alice.capabilities().cards);
    assert!(!alice.capabilities().semantic_search);
    for query in [Query::tag("python"), Query::meaning("writes python"), Query::all()] {
        let error = alice.discover(&query).await.expect_err("not on this network");
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains("by name"), "{error}");
    }
    assert_eq!(alice.discover(&Query::text("a")).await.expect_err("too short").kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn a_directory_that_refuses_says_when_to_come_back_and_a_missing_presence_hides_nobody() {
    let world = World::new().await;
    let (alice, faults) = (world.attach("alice").await, world.server.faults());
    let limited = HttpFault::error(429, "RATE_LIMITED", "Too many directory lookups").retry_after("7");
    faults.on("GET /v1/directory", limited);
    let error = alice.discover(&Query::text("al")).await.expect_err("limited");
    assert_eq!((error.kind(), error.retry_after()), (ErrorKind::RateLimited, Some(Duration::from_secs(7))));
    faults.on("POST /v1/presence/batch", HttpFault::status(503));
    let found = alice.discover(&Query::text("al")).await.expect("an answer");
    assert!(found.agents.len() == 1 && found.agents[0].status.is_none());
    faults.on("POST /v1/presence/batch", HttpFault::status(503));
    alice.discover(&Query::text("al").alive_only()).await.expect_err("who is alive is not known");
}

#[tokio::test]
async fn a_key_that_is_bad_does_not_register() {
    let world = World::new().await;
    let bob = world.attach("bob").await;
    world.server.faults().repeat("GET /v1/agents/me", 3, HttpFault::error(401, "UNAUTHORIZED", "no"));
    let error = bob.register(&card("Bob", "")).await.expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    assert_eq!(world.requests("PATCH", "/v1/agents/bob"), 0);
}

/// A group of alice's to which bob is invited; on older servers contacts would join at once.
async fn invite(alice: &AgentChatConnector, name: &str) -> (String, AddResult) {
    let draft = GroupDraft::new(name).with_member("bob");
    let mut made = alice.client().create_group(&draft, None).await.expect("made");
    (made.group.id, made.add_results.remove(0))
}

#[tokio::test]
async fn invitations_are_seen_and_left_alone_unless_they_are_to_be_accepted() {
    for profile in [Profile::Current, Profile::Legacy] {
        let world = World::of(profile).await;
        let (alice, bob) = (world.connector("alice"), world.connector("bob"));
        let (group, invited) = invite(&alice, "before").await;
        let mut seen = bob.invitations();
        let attached = bob.connect().await.expect("attached");
        let first = within(seen.next()).await;
        assert_eq!((Some(&first.invitation.id), first.joined), (invited.invite_id.as_ref(), false));
        assert_eq!(first.invitation.group_id, group);
        attached.register(&card("bob", "")).await.expect("registered");
        assert!(seen.ready().is_none(), "each is told once");
        let (later, _) = invite(&alice, "pushed").await;
        assert_eq!(within(seen.next()).await.invitation.group_id, later);
        assert_eq!(bob.client().invitations().await.expect("an answer").len(), 2, "both wait");
        bob.client().group(&group).await.expect_err("not a member");
    }
}

#[tokio::test]
async fn invitations_are_accepted_where_that_is_wished_and_the_group_is_heard() {
    let world = World::new().await;
    let alice = world.connector("alice");
    let bob = connector(world.config("bob").with_invitations(InvitationPolicy::AcceptAll));
    let (sender, attached) =
        (alice.connect().await.expect("attached"), bob.connect().await.expect("attached"));
    let mut events = read(&attached).await;
    let mut seen = bob.invitations();
    let (group, _) = invite(&alice, "pushed").await;
    let joined = within(seen.next()).await;
    assert!(joined.joined && joined.invitation.group_id == group);
    let to = Address::parse(format!("agentchat://{group}")).expect("an address");
    sender.send(&Outbound::new(to, Body::text("welcome"))).await.expect("accepted");
    loop {
        let heard = message(&mut events).await;
        if heard.body.as_str() == Some("welcome") {
            break;
        }
    }
    assert!(bob.client().invitations().await.expect("an answer").is_empty());
}

#[tokio::test]
async fn an_invitation_that_cannot_be_accepted_is_told_of_and_tried_again() {
    let world = World::new().await;
    let alice = world.connector("alice");
    let bob = connector(world.config("bob").with_invitations(InvitationPolicy::AcceptAll));
    invite(&alice, "before").await;
    world.server.faults().on("POST /v1/groups/invites/*/accept", HttpFault::status(503));
    let mut seen = bob.invitations();
    let attached = bob.connect().await.expect("attached");
    assert!(!within(seen.next()).await.joined);
    attached.register(&card("bob", "")).await.expect("registered");
    assert!(within(seen.next()).await.joined);
}

#[tokio::test]
async fn a_refusal_of_an_acceptance_is_not_kept_for_the_next_one() {
    let world = World::new().await;
    let alice = world.connector("alice");
    let bob = connector(world.config("bob").with_invitations(InvitationPolicy::AcceptAll));
    invite(&alice, "full for a moment").await;
    world.server.faults().on("POST /v1/groups/invites/*/accept", HttpFault::status(429));
    let mut seen = bob.invitations();
    let attached = bob.connect().await.expect("attached");
    assert!(!within(seen.next()).await.joined);
    attached.register(&card("bob", "")).await.expect("registered");
    assert!(within(seen.next()).await.joined);
    let keys = world.server.journal().into_iter().filter(|entry| match entry {
        JournalEntry::Request { path, headers, .. } => {
            path.ends_with("/accept")
                && headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("idempotency-key"))
        }
        _ => false,
    });
    assert_eq!(keys.count(), 0, "a server says what it said under a key again, refusals too");
}

#[tokio::test]
async fn without_a_socket_invitations_are_looked_for_now_and_then_while_somebody_wants_to_know() {
    let world = World::new().await;
    let alice = world.connector("alice");
    let fast = (Duration::from_millis(5), Duration::from_millis(20));
    let config = world.config("bob").with_poll_interval(fast.0, fast.1).build().expect("usable");
    let bob = AgentChatPollConnector::new(config).expect("a connector");
    let attached = bob.connect().await.expect("attached");
    let asked = || world.requests("GET", "/v1/groups/invites");
    tokio::time::sleep(20 * fast.1).await;
    assert_eq!(asked(), 0, "nobody wants to know");
    let mut seen = bob.invitations();
    let (group, _) = invite(&alice, "pushed to sockets only").await;
    let invited = within(seen.next()).await;
    assert_eq!((invited.invitation.group_id, invited.joined), (group, false));
    let before = asked();
    within(async {
        while asked() < before + 3 {
            tokio::time::sleep(fast.0).await;
        }
    })
    .await;
    assert!(seen.ready().is_none(), "each is told once");
    // It ends with the attachment.
    attached.close(CloseMode::Detach).await.expect("closed");
    tokio::time::sleep(10 * fast.1).await;
    let ended = asked();
    tokio::time::sleep(20 * fast.1).await;
    assert_eq!(asked(), ended);
}
