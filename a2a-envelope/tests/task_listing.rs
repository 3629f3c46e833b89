//! Lists of tasks: whose they are, their order, their pages.

mod support;

use std::time::Duration;

use a2a_envelope::task::{
    Event, MemoryTaskStore, Task, TaskError, TaskQuery, TaskRequest, TaskState, TaskStore,
};
use a2a_envelope::{CorrelationId, JsonText};
use proptest::prelude::*;
use support::seeded;

fn task(id: &str, asker: &str, context: &str, at: u64) -> Task {
    let message = JsonText::new(format!(
        r#"{{"messageId":"{id}","role":"ROLE_USER","parts":[{{"text":"what {id} wants"}}]}}"#
    ));
    let correlation = CorrelationId::new(format!("c-{id}")).unwrap();
    let request = TaskRequest::new(&correlation, message.unwrap()).with_reply_to(asker);
    Task::new(id, context, request, Duration::from_millis(at)).unwrap()
}

fn ids(tasks: &[Task]) -> Vec<&str> {
    tasks.iter().map(Task::id).collect()
}

/// Every page of a query, by the tokens that the results give.
fn pages(all: &[Task], asker: &str, size: usize, bytes: usize) -> Vec<Vec<String>> {
    let (mut pages, mut token) = (Vec::new(), String::new());
    loop {
        let params = format!(r#"{{"pageSize":{size},"pageToken":"{token}"}}"#);
        let query = TaskQuery::read(asker, &params).unwrap();
        let result = query.result(&query.page(all), bytes);
        let result: serde_json::Value = serde_json::from_str(result.as_str()).unwrap();
        let tasks = result["tasks"].as_array().unwrap();
        pages.push(tasks.iter().map(|task| task["id"].as_str().unwrap().to_owned()).collect());
        token = result["nextPageToken"].as_str().unwrap().to_owned();
        if token.is_empty() || pages.len() > all.len() + 1 {
            return pages;
        }
    }
}

#[test]
fn only_the_tasks_of_the_address_that_the_list_goes_to_are_in_it_the_newest_first() {
    let mut all = vec![
        task("a", "mq9://b/ann", "c-1", 10),
        task("b", "mq9://b/ann", "c-2", 30),
        task("c", "mq9://b/bob", "c-1", 20),
        task("d", "mq9://b/ann", "c-1", 20),
    ];
    let page = |all: &[Task], params: &str| {
        let query = TaskQuery::read("mq9://b/ann", params).unwrap();
        let page = query.page(all);
        (
            page.tasks.iter().map(|task| task.id().to_owned()).collect::<Vec<_>>().join(""),
            page.total,
            page.more,
        )
    };
    assert_eq!(page(&all, "{}"), ("bda".into(), 3, false));
    assert_eq!(page(&all, r#"{"contextId":"c-1"}"#), ("da".into(), 2, false));
    assert_eq!(page(&all, r#"{"pageSize":2}"#), ("bd".into(), 3, true));
    all[0].apply(&Event::status(TaskState::Completed), Duration::from_millis(40)).unwrap();
    assert_eq!(page(&all, r#"{"status":"TASK_STATE_COMPLETED"}"#), ("a".into(), 1, false));
    assert_eq!(page(&all, r#"{"status":"submitted"}"#), ("bd".into(), 2, false));
    assert_eq!(page(&all, r#"{"statusTimestampAfter":"1970-01-01T00:00:00.030Z"}"#), ("ab".into(), 2, false));
    assert!(TaskQuery::of("mq9://b/nobody").page(&all).tasks.is_empty());
}

#[test]
fn a_listed_task_has_artifacts_and_history_only_where_they_are_asked_for() {
    let mut made = task("a", "ann", "c", 1);
    let artifact = a2a_envelope::task::Artifact::new("x").with_text("the answer");
    made.apply(&Event::artifact(artifact), Duration::from_millis(2)).unwrap();
    let told = |params: &str| {
        let query = TaskQuery::read("ann", params).unwrap();
        query.result(&query.page([&made]), usize::MAX).as_str().to_owned()
    };
    let plain = told("{}");
    assert!(!plain.contains("the answer") && !plain.contains("what a wants"), "{plain}");
    assert!(plain.ends_with(r#""nextPageToken":"","pageSize":50,"totalSize":1}"#), "{plain}");
    assert!(told(r#"{"includeArtifacts":true}"#).contains("the answer"));
    assert!(told(r#"{"historyLength":1}"#).contains("what a wants"));
}

#[test]
fn parameters_that_do_not_fit_are_named() {
    for (params, name) in [
        (r#"{"pageSize":101}"#, "pageSize"),
        (r#"{"pageSize":-1}"#, "pageSize"),
        (r#"{"pageSize":1.5}"#, "pageSize"),
        (r#"{"historyLength":"many"}"#, "historyLength"),
        (r#"{"pageToken":"what"}"#, "pageToken"),
        (r#"{"pageToken":"x.t-1"}"#, "pageToken"),
        (r#"{"statusTimestampAfter":"yesterday"}"#, "statusTimestampAfter"),
        ("{", "parameters"),
    ] {
        let why = TaskQuery::read("ann", params).unwrap_err();
        assert!(why.contains(name), "{params}: {why}");
    }
    assert_eq!(TaskQuery::read("ann", r#"{"pageSize":null,"status":""}"#).unwrap(), TaskQuery::of("ann"));
}

#[test]
fn a_page_that_would_be_too_large_is_cut_and_goes_on_behind_its_last_task() {
    let all: Vec<_> = (0..10).map(|n| task(&format!("t-{n}"), "ann", "c", n)).collect();
    let one = TaskQuery::of("ann").page(&all[..1]);
    let size = TaskQuery::of("ann").result(&one, usize::MAX).as_str().len();
    let cut = pages(&all, "ann", 100, 3 * size);
    assert!(cut.len() > 2, "{cut:?}");
    assert_eq!(cut.concat().len(), 10);
    assert_eq!(pages(&all, "ann", 100, 0).len(), 10, "one at least");
}

#[test]
fn a_store_that_lists_nothing_says_so_and_the_one_in_memory_lists() {
    #[derive(Debug)]
    struct Silent(MemoryTaskStore);
    impl TaskStore for Silent {
        fn get<'a>(&'a self, id: &'a str) -> a2a_envelope::task::StoreFuture<'a, Option<Task>> {
            self.0.get(id)
        }
        fn put<'a>(&'a self, task: &'a Task, expected: u64) -> a2a_envelope::task::StoreFuture<'a, ()> {
            self.0.put(task, expected)
        }
        fn remove<'a>(&'a self, id: &'a str) -> a2a_envelope::task::StoreFuture<'a, ()> {
            self.0.remove(id)
        }
        fn open_tasks(&self) -> a2a_envelope::task::StoreFuture<'_, Vec<Task>> {
            self.0.open_tasks()
        }

        fn due_tasks(
            &self,
            most: usize,
        ) -> a2a_envelope::task::StoreFuture<'_, Vec<(String, std::time::Duration)>> {
            self.0.due_tasks(most)
        }
    }
    let store = Silent(MemoryTaskStore::new());
    store.0.put_now(&task("a", "ann", "c", 1), 0).unwrap();
    let query = TaskQuery::of("ann");
    let refused = ready(store.list(&query)).unwrap_err();
    assert_eq!((refused.code(), refused.reason()), (-32004, "UNSUPPORTED_OPERATION"));
    assert_eq!(ids(&ready(store.0.list(&query)).unwrap().tasks), ["a"]);
    assert_eq!(refused, TaskError::Unlisted);
}

fn ready<T>(mut future: a2a_envelope::task::StoreFuture<'_, T>) -> Result<T, TaskError> {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match future.as_mut().poll(&mut context) {
        std::task::Poll::Ready(result) => result,
        std::task::Poll::Pending => panic!("it is ready at once"),
    }
}

proptest! {
    #![proptest_config(seeded(200))]

    #[test]
    fn pages_together_are_everything_once_and_in_order(
        times in prop::collection::vec((0..5_u64, any::<bool>()), 0..30),
        size in 1..8_usize,
        bytes in 0..2_000_usize,
    ) {
        let made = times.iter().enumerate();
        let all: Vec<_> = made.map(|(n, (at, mine))| task(&format!("t-{n:02}"), if *mine { "ann" } else { "bob" }, "c", *at)).collect();
        let mut expected: Vec<_> = all.iter().filter(|task| TaskQuery::of("ann").takes(task)).collect();
        expected.sort_by(|a, b| (b.changed_at(), a.id()).cmp(&(a.changed_at(), b.id())));
        let expected: Vec<_> = expected.into_iter().map(|task| task.id().to_owned()).collect();
        let pages = pages(&all, "ann", size, bytes);
        prop_assert!(pages.iter().all(|page| page.len() <= size));
        prop_assert_eq!(pages.concat(), expected);
    }
}
