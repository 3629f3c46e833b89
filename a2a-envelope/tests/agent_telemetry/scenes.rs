//! What happens in an agent's life, so that all of it is told once.

use std::future::pending;
use std::io::Write;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use a2a_envelope::agent::{
    A2aClient, A2aObserver, A2aRequest, A2aServer, A2aServerOptions, JsonLines, Note, Question, TurnError,
    TurnHandle,
};
use a2a_envelope::call::CallState;
use a2a_envelope::idempotency::{Met, RequestKey, RequestLimits, Requests};
use a2a_envelope::stream::{Coalesce, ReaderOptions, WriterOptions};
use agentchat_core::agent::REPLY_LAST;
use agentchat_core::{Agent, Body, CallRequest, Loopback, Outbound, Request, ServeOptions};
use tokio::sync::{Notify, mpsc};

use super::faulty::{Fate, Faulty, Kept};

/// What nobody may be told.
pub(crate) const SECRETS: [&str; 5] =
    ["body-to-hide", "header-to-hide", "loopback://", "address-to-hide", "reason-to-hide"];

/// What the observers heard, as JSON lines, and what handlers said of their failures.
#[derive(Clone, Default)]
pub(crate) struct Lines {
    lines: Arc<Mutex<Vec<u8>>>,
    failures: Arc<Mutex<Vec<String>>>,
}

impl Lines {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.lines.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.lines.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl A2aObserver for Lines {
    fn note(&self, note: &Note<'_>) {
        JsonLines::new(self.clone()).note(note);
    }

