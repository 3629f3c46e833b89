//! Client cases of the contract that need a whole server, under both profiles where both can be told apart.
#![cfg(feature = "test-server")]

mod scripted;
mod ws_support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use agentchat_core::{
    Address, AgentCard, Body, CloseMode, Connector, ErrorKind, Event, Outbound, SubscribeOptions,
};
use futures_util::StreamExt;
use scripted::{Scripted, answer, json, pushed, quiet};
use tokio_tungstenite::tungstenite::protocol::Message;
use transport_ws::api::GroupDraft;
use transport_ws::testing::{HttpFault, Profile, PushFault};
use transport_ws::wire::{ServerFrame, SystemEvent};
use transport_ws::{AgentChat, ErrorCode};
use ws_support::{World, backlog, ending, message, next, read, say, within, word};

const BOTH: [Profile; 2] = [Profile::Current, Profile::Legacy];

fn client(world: &World, name: &str) -> AgentChat {
    AgentChat::new(&world.config(name).build().expect("valid")).expect("a client")
}

#[tokio::test]
async fn c57_oversize_frame() {
    for profile in BOTH {
        let world = World::of(profile).await;
        let (alice, bob) = (world.attach("alice").await, world.attach("bob").await);
        let mut events = read(&bob).await;
        backlog(&mut events).await;
        world.server.push_text("bob", &"x".repeat(3 * 1024 * 1024));
        let begun = Instant::now();
        assert_eq!(ending(&mut events).await.kind(), ErrorKind::Disconnected, "{profile:?}");
        assert!(begun.elapsed() < Duration::from_secs(5), "its length alone is enough to refuse it");
        let bob = world.attach("bob").await;
        let mut events = read(&bob).await;
        say(&alice, &bob, "after").await;
        assert_eq!(word(&message(&mut events).await), "after", "{profile:?}");
    }
}

#[tokio::test]
async fn c61_no_ack_if_not_negotiated() {
    for capabilities in ["null", "[]", "[\"zebra\"]", "{}", "[1,\"ACK\"]", "\"ack\""] {
        let server = Scripted::live(move |_, mut line| async move {
            line.greet(capabilities).await;
            tokio::time::sleep(Duration::from_millis(300)).await;
            line.text(pushed("m", 1, "hi")).await;
            line.listen(Duration::from_secs(20)).await;
        })
        .await;
        let bob = within(server.connector().connect()).await.expect("attached");
        let mut events = bob.subscribe(SubscribeOptions::own()).await.expect("read").events;
        let delivery = message(&mut events).await;
        bob.ack(&[delivery.tag]).await.expect("settled");
        // By then everything that was to be written is.
        within(bob.close(CloseMode::Detach)).await.expect("closed");
        assert_eq!(server.heard(), [], "{capabilities}");
    }
}

