//! The library: any tools, over any stream.

use std::sync::Arc;
use std::time::Duration;

use agentchat_core::tools::{ToolCall, ToolSchema, ToolSet, ToolSpec};
use agentchat_core::{Error, ErrorKind, Result};
use agentchat_mcp::Adapter;
use rmcp::ServiceExt;
use rmcp::model::CallToolRequestParams;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream, duplex};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(20);

fn tool<F, R>(name: &str, run: F) -> ToolSpec
where
    F: Fn(Value, ToolCall) -> R + Send + Sync + 'static,
    R: Future<Output = Result<Value>> + Send + 'static,
{
    let schema = ToolSchema::none().expect("a schema");
    ToolSpec::with_schema(name, "A test.", schema, run).expect("a tool")
}

/// A server of a tool that answers, one that fails and one that hangs.
fn start(deadline: Option<Duration>) -> (DuplexStream, oneshot::Sender<()>, JoinHandle<Result<()>>) {
    let tools = [
        tool("answers", async |_, _| Ok(Value::from(7))),
        tool(
            "fails",
            async |_, _| Err(Error::new(ErrorKind::RateLimited, "test", "later").with_code("BUSY")),
        ),
        tool("hangs", async |_, _| std::future::pending().await),
    ];
    let mut adapter = Adapter::new(ToolSet::new(tools).expect("distinct"));
    if let Some(deadline) = deadline {
        adapter = adapter.with_deadline(deadline);
    }
    let (ours, theirs) = duplex(64 * 1024);
    let (stop, stopped) = oneshot::channel();
    let (reader, writer) = tokio::io::split(theirs);
    let serving = tokio::spawn(adapter.serve(reader, writer, async move {
        let _ = stopped.await;
    }));
    (ours, stop, serving)
}

#[tokio::test]
async fn any_tools_are_served_over_any_stream() {
    let (stream, _stop, serving) = start(None);
    let client = ().serve(stream).await.expect("greeted");
    assert_eq!(client.list_all_tools().await.expect("listed").len(), 3);
    assert!(client.peer_info().is_some_and(|info| info.instructions.is_none()), "nobody said how to behave");
    let result = client.call_tool(CallToolRequestParams::new("answers")).await.expect("a result");
    assert_eq!(
        (result.is_error, &result.structured_content.expect("structured")["result"]),
        (Some(false), &7.into())
    );
    let result = client.call_tool(CallToolRequestParams::new("fails")).await.expect("a result");
    assert_eq!(
        (result.is_error, &result.structured_content.expect("structured")["error"]["code"]),
        (Some(true), &"BUSY".into())
    );
    client.cancel().await.expect("ended");
    timeout(PATIENCE, serving).await.expect("in time").expect("no panic").expect("a clean end");
}

#[tokio::test]
async fn a_call_ends_by_the_adapters_deadline_and_others_go_on_meanwhile() {
    let (stream, _stop, _serving) = start(Some(Duration::from_millis(300)));
    let client = ().serve(stream).await.expect("greeted");
    let hangs = client.call_tool(CallToolRequestParams::new("hangs"));
    let answers = client.call_tool(CallToolRequestParams::new("answers"));
    let (hung, answered) = timeout(PATIENCE, async { tokio::join!(hangs, answers) }).await.expect("in time");
    assert_eq!(hung.expect("a result").structured_content.expect("structured")["error"]["code"], "TIMEOUT");
    assert_eq!(answered.expect("a result").is_error, Some(false));
}

