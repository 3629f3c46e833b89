//! Requests that were recorded by a worker that died before it made a task of them.
#![cfg(feature = "agent")]

use std::future::pending;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use a2a_envelope::agent::{A2aClient, A2aObserver, A2aRequest, A2aServer, Note, TurnHandle};
use a2a_envelope::idempotency::{MemoryRequestStore, Met, RequestKey, RequestLimits, Requests};
use a2a_envelope::task::MemoryTaskStore;
use agentchat_core::{Agent, Loopback};

/// What was forgotten.
#[derive(Clone, Default)]
struct Forgotten(Arc<Mutex<Vec<String>>>);

impl A2aObserver for Forgotten {
    fn note(&self, note: &Note<'_>) {
        if note.name == "request.forgotten" {
            self.0.lock().unwrap().push(note.task.unwrap_or_default().to_owned());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_recorded_request_without_a_task_is_forgotten_when_nobody_waits_for_it_any_longer() {
    let network = Loopback::new();
    let server = Agent::builder(network.connector("server").unwrap()).start().await.unwrap();
    let caller = Agent::builder(network.connector("caller").unwrap()).start().await.unwrap();
    let requests = Arc::new(MemoryRequestStore::new(100));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let mut earlier = Requests::new(RequestLimits::default());
    for (key, until) in [("soon", Some(now + Duration::from_secs(30))), ("whenever", None)] {
        let key = RequestKey::new(key).unwrap();
        let task = format!("task of {}", key.as_str());
        let met = earlier.meet_until("loopback://gone", &key, b"{}", &task, until, now);
        let Ok(Met::New(record)) = met else { panic!("{met:?}") };
        requests.put_now(&record).unwrap();
    }
    let works = |turn: TurnHandle| async move {
        turn.text("answer", "begun").await?;
        pending::<()>().await;
        Ok(())
    };
    let forgotten = Forgotten::default();
    let a2a = A2aServer::new(works)
        .with_stores(Arc::new(MemoryTaskStore::new()), requests.clone())
        .with_observer(forgotten.clone());
    let _serving = a2a.serve(&server).await.unwrap();
    // One that has a task is not, however long that works.
    let request = A2aRequest::text("x").with_timeout(Duration::from_secs(10)).with_streaming();
    let mut call = A2aClient::new(&caller).call(server.address(), request).await.unwrap();
    while call.so_far().text() != "begun" {
        call.next().await.unwrap().unwrap();
    }
    let left = || {
        let mut keys: Vec<_> = requests.load_now().into_iter().map(|record| record.key).collect();
        keys.retain(|key| ["soon", "whenever"].contains(&key.as_str()));
        (keys, requests.load_now().len())
    };
    assert_eq!(left(), (vec!["soon".to_owned(), "whenever".to_owned()], 3), "their messages may still come");
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!(left(), (vec!["whenever".to_owned()], 2));
    tokio::time::sleep(Duration::from_secs(25 * 3_600)).await;
    assert_eq!(left(), (vec![], 1), "its age is a day at most");
    assert_eq!(*forgotten.0.lock().unwrap(), ["task of soon", "task of whenever"]);
}