#[tokio::test]
async fn c74_sync_not_array() {
    let cases = BOTH.into_iter().flat_map(|profile| {
        [r#"{"messages":[]}"#, "null", "7", "\"[]\"", "[", ""].map(|body| (profile, body))
    });
    futures_util::future::join_all(cases.map(|(profile, body)| async move {
        let world = World::of(profile).await;
        stored(&world, 3).await;
        let connector = world.connector("bob");
        let (alice, bob) = (world.attach("alice").await, connector.connect().await.expect("attached"));
        let no_list = HttpFault::answer(200, "application/json", body);
        world.server.faults().repeat("GET /v1/messages/sync", 100, no_list);
        // The error is told in place of an end of the backlog.
        let mut events = read(&bob).await;
        let error = within(async {
            loop {
                match events.next().await.expect("it ends with an error") {
                    Ok(event) => assert_ne!(event, Event::CaughtUp, "{profile:?} {body}"),
                    Err(error) => return error,
                }
            }
        })
        .await;
        assert_eq!(error.kind(), ErrorKind::Protocol, "{profile:?} {body}: {error:?}");
        let asked = world.requests("GET", "/v1/messages/sync");
        assert!((2..10).contains(&asked), "the loop ends: {asked} requests, {profile:?} {body}");
        assert_eq!(connector.receive_stats().unreadable_lists, asked as u64);
        assert_eq!(world.server.sockets("bob"), 1, "the socket stays: {profile:?} {body}");
        // Nothing is lost by it.
        world.server.faults().clear();
        let mut events = read(&bob).await;
        assert_eq!(ws_support::words(&backlog(&mut events).await), ["0", "1", "2"], "{profile:?} {body}");
        say(&alice, &bob, "live").await;
        assert_eq!(word(&message(&mut events).await), "live", "{profile:?} {body}");
    }))
    .await;
}

#[tokio::test]
async fn c76_invites_polled() {
    for profile in BOTH {
        let world = World::of(profile).await;
        let (alice, bob) = (client(&world, "alice"), world.connector("bob"));
        let mut told = bob.invitations();
        let live = bob.connect().await.expect("attached");
        let made = alice.create_group(&GroupDraft::new("Night shift").with_member("bob"), None).await;
        let group = made.expect("made").group.id;
        // It is pushed, and told for that.
        let invited = within(told.next()).await;
        assert_eq!((invited.invitation.group_id.as_str(), invited.joined), (group.as_str(), false));
        let frames = world.server.journal().into_iter().filter_map(|entry| match entry {
            transport_ws::testing::JournalEntry::Sent { text, .. } => Some(ServerFrame::read(text)),
            _ => None,
        });
        let pushed: Vec<String> = frames
            .filter_map(|frame| match frame {
                ServerFrame::Invitation(invitation) => Some(invitation.id),
                _ => None,
            })
            .collect();
        assert_eq!(pushed, [invited.invitation.id.as_str()], "{profile:?}");
        // It is polled when the agent registers and when it connects: one event all the same.
        let asked = world.requests("GET", "/v1/groups/invites");
        live.register(&AgentCard::new("bob", "").expect("a card")).await.expect("registered");
        within(live.close(CloseMode::Detach)).await.expect("closed");
        world.server.until_sockets("bob", 0).await;
        let second = alice.create_group(&GroupDraft::new("Day shift").with_member("bob"), None).await;
        let second = second.expect("made").group.id;
        let live = bob.connect().await.expect("attached");
        // Nobody pushed this one.
        let invited = within(told.next()).await;
        assert_eq!(invited.invitation.group_id, second, "{profile:?}: the first one is not told again");
        assert!(world.requests("GET", "/v1/groups/invites") >= asked + 2, "it was asked each time");
        assert!(told.ready().is_none(), "{profile:?}");
        bob.client().accept_invitation(&invited.invitation.id, None).await.expect("accepted");
        drop(live);
    }
}

#[tokio::test]
async fn c83_gap_without_rest() {
    for profile in BOTH {
        let world = World::of(profile).await;
        let (alice, bob) = (world.attach("alice").await, world.attach("bob").await);
        let mut events = read(&bob).await;
        backlog(&mut events).await;
        // There is no REST to ask: every question is left unanswered, for as long as a call takes by default.
        world.server.faults().repeat("GET /v1/messages/*", 10, HttpFault::hang());
        world.server.faults().pushes([PushFault::Pass, PushFault::Drop, PushFault::Pass]);
        for text in ["0", "1", "2"] {
            say(&alice, &bob, text).await;
        }
        assert_eq!(word(&message(&mut events).await), "0", "{profile:?}");
        let begun = Instant::now();
        let gap = next(&mut events).await;
        assert!(matches!(gap, Event::Gap { expected: 2, got: 3, .. }), "{profile:?}: {gap:?}");
        assert_eq!(word(&message(&mut events).await), "2", "{profile:?}: what is behind the gap comes");
        assert!(begun.elapsed() < Duration::from_millis(2_500), "{profile:?}: {:?}", begun.elapsed());
        let begun = Instant::now();
        say(&alice, &bob, "3").await;
        assert_eq!(word(&message(&mut events).await), "3", "the same gap is not waited for again");
        assert!(begun.elapsed() < Duration::from_millis(1_500), "{profile:?}: {:?}", begun.elapsed());
    }
}

#[tokio::test]
async fn c92_group_deleted() {
    for profile in BOTH {
        let world = World::of(profile).await;
        let (alice, bob) = (client(&world, "alice"), client(&world, "bob"));
        let attached = world.attach("bob").await;
        let mut events = read(&attached).await;
        backlog(&mut events).await;
        let made = alice.create_group(&GroupDraft::new("Night shift").with_member("bob"), None).await;
        let group = made.expect("made").group.id;
        for invitation in bob.invitations().await.expect("asked") {
            bob.accept_invitation(&invitation.id, None).await.expect("accepted");
        }
        alice.delete_group(&group, None).await.expect("deleted");
        let told = loop {
            let delivery = message(&mut events).await;
            let text = delivery.body.as_str().unwrap_or_default().to_owned();
            if text.contains("group_deleted") {
                break delivery;
            }
        };
        assert_eq!(told.body.media_type, "application/vnd.agentchat.system+json", "{profile:?}");
        assert_eq!(told.conversation.as_ref().map(|it| it.as_str()), Some(group.as_str()));
        // The frames that tell it, as this library reads them.
        let frames = world.server.journal().into_iter().filter_map(|entry| match entry {
            transport_ws::testing::JournalEntry::Sent { text, .. } => Some(ServerFrame::read(text)),
            _ => None,
        });
        let (mut events_told, mut deleted) = (Vec::new(), Vec::new());
        for frame in frames {
            match frame {
                ServerFrame::Message(row) => events_told.extend(row.system_event()),
                ServerFrame::GroupDeleted(told) => deleted.push(told),
                _ => {}
            }
        }
        let by = Some("alice".to_owned());
        assert!(events_told.contains(&SystemEvent::GroupDeleted { actor: by.clone() }), "{events_told:?}");
        assert_eq!((deleted[0].group_id.as_str(), &deleted[0].deleted_by_handle), (group.as_str(), &by));
        // From then on it is refused, with the three details.
        let to = Address::parse(format!("agentchat://{group}")).expect("valid");
        let error = attached.send(&Outbound::new(to, Body::text("late"))).await.expect_err("it is gone");
        assert_eq!((error.kind(), error.code()), (ErrorKind::NotFound, Some("GROUP_DELETED")), "{profile:?}");
        assert!(!error.is_retryable());
        let error = bob.group(&group).await.expect_err("it is gone");
        assert_eq!(error.error_code(), Some(ErrorCode::GroupDeleted));
        let details = error.group_deleted().expect("details");
        assert_eq!((details.group_id.as_str(), details.deleted_by_handle), (group.as_str(), by));
        assert!(details.deleted_at.is_some());
    }
}

#[tokio::test]
async fn c44_frames_before_ok_not_dispatched() {
    let (go, gone) = (Arc::new(tokio::sync::Notify::new()), Arc::new(tokio::sync::Notify::new()));
    let (wait, told) = (Arc::clone(&go), Arc::clone(&gone));
    let server = Scripted::live(move |_, mut line| {
        let (wait, told) = (Arc::clone(&wait), Arc::clone(&told));
        async move {
            line.text(pushed("early", 1, "early")).await;
            line.message(Message::Ping(Vec::new().into())).await;
            told.notify_one();
            wait.notified().await;
            line.greet("[]").await;
            line.listen(Duration::from_secs(20)).await;
        }
    })
    .await;
    let connector = server.connector();
    let attaching = tokio::spawn(async move { connector.connect().await });
    within(gone.notified()).await;
    assert!(!attaching.is_finished(), "nobody can read before the server's word");
    go.notify_one();
    let bob = within(attaching).await.expect("no panic").expect("attached");
    let mut events = bob.subscribe(SubscribeOptions::own()).await.expect("read").events;
    assert_eq!(word(&message(&mut events).await), "early", "afterwards, once");
    let more = tokio::time::timeout(Duration::from_millis(300), events.next()).await;
    assert!(!matches!(more, Ok(Some(Ok(Event::Message(_))))), "{more:?}");
}

#[tokio::test]
async fn c84_buffer_cap() {
    // A hole of which 501 later rows come before anybody looks for it: they go on, in order.
    let server = Scripted::start(
        Arc::new(|method: &str, path: &str| match path {
            path if path.starts_with("/v1/messages/conv") => answer("500 Internal Server Error", "", ""),
            "/v1/messages/sync" => json("[]"),
            path => quiet(method, path),
        }),
        Arc::new(|_, mut line| {
            Box::pin(async move {
                line.greet("[\"ack\"]").await;
                tokio::time::sleep(Duration::from_millis(500)).await;
                line.text(pushed("m0", 1, "1")).await;
                for seq in (3..=503).rev() {
                    line.text(pushed(&format!("m{seq}"), seq, &seq.to_string())).await;
                }
                line.listen(Duration::from_secs(20)).await;
            })
        }),
    )
    .await;
    let connector = server.connector();
    let bob = within(connector.connect()).await.expect("attached");
    let options = SubscribeOptions::own().with_max_unsettled(10_000);
    let mut events = bob.subscribe(options).await.expect("read").events;
    assert_eq!(next(&mut events).await, Event::CaughtUp);
    assert_eq!(word(&message(&mut events).await), "1");
    let gap = next(&mut events).await;
    assert!(matches!(gap, Event::Gap { expected: 2, got: 3, .. }), "{gap:?}");
    let mut found = Vec::new();
    while found.len() < 501 {
        found.push(word(&message(&mut events).await).parse::<u64>().expect("a number"));
    }
    assert_eq!(found, (3..=503).collect::<Vec<_>>());
    let stats = connector.receive_stats();
    assert_eq!((stats.overflows, stats.gaps), (1, 1), "it is told");
}

/// Waits for `bob` who is away: so many messages of `alice`.
async fn stored(world: &World, count: usize) {
    let (alice, bob) = (world.attach("alice").await, world.attach("bob").await);
    within(bob.close(CloseMode::Detach)).await.expect("closed");
    world.server.until_sockets("bob", 0).await;
    for number in 0..count {
        say(&alice, &bob, number.to_string()).await;
    }
}

#[tokio::test]
async fn c67_drain_on_connect() {
    for profile in BOTH {
        let world = World::of(profile).await;
        stored(&world, 3).await;
        let bob = world.attach("bob").await;
        let found = backlog(&mut read(&bob).await).await;
        assert_eq!(ws_support::words(&found), ["0", "1", "2"], "{profile:?}");
        let tags: Vec<_> = found.into_iter().map(|delivery| delivery.tag).collect();
        bob.ack(&tags).await.expect("settled");
        within(bob.close(CloseMode::Detach)).await.expect("closed");
        // Each is acknowledged by its id, in one go; what is written counts as delivered elsewhere.
        assert_eq!(world.acks(), if profile == Profile::Current { 3 } else { 0 }, "{profile:?}");
        assert_eq!(world.server.stored("bob"), 0, "{profile:?}");
    }
}

#[tokio::test]
async fn c69_null_delivery_id_and_c70_positional_cursor() {
    let row = |id: &str, seq: u64, delivery: &str| {
        format!(
            r#"{{"id":"{id}","conversation_id":"c","seq":{seq},"sender":"alice","delivery_id":{delivery},"content":{{"text":"{id}"}}}}"#
        )
    };
    // The cursor is the last that is there, by place: not the largest, and not of a row without one.
    let first =
        format!("[{},{},{}]", row("a", 1, "\"del_9\""), row("b", 2, "\"del_1\""), row("d", 3, "null"));
    let second = format!("[{}]", row("e", 4, "\"del_5\""));
    let asked = Arc::new(std::sync::Mutex::new(Vec::new()));
    let noting = Arc::clone(&asked);
    let server = Scripted::start(
        Arc::new(move |method: &str, path: &str| match path.strip_prefix("/v1/messages/sync?") {
            Some(query) => {
                noting.lock().expect("no panic").push(query.to_owned());
                json(if query.contains("after=") { &second } else { &first })
            }
            None => quiet(method, path),
        }),
        Arc::new(|_, mut line| {
            Box::pin(async move {
                line.greet("[\"ack\"]").await;
                line.listen(Duration::from_secs(20)).await;
            })
        }),
    )
    .await;
    let config = server.config().with_sync_page(3).build().expect("valid");
    let connector = transport_ws::AgentChatConnector::new(config).expect("a connector");
    let bob = within(connector.connect()).await.expect("attached");
    let found = backlog(&mut read(&bob).await).await;
    assert_eq!(ws_support::words(&found), ["a", "b", "d", "e"]);
    assert_eq!(*asked.lock().expect("no panic"), ["limit=3", "limit=3&after=del_1"]);
}

#[tokio::test]
async fn c72_drain_freeze_on_failure() {
    let world = World::new().await;
    stored(&world, 3).await;
    let bob = world.attach("bob").await;
    let found = backlog(&mut read(&bob).await).await;
    // The second one fails. Acknowledgements are of single messages, so that it holds up nothing but itself.
    let settled = [found[0].tag.clone(), found[2].tag.clone()];
    bob.ack(&settled).await.expect("settled");
    within(bob.close(CloseMode::Detach)).await.expect("closed");
    assert_eq!((world.acks(), world.server.stored("bob")), (2, 1));
    let bob = world.attach("bob").await;
    assert_eq!(ws_support::words(&backlog(&mut read(&bob).await).await), ["1"], "it comes again");
}
