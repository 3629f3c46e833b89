//! Two workers serve one inbox out of the same stores. The broker balances nobody, so both are given every
//! message; each request runs once all the same, and what one has begun the other goes on with.

#[path = "support/a2a/mod.rs"]
mod a2a;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use a2a::{Kept, Net, client, within};
use a2a_envelope::agent::{A2aRequest, A2aServerOptions, A2aServing, TurnHandle, TurnResult};
use a2a_envelope::idempotency::RequestState;
use a2a_envelope::task::TaskState;
use agentchat_core::{Address, Agent};

struct Worker {
    name: &'static str,
    agent: Agent,
    serving: A2aServing,
}

/// Which worker was entered, in order.
type Entered = Arc<Mutex<Vec<&'static str>>>;

async fn worker(net: &Net, kept: &Kept, name: &'static str, entered: &Entered) -> Worker {
    let agent = net.agent("pool").await;
    let entered = Arc::clone(entered);
    let handler = move |turn: TurnHandle| {
        entered.lock().unwrap().push(name);
        async move { work(name, turn).await }
    };
    let options = A2aServerOptions::default().with_recover(false);
    let serving = kept.server(handler).with_options(options).serve(&agent).await.unwrap();
    Worker { name, agent, serving }
}

async fn work(name: &str, turn: TurnHandle) -> TurnResult {
    match turn.request_text().as_str() {
        "ask me" => turn.ask("which city?").await,
        "for ever" if turn.task().generation() < 3 => {
            turn.text("answer", "begun ").await?;
            turn.end_text("answer").await?;
            std::future::pending().await
        }
        text => Ok(turn.text("answer", &format!("{name}: {text}")).await?),
    }
}

/// The worker that was entered last, and the other.
fn split(workers: [Worker; 2], entered: &Entered) -> (Worker, Worker) {
    let last = *entered.lock().unwrap().last().unwrap();
    let [a, b] = workers;
    if a.name == last { (a, b) } else { (b, a) }
}

async fn pool(net: &Net, kept: &Kept, entered: &Entered) -> ([Worker; 2], Address) {
    let workers = [worker(net, kept, "ann", entered).await, worker(net, kept, "bob", entered).await];
    let address = workers[0].agent.address().clone();
    assert_eq!(workers[1].agent.address(), &address);
    (workers, address)
}

/// Until so many requests are, and no other is known.
async fn all_answered(kept: &Kept, requests: usize) {
    let answered = || {
        let records = kept.requests.load_now();
        assert!(records.len() <= requests, "{records:?}");
        records.iter().filter(|record| record.state == RequestState::Answered).count()
    };
    while answered() < requests {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn each_request_to_a_pool_runs_once() {
    within("the scenario", async {
        let (net, kept, entered) = (Net::mq9().await, Kept::new(), Entered::default());
        let (_workers, address) = pool(&net, &kept, &entered).await;
        let caller = net.agent("caller").await;
        let client = client(&caller);
        for number in 0..20 {
            let answer = client.ask(&address, A2aRequest::text(number.to_string())).await.unwrap();
            assert!(answer.text().ends_with(&format!(": {number}")), "{}", answer.text());
        }
        all_answered(&kept, 20).await;
        assert_eq!(entered.lock().unwrap().len(), 20);
    })
    .await;
}

#[tokio::test]
async fn a_task_parked_by_one_worker_is_resumed_by_the_other_after_the_first_is_gone() {
    within("the scenario", async {
        let (net, kept, entered) = (Net::mq9().await, Kept::new(), Entered::default());
        let (workers, address) = pool(&net, &kept, &entered).await;
        let caller = net.agent("caller").await;
        let client = client(&caller);
        let question = client.ask(&address, A2aRequest::text("ask me")).await.unwrap();
        assert_eq!((question.is_question(), question.text().as_str()), (true, "which city?"));
        let (first, second) = split(workers, &entered);
        drop(first);
        let answer = client.ask(&address, A2aRequest::text("Oslo").answering(&question)).await.unwrap();
        assert_eq!(answer.text(), format!("{}: Oslo", second.name));
        assert_eq!((answer.task_id, answer.context_id), (question.task_id, question.context_id));
        assert_eq!(entered.lock().unwrap().len(), 2, "once for the request, once for the answer");
    })
    .await;
}

#[tokio::test]
async fn an_answer_that_both_workers_are_given_resumes_the_task_once_and_is_not_refused() {
    within("the scenario", async {
        let (net, kept, entered) = (Net::mq9().await, Kept::new(), Entered::default());
        let (_workers, address) = pool(&net, &kept, &entered).await;
        let caller = net.agent("caller").await;
        let client = client(&caller);
        for _ in 0..10 {
            let question = client.ask(&address, A2aRequest::text("ask me")).await.unwrap();
            let answer = client.ask(&address, A2aRequest::text("Oslo").answering(&question)).await.unwrap();
            assert!(answer.text().ends_with(": Oslo"), "{}", answer.text());
        }
        all_answered(&kept, 20).await;
        assert_eq!(entered.lock().unwrap().len(), 20);
    })
    .await;
}

#[tokio::test]
async fn what_a_worker_was_at_when_it_died_is_gone_on_with_by_the_one_that_takes_over() {
    within("the scenario", async {
        let (net, kept, entered) = (Net::mq9().await, Kept::new(), Entered::default());
        let (workers, address) = pool(&net, &kept, &entered).await;
        let caller = net.agent("caller").await;
        let request = A2aRequest::text("for ever").with_streaming();
        let mut call = client(&caller).call(&address, request).await.unwrap();
        while call.so_far().text() != "begun " {
            call.next().await.unwrap().unwrap();
        }
        let (first, second) = split(workers, &entered);
        drop(first);
        second.serving.take_over().await.unwrap();
        let answer = call.answer().await.unwrap();
        assert_eq!(answer.state(), Some(&TaskState::Completed));
        assert!(answer.text().ends_with(&format!("{}: for ever", second.name)), "{}", answer.text());
    })
    .await;
}
