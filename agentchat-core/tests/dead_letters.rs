//! A message that cannot be handled goes to the dead-letter address, or stays.

mod support;

use agentchat_core::{
    ClientMsgId, ErrorKind, Event, Loopback, LoopbackFaults, Reached, Request, ServeOptions, SubscribeOptions,
};
use futures_util::StreamExt;
use support::{Fate, SECOND, Scripted, soon, start, text};

#[tokio::test(start_paused = true)]
async fn dead_letters_of_two_senders_under_one_id_both_arrive_with_their_headers() {
    let network = Loopback::new();
    let (bob, morgue) = (start(&network, "bob").await, start(&network, "morgue").await);
    for name in ["alice", "carol"] {
        let sender = start(&network, name).await;
        let id = ClientMsgId::new("m-1").expect("id");
        let message = text(&bob, name).with_id(id).with_header("agentchat-dead-letter-attempts", "many");
        sender.send(&message.with_header("x", name)).await.expect("sent");
    }
    let refusing = |_: Request| async { Err("never".into()) };
    let options = ServeOptions::default().with_dead_letter(morgue.address().clone(), 2);
    let serving = bob.serve(refusing, options).await.expect("served");
    tokio::time::sleep(60 * SECOND).await;
    assert_eq!(serving.stop(SECOND).await.unsettled, 0);
    let mut events = morgue.transport().subscribe(SubscribeOptions::own()).await.expect("opened").events;
    let mut found = Vec::new();
    while let Some(Ok(Event::Message(letter))) = soon(events.next()).await {
        let header = |name: &str| letter.headers.get(name).unwrap_or_default().to_owned();
        assert_eq!(header("agentchat-dead-letter-attempts"), "2", "the library's own count stands");
        found.push((letter.body.as_str().map(str::to_owned), header("x")));
    }
    found.sort();
    let both =
        [(Some("alice".to_owned()), "alice".to_owned()), (Some("carol".to_owned()), "carol".to_owned())];
    assert_eq!(found, both);
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_nobody_takes_stays_unsettled_and_does_not_hold_up_stopping() {
    let network = Loopback::new();
    let bob = start(&network, "bob").await;
    bob.send(&text(&bob, "poison")).await.expect("sent");
    let nowhere = agentchat_core::Address::parse("loopback://nowhere").expect("valid");
    let refusing = |_: Request| async { Err("never".into()) };
    let options = ServeOptions::default().with_dead_letter(nowhere, 1);
    let serving = bob.serve(refusing, options).await.expect("served");
    tokio::time::sleep(600 * SECOND).await;
    let begun = tokio::time::Instant::now();
    let served = serving.stop(3600 * SECOND).await;
    assert_eq!((served.unsettled, served.error.is_none()), (1, true));
    assert!(begun.elapsed() < SECOND);
}

#[tokio::test(start_paused = true)]
async fn copies_of_a_message_are_settled_when_its_dead_letter_was_taken_and_not_before() {
    let network = Loopback::with_faults(LoopbackFaults::seeded(1).with_duplicates(1.0));
    let (alice, morgue) = (start(&network, "alice").await, start(&network, "morgue").await);
    let connector = Scripted::new(&network, "bob");
    let lost = Fate::Lost(ErrorKind::Timeout, Reached::Unknown);
    connector.change(|script| script.sends = vec![lost; 1_000].into());
    let bob = connector.start().await;
    alice.send(&text(&bob, "poison")).await.expect("sent");
    let refusing = |_: Request| async { Err("never".into()) };
    let options = ServeOptions::default().with_dead_letter(morgue.address().clone(), 1);
    let serving = bob.serve(refusing, options).await.expect("served");
    tokio::time::sleep(10 * SECOND).await;
    assert!(connector.read(|script| script.acked.is_empty()), "nothing is settled before it is buried");
    connector.change(|script| script.sends.clear());
    tokio::time::sleep(100 * SECOND).await;
    assert_eq!(connector.read(|script| script.acked.iter().flatten().count()), 2);
    assert_eq!(serving.stop(SECOND).await.unsettled, 0);
}