    fn handler_failed(&self, _task: &str, error: &TurnError) {
        self.failures.lock().unwrap().push(error.to_string());
    }
}

async fn agent(network: &Loopback, name: &str) -> Agent {
    Agent::builder(network.connector(name).unwrap()).start().await.unwrap()
}

fn options() -> A2aServerOptions {
    A2aServerOptions::default().with_writer(WriterOptions::default().with_coalesce(Coalesce::OFF))
}

fn client(agent: &Agent, lines: &Lines) -> A2aClient {
    A2aClient::new(agent).with_observer(JsonLines::new(lines.clone()))
}

async fn says(turn: TurnHandle) -> a2a_envelope::agent::TurnResult {
    turn.text("answer", "body-to-hide ").await?;
    turn.text("answer", "and more").await?;
    Ok(())
}

/// A deadline is a moment of the calendar, which goes on while paused time stands still.
const SHORT: Duration = Duration::from_millis(50);

/// A stream; the same request twice; the same key for another; one that comes too late.
pub(crate) async fn conversation(lines: &Lines) {
    let network = Loopback::new();
    let (server, caller) = (agent(&network, "address-to-hide").await, agent(&network, "caller").await);
    let serving = A2aServer::new(says).with_options(options()).with_observer(lines.clone());
    let serving = serving.serve(&server).await.unwrap();
    let client = client(&caller, lines);
    let to = server.address();
    let request = || A2aRequest::text("body-to-hide").with_id("m-1").with_streaming();
    let first = client.ask(to, request()).await.unwrap();
    let again = client.ask(to, request()).await.unwrap();
    assert_eq!(first.text(), again.text());
    let other = A2aRequest::text("body-to-hide too").with_id("m-1");
    assert_eq!(client.ask(to, other).await.unwrap_err().code(), Some(-32600));
    drop(serving);
    let request = A2aRequest::text("body-to-hide").with_timeout(SHORT);
    let mut late = client.call(to, request).await.unwrap();
    assert!(late.answer().await.unwrap_err().is_timeout());
    std::thread::sleep(SHORT);
    let _serving = A2aServer::new(says).with_observer(lines.clone()).serve(&server).await.unwrap();
    assert!(late.answer().await.is_err());
}

/// Requests that cannot be read, or want their answers elsewhere; replies that cannot be read.
pub(crate) async fn strangers(lines: &Lines) {
    let network = Loopback::new();
    let (server, caller) = (agent(&network, "server").await, agent(&network, "caller").await);
    let serving = A2aServer::new(says).with_observer(lines.clone()).serve(&server).await.unwrap();
    let body = r#"{"jsonrpc":"2.0","id":"1","method":"SendMessage","params":{"message":{"messageId":"m","role":"ROLE_USER","parts":[{"text":"body-to-hide"}]},"configuration":{"taskPushNotificationConfig":{"url":"mq9://address-to-hide/x"}}}}"#;
    let elsewhere = Outbound::new(server.address().clone(), Body::json(body));
    caller.send(&elsewhere.with_header("x-secret", "header-to-hide")).await.unwrap();
    let odd = r#"{"jsonrpc":"2.0","id":"1","method":"tasks/body-to-hide","params":{"x":"body-to-hide"}}"#;
    let odd = CallRequest::new(Body::json(odd.replace("tasks/body-to-hide", "tasks/dance")));
    caller.call(server.address(), odd).await.unwrap().response().await.unwrap();
    drop(serving);

    // A peer of the core's alone, that answers at first with another format.
    let peer = server.clone();
    let handler = move |request: Request| {
        let peer = peer.clone();
        async move {
            let to = request.delivery().reply_to.clone().expect("a call");
            let id = request.delivery().correlation_id.clone().expect("a call");
            let reply = |text, last| {
                let reply = Outbound::new(to.clone(), Body::json(text)).with_correlation_id(id.clone());
                reply.with_header(REPLY_LAST, last)
            };
            peer.send(&reply("{}", "false").with_header("amb-envelope", "99")).await?;
            peer.send(&reply("body-to-hide", "true")).await?;
            Ok(())
        }
    };
    let _serving = server.serve(handler, ServeOptions::default()).await.unwrap();
    let answer = client(&caller, lines).ask(server.address(), A2aRequest::text("x")).await.unwrap();
    assert_eq!(answer.text(), "body-to-hide");
}

/// Handlers that fail; answers that come late; a task that its worker dies over, and that is too late then.
pub(crate) async fn failures(lines: &Lines) {
    let network = Loopback::new();
    let (server, caller) = (agent(&network, "server").await, agent(&network, "caller").await);
    let (go, hold) = mpsc::channel::<()>(1);
    let hold = Arc::new(tokio::sync::Mutex::new(hold));
    let handler = move |turn: TurnHandle| {
        let hold = Arc::clone(&hold);
        async move {
            match turn.request_text().as_str() {
                "fail" => Err("reason-to-hide".into()),
                "panic" => panic!("reason-to-hide"),
                "for ever" => pending().await,
                _ => {
                    let _ = hold.lock().await.recv().await;
                    Ok(turn.text("answer", "late").await?)
                }
            }
        }
    };
    let kept = Kept::sound();
    let serve = || A2aServer::new(handler.clone()).with_observer(lines.clone());
    let serve = || serve().with_stores(Arc::new(kept.clone()), kept.requests.clone());
    let serving = serve().serve(&server).await.unwrap();
    let client = client(&caller, lines);
    let request = A2aRequest::text("for ever").with_timeout(SHORT).with_streaming();
    let mut call = client.call(server.address(), request).await.unwrap();
    while call.state() != CallState::Taken {
        call.next().await.unwrap().unwrap();
    }
    drop(serving);
    assert!(call.answer().await.unwrap_err().is_timeout());
    std::thread::sleep(SHORT);
    let _serving = serve().serve(&server).await.unwrap();
    let over = call.answer().await;
    assert!(over.is_err(), "{over:?} {}", lines.text());

    for text in ["fail", "panic"] {
        client.ask(server.address(), A2aRequest::text(text)).await.unwrap();
    }
    assert_eq!(*lines.failures.lock().unwrap(), ["reason-to-hide"]);
    let request = A2aRequest::text("wait").with_timeout(Duration::from_secs(5)).with_streaming();
    let mut call = client.call(server.address(), request).await.unwrap();
    assert!(call.answer().await.unwrap_err().is_timeout());
    go.send(()).await.unwrap();
    assert_eq!(call.answer().await.unwrap().text(), "late");
}

/// Networks that lose replies, with and without a snapshot to read; one that refuses them; a peer that is cut.
pub(crate) async fn losses(lines: &Lines) {
    let lossy: fn(u64, bool) -> Fate = |seq, last| match seq % 3 == 2 && !last {
        true => Fate::Lost,
        false => Fate::Sent,
    };
    let refusing: fn(u64, bool) -> Fate = |_, _| Fate::Refused;
    for (fate, keyed, puts) in
        [(lossy, true, true), (lossy, false, true), (refusing, true, true), (lossy, true, false)]
    {
        let network = Loopback::new();
        let mut place = Faulty::new(network.connector("server").unwrap(), fate);
        (place.keyed, place.puts) = (keyed, puts);
        let server = Agent::builder(place).start().await.unwrap();
        let mut place = Faulty::new(network.connector("caller").unwrap(), |_, _| Fate::Sent);
        place.keyed = keyed;
        let caller = Agent::builder(place).start().await.unwrap();
        let serving = A2aServer::new(says).with_options(options()).with_observer(lines.clone());
        let _serving = serving.serve(&server).await.unwrap();
        let reader = ReaderOptions::default().with_silent_after(Some(Duration::from_secs(2)));
        let request = A2aRequest::text("x").with_streaming().with_reader(reader);
        let _ =
            client(&caller, lines).ask(server.address(), request.with_timeout(Duration::from_secs(20))).await;
    }
}

/// Stores that fail, or that another worker writes to.
pub(crate) async fn trouble(lines: &Lines) {
    for stale in [false, true] {
        let network = Loopback::new();
        let (server, caller) = (agent(&network, "server").await, agent(&network, "caller").await);
        let mut kept = Kept::sound();
        kept.stale = stale;
        kept.puts.store(1, Ordering::SeqCst);
        let options = options().with_patience(Duration::from_millis(100));
        let serving = A2aServer::new(says).with_options(options).with_observer(lines.clone());
        let serving = serving.with_stores(Arc::new(kept.clone()), kept.requests.clone());
        let _serving = serving.serve(&server).await.unwrap();
        let request = A2aRequest::text("x").with_streaming().with_timeout(Duration::from_secs(5));
        let _ = client(&caller, lines).ask(server.address(), request).await;
    }
}

/// A request that a worker died over before it made a task of it.
pub(crate) async fn left_behind(lines: &Lines) {
    let network = Loopback::new();
    let server = agent(&network, "server").await;
    let kept = Kept::sound();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let key = RequestKey::new("k").unwrap();
    let met = Requests::new(RequestLimits::default()).meet("loopback://caller", &key, b"{}", "t-left", now);
    let Ok(Met::New(record)) = met else { panic!("{met:?}") };
    kept.requests.0.put_now(&record).unwrap();
    let serving = A2aServer::new(says).with_stores(Arc::new(kept.clone()), kept.requests.clone());
    let _serving = serving.with_observer(lines.clone()).serve(&server).await.unwrap();
    tokio::time::sleep(Duration::from_secs(25 * 3_600)).await;
    assert!(kept.requests.0.load_now().is_empty());
}

/// A question that nobody answers.
pub(crate) async fn unanswered(lines: &Lines) {
    let network = Loopback::new();
    let (server, caller) = (agent(&network, "server").await, agent(&network, "caller").await);
    let asks = |turn: TurnHandle| async move {
        turn.ask(Question::new("body-to-hide?").within(Duration::from_secs(30))).await
    };
    let _serving = A2aServer::new(asks).with_observer(lines.clone()).serve(&server).await.unwrap();
    let asked = client(&caller, lines).ask(server.address(), A2aRequest::text("body-to-hide")).await.unwrap();
    assert!(asked.is_question());
    while !lines.text().contains("question.expired") {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// One asks another, which dies in the midst of it; the next worker asks a third and answers.
pub(crate) async fn relay() -> String {
    let network = Loopback::new();
    let (caller, last) = (agent(&network, "caller").await, agent(&network, "last").await);
    let answers = |turn: TurnHandle| async move { Ok(turn.text("answer", "answered").await?) };
    let _last = A2aServer::new(answers).serve(&last).await.unwrap();
    let (kept, begun) = (Kept::sound(), Arc::new(Notify::new()));
    let place = network.connector("middle").unwrap();
    let middle = Agent::builder(place.clone()).start().await.unwrap();
    let tell = Arc::clone(&begun);
    let dies = move |_turn: TurnHandle| {
        let tell = Arc::clone(&tell);
        async move {
            tell.notify_one();
            pending::<()>().await;
            Ok(())
        }
    };
    let first = A2aServer::new(dies).with_stores(Arc::new(kept.clone()), kept.requests.clone());
    let first = first.serve(&middle).await.unwrap();
    let mut call = A2aClient::new(&caller).call(middle.address(), A2aRequest::text("x")).await.unwrap();
    begun.notified().await;
    drop(first);
    drop(middle);
    let middle = Agent::builder(place).start().await.unwrap();
    let (asks, to) = (A2aClient::new(&middle), last.address().clone());
    let relays = move |turn: TurnHandle| {
        let (asks, to) = (asks.clone(), to.clone());
        async move {
            let answer = asks.ask(&to, A2aRequest::text("y")).await?;
            Ok(turn.text("answer", &format!("asked, and {}", answer.text())).await?)
        }
    };
    let second = A2aServer::new(relays).with_stores(Arc::new(kept.clone()), kept.requests.clone());
    let _second = second.serve(&middle).await.unwrap();
    call.answer().await.unwrap().text()
}
