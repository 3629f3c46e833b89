//! Calls that read slowly, and peers that send badly: nobody else pays for it.

mod support;

use agentchat_core::agent::{REPLY_LAST, REPLY_SEQ};
use agentchat_core::{ClientMsgId, ErrorKind, Loopback};
use support::peer::{Peer, call, rest};
use support::{SECOND, soon, start};

#[tokio::test(start_paused = true)]
async fn a_call_that_reads_nothing_stops_no_other_call_to_its_peer() {
    let network = Loopback::new();
    let alice = start(&network, "alice").await;
    let mut peer = Peer::start(&network, "peer").await;
    let mut stuck = call(&alice, &peer, 3600 * SECOND).await;
    let mut quick = call(&alice, &peer, 60 * SECOND).await;
    let (first, second) = (peer.request().await, peer.request().await);
    peer.answer(&first, 1..=2_000).await;
    peer.finish(&second, 1).await;
    let begun = tokio::time::Instant::now();
    assert_eq!(rest(&mut quick).await, (vec![1], None));
    assert!(begun.elapsed() < 30 * SECOND, "{:?}", begun.elapsed());
    let mut later = call(&alice, &peer, 60 * SECOND).await;
    let request = peer.request().await;
    peer.finish(&request, 1).await;
    assert_eq!(rest(&mut later).await, (vec![1], None));
    let (seqs, end) = rest(&mut stuck).await;
    assert!(seqs.iter().copied().eq(1..=seqs.len() as u64) && seqs.len() >= 256, "{}", seqs.len());
    assert_eq!(end, Some(ErrorKind::Backpressure), "it is told that replies were dropped");
}

#[tokio::test(start_paused = true)]
async fn a_slow_call_alone_loses_nothing_however_slow() {
    let network = Loopback::new();
    let alice = start(&network, "alice").await;
    let mut peer = Peer::start(&network, "peer").await;
    let mut slow = call(&alice, &peer, 360_000 * SECOND).await;
    let request = peer.request().await;
    peer.answer(&request, 1..=1_500).await;
    peer.finish(&request, 1_501).await;
    let mut seqs = Vec::new();
    while let Some(reply) = slow.next().await {
        seqs.push(reply.expect("no error").seq);
        tokio::time::sleep(20 * SECOND).await;
    }
    assert!(seqs.into_iter().eq(1..=1_501));
}

#[tokio::test(start_paused = true)]
async fn a_slow_call_that_reads_on_keeps_its_replies_while_others_are_answered() {
    let network = Loopback::new();
    let alice = start(&network, "alice").await;
    let mut peer = Peer::start(&network, "peer").await;
    let mut slow = call(&alice, &peer, 36_000 * SECOND).await;
    let mut other = call(&alice, &peer, 36_000 * SECOND).await;
    let (first, second) = (peer.request().await, peer.request().await);
    peer.answer(&first, 1..=800).await;
    peer.finish(&first, 801).await;
    peer.finish(&second, 1).await;
    let reading = tokio::spawn(async move {
        let mut seqs = Vec::new();
        while let Some(reply) = slow.next().await {
            seqs.push(reply.expect("no error").seq);
            tokio::time::sleep(5 * SECOND).await;
        }
        seqs
    });
    let answered = tokio::time::timeout(5_000 * SECOND, other.next()).await.expect("it is answered");
    assert!(answered.expect("a reply").is_ok());
    assert!(reading.await.expect("no panic").into_iter().eq(1..=801));
}

