//! A worker dies at every touch of a store, before and after it is made; the next one goes on, and the caller
//! reads one whole answer.
#![cfg(feature = "agent")]

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use a2a_envelope::agent::{A2aClient, A2aRequest, A2aServer, A2aServerOptions, TurnHandle};
use a2a_envelope::idempotency::{MemoryRequestStore, RequestRecord, RequestState, RequestStore};
use a2a_envelope::stream::{Coalesce, WriterOptions};
use a2a_envelope::task::{MemoryTaskStore, StoreFuture, Task, TaskState, TaskStore};
use agentchat_core::{Agent, Loopback};
use tokio::sync::Notify;

/// Stores that outlive a worker, and how much longer it lives.
#[derive(Debug, Clone)]
struct Mortal {
    tasks: Arc<MemoryTaskStore>,
    requests: Arc<MemoryRequestStore>,
    life: Arc<AtomicUsize>,
    died: Arc<Notify>,
    /// Whether what it dies at is made all the same.
    made: bool,
}

impl Mortal {
    /// The worker may die here, and then nothing of it goes on.
    async fn touch<T>(&self, touch: impl Future<Output = T> + Send) -> T {
        let left = self.life.load(Ordering::SeqCst);
        if left > 0 {
            self.life.store(left - 1, Ordering::SeqCst);
            return touch.await;
        }
        if self.made {
            touch.await;
        }
        self.died.notify_one();
        pending().await
    }
}

impl TaskStore for Mortal {
    fn get<'a>(&'a self, id: &'a str) -> StoreFuture<'a, Option<Task>> {
        Box::pin(self.touch(self.tasks.get(id)))
    }

    fn put<'a>(&'a self, task: &'a Task, expected: u64) -> StoreFuture<'a, ()> {
        Box::pin(self.touch(self.tasks.put(task, expected)))
    }

    fn remove<'a>(&'a self, id: &'a str) -> StoreFuture<'a, ()> {
        Box::pin(self.touch(TaskStore::remove(&*self.tasks, id)))
    }

    fn open_tasks(&self) -> StoreFuture<'_, Vec<Task>> {
        Box::pin(self.touch(self.tasks.open_tasks()))
    }

    fn due_tasks(&self, most: usize) -> StoreFuture<'_, Vec<(String, std::time::Duration)>> {
        Box::pin(self.touch(self.tasks.due_tasks(most)))
    }
}

impl RequestStore for Mortal {
    fn put<'a>(&'a self, record: &'a RequestRecord) -> StoreFuture<'a, ()> {
        Box::pin(self.touch(RequestStore::put(&*self.requests, record)))
    }

    fn claim<'a>(&'a self, record: &'a RequestRecord) -> StoreFuture<'a, Option<RequestRecord>> {
        Box::pin(self.touch(self.requests.claim(record)))
    }

    fn remove<'a>(&'a self, sender: &'a str, key: &'a str) -> StoreFuture<'a, ()> {
        Box::pin(self.touch(RequestStore::remove(&*self.requests, sender, key)))
    }

    fn load(&self) -> StoreFuture<'_, Vec<RequestRecord>> {
        Box::pin(self.requests.load())
    }
}

/// Two lives, the first of which ends at this touch. Gives whether it ended before the answer was whole.
async fn two_lives(life: usize, made: bool, streams: bool) -> bool {
    let network = Loopback::new();
    let place = network.connector("server").unwrap();
    let caller = Agent::builder(network.connector("caller").unwrap()).start().await.unwrap();
    let runs = Arc::new(AtomicUsize::new(0));
    let mortal = Mortal {
        tasks: Arc::default(),
        requests: Arc::new(MemoryRequestStore::new(100)),
        life: Arc::new(AtomicUsize::new(life)),
        died: Arc::default(),
        made,
    };
    let server = || {
        let runs = Arc::clone(&runs);
        let handler = move |turn: TurnHandle| {
            runs.fetch_add(1, Ordering::SeqCst);
            async move {
                for word in ["one ", "two ", "three"] {
                    turn.text("answer", word).await?;
                }
                Ok(())
            }
        };
        let writer = WriterOptions::default().with_coalesce(Coalesce::OFF).with_reserve(2);
        let stores = (Arc::new(mortal.clone()), Arc::new(mortal.clone()));
        A2aServer::new(handler)
            .with_stores(stores.0, stores.1)
            .with_options(A2aServerOptions::default().with_writer(writer))
    };
    let agent = Agent::builder(place.clone()).start().await.unwrap();
    let mut request = A2aRequest::text("count").with_timeout(Duration::from_secs(600));
    if streams {
        request = request.with_streaming();
    }
    let mut call = A2aClient::new(&caller).call(agent.address(), request).await.unwrap();
    let first = server().serve(&agent).await.unwrap();
    let answered = tokio::select! {
        answer = call.answer() => Some(answer.unwrap()),
        () = mortal.died.notified() => None,
    };
    if answered.is_some() {
        // Its last touches come behind the answer.
        let _ = tokio::time::timeout(Duration::from_secs(30), mortal.died.notified()).await;
    }
    drop(first);
    drop(agent);
    let died = mortal.life.load(Ordering::SeqCst) == 0;

    mortal.life.store(usize::MAX, Ordering::SeqCst);
    let agent = Agent::builder(place).start().await.unwrap();
    let _second = server().serve(&agent).await.unwrap();
    let answer = match answered {
        Some(answer) => answer,
        None => call.answer().await.unwrap(),
    };
    let at = format!("life {life}, made {made}, streams {streams}");
    assert_eq!(
        (answer.text().as_str(), answer.state()),
        ("one two three", Some(&TaskState::Completed)),
        "{at}"
    );
    let runs = runs.load(Ordering::SeqCst);
    assert!((1..=2).contains(&runs), "{at}: {runs} runs");
    // Whatever was left is seen to: the request is remembered as answered, once.
    let settled = async {
        loop {
            let records = mortal.requests.load_now();
            if records.len() == 1 && records[0].state == RequestState::Answered {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), settled)
        .await
        .unwrap_or_else(|_| panic!("{at}: not settled"));
    died
}

#[tokio::test(start_paused = true)]
async fn a_worker_may_die_at_any_touch_of_its_stores() {
    for streams in [true, false] {
        for made in [false, true] {
            let mut deaths = 0;
            while two_lives(deaths, made, streams).await {
                deaths += 1;
                assert!(deaths < 100, "it touches its stores without end");
            }
            assert!(deaths > 6, "only {deaths} touches");
        }
    }
}
