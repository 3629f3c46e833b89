//! Questions that nobody answers: their tasks end by their deadline, in memory, after a restart and with another
//! worker, and who was asked is told.
#![cfg(feature = "agent")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use a2a_envelope::agent::{
    A2aAnswer, A2aClient, A2aError, A2aRequest, A2aServer, A2aServerOptions, Question, TurnHandle,
    TurnRefusal, TurnResult,
};
use a2a_envelope::idempotency::MemoryRequestStore;
use a2a_envelope::stream::{StreamWriter, WriterOptions};
use a2a_envelope::task::{MemoryTaskStore, QuestionPolicy, Task, TaskRequest, TaskState, Unanswered};
use a2a_envelope::{CorrelationId, JsonText};
use agentchat_core::{Agent, Body, Loopback, Outbound, Request, ServeOptions, Serving};

const MINUTE: Duration = Duration::from_secs(60);

async fn agent(network: &Loopback, name: &str) -> Agent {
    Agent::builder(network.connector(name).unwrap()).start().await.unwrap()
}

#[derive(Clone)]
struct Kept {
    tasks: Arc<MemoryTaskStore>,
    requests: Arc<MemoryRequestStore>,
}

impl Kept {
    fn new() -> Self {
        Self { tasks: Arc::default(), requests: Arc::new(MemoryRequestStore::new(100)) }
    }

    fn serve(&self, server: A2aServer) -> A2aServer {
        server.with_stores(self.tasks.clone(), self.requests.clone())
    }

    fn state(&self, id: &str) -> TaskState {
        self.tasks.get_now(id).unwrap().state().clone()
    }
}

/// What an asker that waits at its inbox was told: number, deadline and body of each.
type Told = Arc<Mutex<Vec<(String, bool, String)>>>;

/// One that sends a request under `r-1` and goes on listening after the question.
async fn asker(network: &Loopback, at: &Agent) -> (Agent, Serving, Told) {
    let asker = agent(network, "asker").await;
    let told = Told::default();
    let into = Arc::clone(&told);
    let hears = move |request: Request| {
        let into = Arc::clone(&into);
        async move {
            let delivery = request.delivery();
            let seq = delivery.headers.get("amb-seq").unwrap_or_default().to_owned();
            let body = String::from_utf8_lossy(&delivery.body.bytes).into_owned();
            into.lock().unwrap().push((seq, delivery.deadline.is_some(), body));
            Ok(())
        }
    };
    let serving = asker.serve(hears, ServeOptions::default()).await.unwrap();
    let body = r#"{"jsonrpc":"2.0","id":"r-1","method":"SendMessage","params":{"message":{"messageId":"m-1","role":"ROLE_USER","parts":[{"text":"go"}]}}}"#;
    let request = Outbound::new(at.address().clone(), Body::json(body))
        .with_header("amb-envelope", "1")
        .with_header("mq9-a2a-method", "SendMessage")
        .with_header("a2a-version", "1.0")
        .with_reply_to(asker.address().clone())
        .with_correlation_id(agentchat_core::CorrelationId::new("r-1").unwrap());
    asker.send(&request).await.unwrap();
    (asker, serving, told)
}

