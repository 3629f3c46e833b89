//! Calls whose deadline has passed.
#![cfg(feature = "agent")]

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use a2a_envelope::agent::{A2aClient, A2aRequest, A2aServer, A2aServerOptions, TurnHandle};
use a2a_envelope::idempotency::MemoryRequestStore;
use a2a_envelope::stream::{Coalesce, WriterOptions};
use a2a_envelope::task::MemoryTaskStore;
use agentchat_core::{Agent, Loopback};
use tokio::sync::Notify;

#[tokio::test(start_paused = true)]
async fn a_call_that_is_never_answered_ends_with_an_error_and_not_with_an_empty_answer() {
    let network = Loopback::new();
    let away = Agent::builder(network.connector("away").unwrap()).start().await.unwrap();
    let caller = Agent::builder(network.connector("caller").unwrap()).start().await.unwrap();
    for keep in [0, 5] {
        let request =
            A2aRequest::text("x").with_timeout(Duration::from_secs(1)).with_keep(Duration::from_secs(keep));
        let mut call = A2aClient::new(&caller).call(away.address(), request).await.unwrap();
        for _ in 0..3 {
            let error = call.answer().await.unwrap_err();
            assert!(error.is_timeout(), "kept for {keep} s: {error}");
        }
        assert!(call.next().await.is_none(), "it is over");
    }
}

#[tokio::test(start_paused = true)]
async fn a_late_answer_over_a_hole_is_made_good_by_the_snapshot() {
    let network = Loopback::new();
    let place = network.connector("server").unwrap();
    let server = Agent::builder(place.clone()).start().await.unwrap();
    let caller = Agent::builder(network.connector("caller").unwrap()).start().await.unwrap();
    let stores = (Arc::new(MemoryTaskStore::new()), Arc::new(MemoryRequestStore::new(10)));
    let begun = Arc::new(Notify::new());
    let tell = Arc::clone(&begun);
    let options =
        || A2aServerOptions::default().with_writer(WriterOptions::default().with_coalesce(Coalesce::OFF));
    let dies = move |_: TurnHandle| {
        let tell = Arc::clone(&tell);
        async move {
            tell.notify_one();
            pending::<()>().await;
            Ok(())
        }
    };
    let serve = A2aServer::new(dies).with_options(options()).with_stores(stores.0.clone(), stores.1.clone());
    let first = serve.serve(&server).await.unwrap();
    let request = A2aRequest::text("x").with_streaming().with_timeout(Duration::from_secs(600));
    let mut call = A2aClient::new(&caller).call(server.address(), request).await.unwrap();
    begun.notified().await;
    drop((first, server));
    assert!(call.answer().await.unwrap_err().is_timeout());
    // The next worker passes over the numbers that the first one may have used.
    let server = Agent::builder(place).start().await.unwrap();
    let goes_on = |turn: TurnHandle| async move { Ok(turn.text("answer", "whole").await?) };
    let serve = A2aServer::new(goes_on).with_options(options()).with_stores(stores.0, stores.1);
    let _second = serve.serve(&server).await.unwrap();
    assert_eq!(call.answer().await.unwrap().text(), "whole");
}
