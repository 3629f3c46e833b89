//! A refusal of a good key is no end.

use std::time::Duration;

use agentchat_core::{Connector, ErrorKind};

use crate::ws_support::{World, backlog, ending, read, within};

#[tokio::test]
async fn a_database_that_is_away_for_a_moment_and_refuses_at_once_is_no_bad_key() {
    let world = World::new().await;
    let connector = world.connector("bob");
    let bob = connector.connect().await.expect("attached");
    let mut events = read(&bob).await;
    backlog(&mut events).await;
    let faults = world.server.faults();
    faults.database_down(Some(Duration::ZERO));
    let ends = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        faults.database_down(None);
    };
    let kicked = async {
        world.server.kick("bob", 1008, "Invalid token");
        ending(&mut events).await
    };
    let (error, ()) = within(async { tokio::join!(kicked, ends) }).await;
    assert_eq!((error.kind(), error.is_fatal()), (ErrorKind::Disconnected, false), "{error:?}");
    connector.connect().await.expect("the key is good");
}

#[tokio::test]
async fn a_first_attachment_asks_twice_before_it_calls_a_key_bad() {
    let world = World::new().await;
    let connector = world.connector("bob");
    let faults = world.server.faults();
    faults.database_down(Some(Duration::ZERO));
    let ends = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        faults.database_down(None);
    };
    let (connected, ()) = within(async { tokio::join!(connector.connect(), ends) }).await;
    let error = connected.expect_err("away");
    assert!(error.is_retryable() && !error.is_fatal(), "{error:?}");
    world.server.rotate_key("bob");
    let error = within(connector.connect()).await.expect_err("the key is bad");
    assert_eq!((error.kind(), error.is_fatal()), (ErrorKind::Unauthorized, true));
}

#[tokio::test]
async fn a_server_that_shows_the_account_is_believed_at_once() {
    let world = World::new().await;
    let connector = world.connector("bob");
    connector.connect().await.expect("attached");
    world.server.rotate_key("bob");
    let begun = std::time::Instant::now();
    let error = within(connector.connect()).await.expect_err("the key is bad");
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    assert!(begun.elapsed() < Duration::from_millis(900), "{:?}", begun.elapsed());
}
