//! What an agent keeps that only waits.
#![cfg(feature = "test-server")]

mod ws_support;

use std::sync::Arc;
use std::time::Duration;

use agentchat_core::Connector;
use futures_util::StreamExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use ws_support::{World, backlog, connector, message, read, say, within};

/// Passes connections on to `server`, and tells how many there are.
async fn counting(server: &str) -> (String, watch::Receiver<usize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    let (open, count) = watch::channel(0);
    let (open, server) = (Arc::new(open), server.trim_start_matches("http://").to_owned());
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let (open, server) = (Arc::clone(&open), server.clone());
            tokio::spawn(async move {
                open.send_modify(|open| *open += 1);
                if let Ok(mut there) = TcpStream::connect(server).await {
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut there).await;
                }
                open.send_modify(|open| *open -= 1);
            });
        }
    });
    (url, count)
}

#[tokio::test]
async fn an_agent_that_only_waits_has_its_socket_and_no_other_connection() {
    let world = World::new().await;
    let alice = world.attach("alice").await;
    let (url, mut open) = counting(&world.server.base_url()).await;
    let bob = connector(world.config("bob").with_base_url(url)).connect().await.expect("attached");
    let mut events = read(&bob).await;
    backlog(&mut events).await;
    let alone = open.wait_for(|open| *open == 1);
    tokio::select! {
        alone = tokio::time::timeout(Duration::from_secs(10), alone) => drop(alone.expect("it is given back")),
        event = events.next() => panic!("{event:?}"),
    }
    say(&bob, &alice, "one more connection").await;
    assert_eq!(*open.borrow(), 2, "kept for the next message");
    say(&alice, &bob, "and back").await;
    message(&mut events).await;
    within(bob.close(agentchat_core::CloseMode::Detach)).await.expect("closed");
}