/// The numbered replies so far, once there are so many.
async fn told(told: &Told, count: usize) -> Vec<(String, bool, String)> {
    let numbered = || told.lock().unwrap().iter().filter(|told| told.0 != "0").cloned().collect::<Vec<_>>();
    let enough = async {
        while numbered().len() < count {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(10 * MINUTE, enough).await.unwrap_or_else(|_| panic!("only {:?}", numbered()));
    numbered()
}

/// Asks, and waits a minute.
async fn asks(turn: TurnHandle) -> TurnResult {
    match turn.is_follow_up() {
        false => turn.ask(Question::new("which city?").within(MINUTE)).await,
        true => Ok(turn.text("answer", &turn.request_text()).await?),
    }
}

async fn is_over(client: &A2aClient, at: &Agent, asked: &A2aAnswer, state: &str) {
    // The server's clock has gone on by virtual time, the caller's has not.
    let late = A2aRequest::text("late").answering(asked).with_timeout(60 * MINUTE);
    let late = client.ask(at.address(), late).await.unwrap_err();
    assert_eq!(late.code(), Some(-32004), "{late}");
    let A2aError::Refused { message, .. } = late else { panic!("{late}") };
    assert!(message.contains("the task is over") && message.contains(state), "{message}");
}

#[tokio::test(start_paused = true)]
async fn a_parked_task_that_nobody_answers_fails_at_its_deadline_and_a_late_answer_is_told_so() {
    let network = Loopback::new();
    let (server, caller) = (agent(&network, "server").await, agent(&network, "caller").await);
    let kept = Kept::new();
    let _serving = kept.serve(A2aServer::new(asks)).serve(&server).await.unwrap();
    let client = A2aClient::new(&caller);
    let asked = client.ask(server.address(), A2aRequest::text("go")).await.unwrap();
    assert!(asked.is_question());
    let id = asked.task_id.clone().unwrap();
    let by = kept.tasks.get_now(&id).unwrap().answer_by().unwrap().at();
    assert_eq!(asked.answer_by, Some(by), "the question says it");
    tokio::time::sleep(MINUTE - Duration::from_secs(2)).await;
    assert_eq!(kept.state(&id), TaskState::InputRequired, "not before");
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(kept.state(&id), TaskState::Failed);
    is_over(&client, &server, &asked, "TASK_STATE_FAILED").await;
    let read = client.get_task(server.address(), &id).await.unwrap();
    assert_eq!((read.state(), read.answer_by), (Some(&TaskState::Failed), None));
    assert_eq!(read.text(), "the question was not answered in time");
}

#[tokio::test(start_paused = true)]
async fn an_answer_in_time_takes_the_deadline_away() {
    let network = Loopback::new();
    let (server, caller) = (agent(&network, "server").await, agent(&network, "caller").await);
    let kept = Kept::new();
    let _serving = kept.serve(A2aServer::new(asks)).serve(&server).await.unwrap();
    let client = A2aClient::new(&caller);
    let asked = client.ask(server.address(), A2aRequest::text("go")).await.unwrap();
    tokio::time::sleep(MINUTE / 2).await;
    let answer = client.ask(server.address(), A2aRequest::text("Ulm").answering(&asked)).await.unwrap();
    assert_eq!((answer.text().as_str(), answer.answer_by), ("Ulm", None));
    tokio::time::sleep(5 * MINUTE).await;
    assert_eq!(kept.state(&asked.task_id.unwrap()), TaskState::Completed);
}

#[tokio::test(start_paused = true)]
async fn a_question_that_says_nothing_waits_as_the_server_does_and_ends_as_it_says() {
    let network = Loopback::new();
    let (server, caller) = (agent(&network, "server").await, agent(&network, "caller").await);
    let kept = Kept::new();
    let handler = |turn: TurnHandle| async move {
        match turn.request_text().as_str() {
            "usual" => turn.ask_for_auth("may I?").await,
            "short" => turn.ask(Question::new("?").within(MINUTE).if_unanswered(Unanswered::Fail)).await,
            _ => turn.ask(Question::new("?").without_deadline()).await,
        }
    };
    let policy = QuestionPolicy::default().with_within(Some(3 * MINUTE)).with_unanswered(Unanswered::Cancel);
    let options = A2aServerOptions::default().with_question(policy);
    let _serving = kept.serve(A2aServer::new(handler)).with_options(options).serve(&server).await.unwrap();
    let client = A2aClient::new(&caller);
    let mut ids = Vec::new();
    for text in ["usual", "short", "whenever"] {
        let asked = client.ask(server.address(), A2aRequest::text(text)).await.unwrap();
        ids.push(asked.task_id.unwrap());
    }
    let states = || ids.iter().map(|id| kept.state(id)).collect::<Vec<_>>();
    let (auth, input) = (TaskState::AuthRequired, TaskState::InputRequired);
    assert_eq!(states(), [auth.clone(), input.clone(), input.clone()]);
    tokio::time::sleep(2 * MINUTE).await;
    assert_eq!(states(), [auth, TaskState::Failed, input.clone()]);
    tokio::time::sleep(2 * MINUTE).await;
    assert_eq!(states(), [TaskState::Canceled, TaskState::Failed, input.clone()]);
    tokio::time::sleep(30 * 24 * 60 * MINUTE).await;
    assert_eq!(states()[2], input);
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_waits_in_memory_is_let_go_when_its_task_ends_and_may_clean_up() {
    let network = Loopback::new();
    let server = agent(&network, "server").await;
    let kept = Kept::new();
    let cleaned = Arc::new(Mutex::new(Vec::new()));
    let cleans = Arc::clone(&cleaned);
    let handler = move |turn: TurnHandle| {
        let cleaned = Arc::clone(&cleans);
        async move {
            let refused = turn.ask_here(Question::new("your name?").within(MINUTE)).await.unwrap_err();
            cleaned.lock().unwrap().push(matches!(refused, TurnRefusal::Expired));
            let too_late = turn.text("answer", "x").await;
            cleaned.lock().unwrap().push(matches!(too_late, Err(TurnRefusal::Lost)));
            Ok(())
        }
    };
    let serving = kept.serve(A2aServer::new(handler)).serve(&server).await.unwrap();
    let (_asker, _hears, heard) = asker(&network, &server).await;
    let question = told(&heard, 1).await.remove(0);
    assert!(question.1 && question.2.contains("your name?"), "{question:?}");
    assert_eq!(serving.running(), 1);
    let end = told(&heard, 2).await.remove(1);
    assert_eq!(end.0, "2");
    assert!(!end.1 && end.2.contains("TASK_STATE_FAILED"), "{end:?}");
    while serving.running() > 0 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(*cleaned.lock().unwrap(), [true, true]);
    tokio::time::sleep(5 * MINUTE).await;
    assert_eq!(told(&heard, 2).await.len(), 2, "it is told once");
}

#[tokio::test(start_paused = true)]
async fn a_task_parked_before_a_restart_ends_after_it_and_who_was_asked_is_told_once() {
    let network = Loopback::new();
    let kept = Kept::new();
    let server = agent(&network, "server").await;
    let first = kept.serve(A2aServer::new(asks)).serve(&server).await.unwrap();
    let (_asker, _hears, heard) = asker(&network, &server).await;
    told(&heard, 1).await;
    drop(first);
    drop(server);
    tokio::time::sleep(MINUTE / 2).await;
    let server = agent(&network, "server").await;
    let _second = kept.serve(A2aServer::new(asks)).serve(&server).await.unwrap();
    let end = told(&heard, 2).await.remove(1);
    assert!(end.0 == "2" && end.2.contains("TASK_STATE_FAILED"), "{end:?}");
    tokio::time::sleep(5 * MINUTE).await;
    assert_eq!(told(&heard, 2).await.len(), 2, "it is told once");
}

#[tokio::test(start_paused = true)]
async fn another_worker_ends_what_one_that_is_gone_has_asked_also_while_it_was_asked_in_memory() {
    for in_memory in [false, true] {
        let network = Loopback::new();
        let kept = Kept::new();
        let (one, two) = (agent(&network, "one").await, agent(&network, "two").await);
        let handler = move |turn: TurnHandle| async move {
            let question = Question::new("?").within(MINUTE).if_unanswered(Unanswered::Cancel);
            match in_memory {
                true => turn.ask_here(question).await.map(drop).map_err(Into::into),
                false => turn.ask(question).await,
            }
        };
        let server = || {
            let options = A2aServerOptions::default().with_recover(false);
            kept.serve(A2aServer::new(handler)).with_options(options)
        };
        let first = server().serve(&one).await.unwrap();
        let _second = server().serve(&two).await.unwrap();
        let (caller, _hears, heard) = asker(&network, &one).await;
        told(&heard, 1).await;
        drop(first);
        drop(one);
        let end = told(&heard, 2).await.remove(1);
        assert!(end.2.contains("TASK_STATE_CANCELED"), "{end:?}");
        assert!(!caller.address().as_str().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn two_workers_that_look_after_one_question_tell_its_end_once() {
    let network = Loopback::new();
    let kept = Kept::new();
    let (one, two) = (agent(&network, "one").await, agent(&network, "two").await);
    let _first = kept.serve(A2aServer::new(asks)).serve(&one).await.unwrap();
    let _second = kept.serve(A2aServer::new(asks)).serve(&two).await.unwrap();
    let (_asker, _hears, heard) = asker(&network, &one).await;
    told(&heard, 2).await;
    tokio::time::sleep(5 * MINUTE).await;
    let all = told(&heard, 2).await;
    assert_eq!(all.len(), 2, "{all:?}");
}

/// A task of `asker` that asked a minute ago, whose deadline has passed while nobody was there.
fn left(kept: &Kept, untold: bool) {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let message = JsonText::new(r#"{"messageId":"m-1","role":"ROLE_USER","parts":[{"text":"go"}]}"#).unwrap();
    let request = TaskRequest::new(&CorrelationId::new("r-1").unwrap(), message.clone())
        .with_key("m-1")
        .with_reply_to("loopback://asker");
    let task = Task::new("t-1", "c-1", request, now - MINUTE).unwrap();
    let (mut writer, _) = StreamWriter::open(task, WriterOptions::default(), now - MINUTE).unwrap();
    let policy = QuestionPolicy::default().with_within(Some(MINUTE / 2));
    writer.ask_with(TaskState::InputRequired, "?", policy, now - MINUTE).unwrap();
    let mut task = writer.into_task();
    if untold {
        assert!(task.expire(message, now).unwrap());
    }
    kept.tasks.put_now(&task, 0).unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_passed_while_nobody_served_and_an_end_that_a_worker_died_over_are_told_at_the_start()
{
    for untold in [false, true] {
        let network = Loopback::new();
        let kept = Kept::new();
        left(&kept, untold);
        let (idle, server) = (agent(&network, "idle").await, agent(&network, "server").await);
        let (_asker, _hears, heard) = asker(&network, &idle).await;
        let _serving = kept.serve(A2aServer::new(asks)).serve(&server).await.unwrap();
        let end = told(&heard, 1).await.remove(0);
        assert!(end.0 == "2" && end.2.contains("TASK_STATE_FAILED"), "{end:?}");
        tokio::time::sleep(5 * MINUTE).await;
        assert_eq!(told(&heard, 1).await.len(), 1);
        let task = kept.tasks.get_now("t-1").unwrap();
        assert_eq!((task.state(), task.due()), (&TaskState::Failed, None));
    }
}

#[tokio::test(start_paused = true)]
async fn a_question_that_waits_for_a_moment_only_ends_soon_after_it() {
    let network = Loopback::new();
    let (server, caller) = (agent(&network, "server").await, agent(&network, "caller").await);
    let kept = Kept::new();
    let handler = |turn: TurnHandle| async move {
        turn.ask(Question::new("?").within(Duration::from_secs(turn.request_text().len() as u64))).await
    };
    let _serving = kept.serve(A2aServer::new(handler)).serve(&server).await.unwrap();
    // The server looks at its store when it starts, and would not again for a while.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let client = A2aClient::new(&caller);
    let mut ids = Vec::new();
    for seconds in [20, 5] {
        let asked = client.ask(server.address(), A2aRequest::text("x".repeat(seconds))).await.unwrap();
        ids.push(asked.task_id.unwrap());
    }
    tokio::time::sleep(Duration::from_secs(7)).await;
    let states = || ids.iter().map(|id| kept.state(id)).collect::<Vec<_>>();
    assert_eq!(states(), [TaskState::InputRequired, TaskState::Failed]);
    tokio::time::sleep(Duration::from_secs(15)).await;
    assert_eq!(states(), [TaskState::Failed, TaskState::Failed]);
}
