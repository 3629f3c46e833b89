//! What a store says of its failure stays on its side: neither a peer nor an observer is told a word of it.
#![cfg(feature = "agent")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use a2a_envelope::agent::{
    A2aClient, A2aError, A2aObserver, A2aRequest, A2aServer, A2aServerOptions, Note, TurnHandle,
};
use a2a_envelope::idempotency::MemoryRequestStore;
use a2a_envelope::task::{StoreFuture, Task, TaskError, TaskPage, TaskQuery, TaskStore};
use agentchat_core::{Agent, Loopback};

const SECRET: &str = "/srv/tasks.db: disk quota of user agent exceeded";

/// A store that takes nothing in and gives nothing out.
#[derive(Debug)]
struct Broken;

fn fails<'a, T: Send + 'a>() -> StoreFuture<'a, T> {
    Box::pin(std::future::ready(Err(TaskError::Storage(SECRET.to_owned()))))
}

impl TaskStore for Broken {
    fn get<'a>(&'a self, _: &'a str) -> StoreFuture<'a, Option<Task>> {
        fails()
    }

    fn put<'a>(&'a self, _: &'a Task, _: u64) -> StoreFuture<'a, ()> {
        fails()
    }

    fn remove<'a>(&'a self, _: &'a str) -> StoreFuture<'a, ()> {
        fails()
    }

    fn open_tasks(&self) -> StoreFuture<'_, Vec<Task>> {
        fails()
    }

    fn due_tasks(&self, _: usize) -> StoreFuture<'_, Vec<(String, Duration)>> {
        fails()
    }

    fn list<'a>(&'a self, _: &'a TaskQuery) -> StoreFuture<'a, TaskPage> {
        fails()
    }
}

#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<String>>>);

impl A2aObserver for Heard {
    fn note(&self, note: &Note<'_>) {
        self.0.lock().unwrap().push(note.to_json());
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_for_a_storage_that_failed_says_so_and_no_word_of_the_storage() {
    let network = Loopback::new();
    let server = Agent::builder(network.connector("server").unwrap()).start().await.unwrap();
    let caller = Agent::builder(network.connector("caller").unwrap()).start().await.unwrap();
    let heard = Heard::default();
    let handler = |turn: TurnHandle| async move { turn.ask("?").await };
    let _serving = A2aServer::new(handler)
        .with_stores(Arc::new(Broken), Arc::new(MemoryRequestStore::new(100)))
        .with_options(A2aServerOptions::default().with_patience(Duration::from_millis(100)))
        .with_observer(heard.clone())
        .serve(&server)
        .await
        .unwrap();
    let client = A2aClient::new(&caller);
    let to = server.address();
    let mut refusals = vec![
        client.cancel(to, "t-1").await.unwrap_err(),
        client.list_tasks(to, &TaskQuery::of(""), None).await.unwrap_err(),
    ];
    let mut subscribed = client.subscribe(to, "t-1", None).await.unwrap();
    refusals.push(subscribed.answer().await.unwrap_err());
    for refused in &refusals {
        let A2aError::Refused { code, message, .. } = refused else { panic!("{refused}") };
        assert_eq!((*code, message.as_str()), (-32603, "the storage failed"));
    }
    // A request and a read are given up by the runtime, which says as little.
    for asked in [
        client.ask(to, A2aRequest::text("x").with_timeout(Duration::from_secs(3_600))).await,
        client.get_task(to, "t-1").await,
    ] {
        let refused = asked.unwrap_err().to_string();
        assert!(!refused.contains("quota") && !refused.contains("/srv"), "{refused}");
    }
    let heard = heard.0.lock().unwrap();
    let failed: Vec<_> = heard.iter().filter(|note| note.contains("store.failed")).collect();
    assert!(!failed.is_empty());
    assert!(failed.iter().all(|note| note.contains(r#""why":"the storage failed""#)), "{failed:?}");
    assert!(heard.iter().all(|note| !note.contains("quota") && !note.contains("/srv")), "{heard:?}");
}

#[test]
fn what_failed_on_this_side_is_told_by_its_kind_alone() {
    assert_eq!(TaskError::Storage(SECRET.to_owned()).public_text(), "the storage failed");
    assert_eq!(TaskError::Damaged("a value is out of range").public_text(), "the stored task cannot be read");
    assert_eq!(TaskError::NotFound.public_text(), TaskError::NotFound.to_string());
    assert!(TaskError::Storage(SECRET.to_owned()).to_string().contains("quota"), "its owner reads all of it");
}