#[tokio::test]
async fn the_wait_for_a_place_is_part_of_a_calls_time() {
    let hangs = tool("hangs", async |_, _| std::future::pending().await).with_deadline(PATIENCE * 3);
    let soon = tool("soon", async |_, _| Ok(Value::from(7))).with_deadline(Duration::from_millis(200));
    let adapter = Adapter::new(ToolSet::new([hangs, soon]).expect("distinct"));
    let (ours, theirs) = duplex(64 * 1024);
    let (reader, writer) = tokio::io::split(theirs);
    let _serving = tokio::spawn(adapter.serve(reader, writer, std::future::pending()));
    let client = ().serve(ours).await.expect("greeted");
    // More than there are places.
    let hanging: Vec<_> = (0..40)
        .map(|_| {
            let peer = client.peer().clone();
            tokio::spawn(async move { peer.call_tool(CallToolRequestParams::new("hangs")).await })
        })
        .collect();
    // The places are taken once a call of the other tool finds none: before that it is answered at once.
    let late = timeout(PATIENCE, async {
        loop {
            let result = client.call_tool(CallToolRequestParams::new("soon")).await.expect("a result");
            if result.is_error == Some(true) {
                return result.structured_content.expect("structured")["error"]["code"].clone();
            }
        }
    });
    assert_eq!(late.await.expect("it waited on behind the others"), "TIMEOUT");
    hanging.iter().for_each(JoinHandle::abort);
}

#[tokio::test]
async fn it_ends_when_it_is_told_to_whatever_is_under_way() {
    let (stream, stop, serving) = start(None);
    let client = ().serve(stream).await.expect("greeted");
    let peer = client.peer().clone();
    let hanging = tokio::spawn(async move { peer.call_tool(CallToolRequestParams::new("hangs")).await });
    client.call_tool(CallToolRequestParams::new("answers")).await.expect("a result");
    stop.send(()).expect("it listens");
    timeout(PATIENCE, serving).await.expect("in time").expect("no panic").expect("a clean end");
    let ended = timeout(PATIENCE, hanging).await.expect("in time").expect("no panic");
    assert!(ended.is_err(), "{ended:?}");
}

#[tokio::test]
async fn a_host_that_leaves_before_it_has_begun_is_no_failure() {
    let (mut stream, _stop, serving) = start(None);
    stream.shutdown().await.expect("closed");
    drop(stream);
    timeout(PATIENCE, serving).await.expect("in time").expect("no panic").expect("a clean end");
    let (_stream, stop, serving) = start(None);
    stop.send(()).expect("it listens");
    timeout(PATIENCE, serving).await.expect("in time").expect("no panic").expect("a clean end");
}

#[tokio::test]
async fn a_call_under_way_when_the_host_leaves_is_finished_and_answered() {
    let (begun, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (began, waits) = (Arc::clone(&begun), Arc::clone(&go_on));
    let slow = tool("slow", move |_, _| {
        let (began, waits) = (Arc::clone(&began), Arc::clone(&waits));
        async move {
            began.notify_one();
            waits.notified().await;
            Ok(Value::from("sent"))
        }
    });
    let adapter = Adapter::new(ToolSet::new([slow]).expect("distinct"));
    let (ours, theirs) = duplex(64 * 1024);
    let (reader, writer) = tokio::io::split(theirs);
    let serving = tokio::spawn(adapter.serve(reader, writer, std::future::pending()));
    let (answers, mut asks) = tokio::io::split(ours);
    for line in [
        r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"test","version":"0"}}}"#,
        r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"slow","arguments":{}}}"#,
    ] {
        asks.write_all(format!("{line}\n").as_bytes()).await.expect("written");
    }
    timeout(PATIENCE, begun.notified()).await.expect("the call began");
    asks.shutdown().await.expect("closed");
    go_on.notify_one();
    let mut lines = BufReader::new(answers).lines();
    let answered = async {
        loop {
            let line = lines.next_line().await.expect("read").expect("an answer before the end");
            if line.contains(r#""id":1"#) {
                return line;
            }
        }
    };
    let answer = timeout(PATIENCE, answered).await.expect("in time");
    assert!(answer.contains("sent") && !answer.contains(r#""isError":true"#), "{answer}");
    timeout(PATIENCE, serving).await.expect("in time").expect("no panic").expect("a clean end");
}