#[tokio::test(start_paused = true)]
async fn an_unread_call_past_its_deadline_gives_its_room_back() {
    let network = Loopback::new();
    let alice = start(&network, "alice").await;
    let mut peer = Peer::start(&network, "peer").await;
    let mut unread = call(&alice, &peer, 2 * SECOND).await;
    let request = peer.request().await;
    peer.answer(&request, 1..=1_000).await;
    tokio::time::sleep(5 * SECOND).await;
    let mut again = call(&alice, &peer, 60 * SECOND).await;
    let request = peer.request().await;
    peer.finish(&request, 1).await;
    assert_eq!(rest(&mut again).await, (vec![1], None));
    let (seqs, end) = rest(&mut unread).await;
    assert!(seqs.iter().copied().eq(1..=seqs.len() as u64));
    assert!(matches!(end, Some(ErrorKind::Timeout | ErrorKind::Backpressure)), "{end:?}");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_never_stops_sending_does_not_keep_a_call_alive() {
    let network = Loopback::new();
    let alice = start(&network, "alice").await;
    let mut peer = Peer::start(&network, "peer").await;
    let mut call = call(&alice, &peer, 10 * SECOND).await;
    let request = peer.request().await;
    let (sender, progress) = (peer.agent.clone(), peer.reply(&request, "1", false));
    let endless = tokio::spawn(async move {
        for seq in 1_u64.. {
            let next =
                progress.clone().with_id(ClientMsgId::random()).with_header(REPLY_SEQ, seq.to_string());
            sender.send(&next).await.expect("sent");
            tokio::time::sleep(SECOND / 100).await;
        }
    });
    let begun = tokio::time::Instant::now();
    // Slower than the peer, so that there always is a next one.
    let ending = loop {
        assert!(begun.elapsed() < 60 * SECOND, "it ends");
        if let Err(error) = call.next().await.expect("an error ends it") {
            break error;
        }
        tokio::time::sleep(SECOND / 50).await;
    };
    assert_eq!(ending.kind(), ErrorKind::Timeout);
    endless.abort();
}

#[tokio::test(start_paused = true)]
async fn the_reply_that_is_due_gets_through_however_many_came_early() {
    let network = Loopback::new();
    let alice = start(&network, "alice").await;
    let mut peer = Peer::start(&network, "peer").await;
    let mut call = call(&alice, &peer, 60 * SECOND).await;
    let request = peer.request().await;
    let reading = tokio::spawn(async move { rest(&mut call).await });
    for seq in (2..=1_025).rev() {
        peer.answer(&request, [seq]).await;
        tokio::task::yield_now().await;
    }
    peer.answer(&request, [1]).await;
    peer.finish(&request, 1_026).await;
    let (seqs, end) = reading.await.expect("no panic");
    assert!(seqs.into_iter().eq(1..=1_026));
    assert_eq!(end, None);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_leaves_a_hole_for_ever_ends_the_call_as_a_protocol_error() {
    let network = Loopback::new();
    let alice = start(&network, "alice").await;
    let mut peer = Peer::start(&network, "peer").await;
    let mut call = call(&alice, &peer, 60 * SECOND).await;
    let request = peer.request().await;
    let reading = tokio::spawn(async move { rest(&mut call).await });
    for seq in 2..=1_100 {
        peer.answer(&request, [seq]).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(reading.await.expect("no panic"), (vec![], Some(ErrorKind::Protocol)));
}

#[tokio::test(start_paused = true)]
async fn a_hole_at_the_deadline_is_named() {
    let network = Loopback::new();
    let alice = start(&network, "alice").await;
    let mut peer = Peer::start(&network, "peer").await;
    let call = call(&alice, &peer, 10 * SECOND).await;
    let request = peer.request().await;
    peer.answer(&request, [1, 3]).await;
    let error = soon(call.response()).await.expect_err("2 is missing");
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(error.to_string().contains("reply 2 is missing"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn numbers_that_make_no_sense_break_nothing() {
    let network = Loopback::new();
    let alice = start(&network, "alice").await;
    let mut peer = Peer::start(&network, "peer").await;
    let mut call = call(&alice, &peer, 60 * SECOND).await;
    let request = peer.request().await;
    for seq in ["0", "18446744073709551615", "1", "1", "-1", "99999999999999999999999", "0x2", ""] {
        let mut reply = peer.reply(&request, seq, false).with_header(REPLY_LAST, "perhaps");
        reply.headers.insert(REPLY_SEQ, seq);
        peer.agent.send(&reply).await.expect("sent");
    }
    peer.finish(&request, 6).await;
    // Those that are no number stand for the next one: nobody else could be meant.
    assert_eq!(rest(&mut call).await, ((1..=6).collect(), None));
}
