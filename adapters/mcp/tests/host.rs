//! The program, as a host meets it: started as a child, spoken to by a client of MCP, over the doubles.

use std::collections::BTreeSet;
use std::process::Stdio;
use std::time::{Duration, Instant};

use mq9_client::testing::Broker;
use rmcp::model::{CallToolRequestParams, CallToolResult, GetPromptRequestParams, RequestMetaObject, Tool};
use rmcp::service::{RunningService, ServiceError};
use rmcp::transport::TokioChildProcess;
use rmcp::{RoleClient, ServiceExt};
use serde_json::{Map, Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};
use transport_ws::testing::{AgentChatServer, HttpFault, JournalEntry};

const OWN: &str = "quokka-9";
const PATIENCE: Duration = Duration::from_secs(30);

struct Host {
    client: RunningService<RoleClient, ()>,
}

impl Host {
    async fn start(command: Command) -> Self {
        let (child, _) = TokioChildProcess::builder(command).stderr(Stdio::null()).spawn().expect("started");
        let client =
            tokio::time::timeout(PATIENCE, ().serve(child)).await.expect("in time").expect("greeted");
        Self { client }
    }

    async fn tools(&self) -> Vec<Tool> {
        self.client.list_all_tools().await.expect("listed")
    }

    async fn try_call(&self, tool: &str, arguments: Value) -> Result<CallToolResult, ServiceError> {
        let Value::Object(arguments) = arguments else { panic!("arguments are an object") };
        let params = CallToolRequestParams::new(tool.to_owned()).with_arguments(arguments);
        tokio::time::timeout(PATIENCE, self.client.call_tool(params)).await.expect("in time")
    }

    /// Whether it is an error, and what was said.
    async fn call(&self, tool: &str, arguments: Value) -> (bool, Value) {
        said(self.try_call(tool, arguments).await.expect("a result"))
    }

    async fn ok(&self, tool: &str, arguments: Value) -> Value {
        let (is_error, value) = self.call(tool, arguments).await;
        assert!(!is_error && value["ok"] == true, "{tool}: {value}");
        value
    }
}

fn said(result: CallToolResult) -> (bool, Value) {
    let text = result.content.first().and_then(|it| it.as_text()).map(|it| it.text.clone()).expect("a text");
    let value = result.structured_content.expect("structured");
    assert_eq!(serde_json::from_str::<Value>(&text).expect("JSON"), value, "text and structure differ");
    (result.is_error == Some(true), value)
}

/// The program with nothing of this process's environment that it would read.
fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_agentchat-mcp"));
    for (name, _) in
        std::env::vars().filter(|(name, _)| name.starts_with("AGENTCHAT") || name.starts_with("MQ9_"))
    {
        command.env_remove(name);
    }
    command.args(arguments).kill_on_drop(true);
    command
}

fn chat(server: &AgentChatServer, arguments: &[&str]) -> Command {
    let mut command = program(arguments);
    command.env("AGENTCHATME_API_KEY", server.agent(OWN)).env("AGENTCHATME_API_BASE", server.base_url());
    command
}

async fn server() -> AgentChatServer {
    AgentChatServer::builder().switches(|it| it.awaiting_reply = false).start().await.expect("a free port")
}

fn requests(server: &AgentChatServer) -> usize {
    server.journal().iter().filter(|entry| matches!(entry, JournalEntry::Request { .. })).count()
}

#[tokio::test]
async fn all_tools_of_both_networks_are_listed_with_their_schemas() {
    let (server, broker) = (server().await, Broker::builder().start().await.expect("a broker"));
    let mut command = chat(&server, &[]);
    command.env("MQ9_URL", broker.url());
    let host = Host::start(command).await;
    let tools = host.tools().await;
    let names: Vec<&str> = tools.iter().map(|tool| &*tool.name).collect();
    assert_eq!((names.len(), names[0], names[51]), (52, "agentchat_send_message", "mq9_report"));
    for tool in &tools {
        assert!(tool.description.as_ref().is_some_and(|it| !it.is_empty()), "{}", tool.name);
        assert_eq!(tool.input_schema["type"], "object", "{}", tool.name);
        assert_eq!(tool.input_schema["additionalProperties"], false, "{}", tool.name);
        for rule in ["oneOf", "anyOf", "allOf"] {
            assert!(!tool.input_schema.contains_key(rule), "{} has {rule} at its top", tool.name);
        }
    }
    let hints = |name: &str| {
        let tool = tools.iter().find(|tool| tool.name == name).expect("listed");
        let hints = tool.annotations.as_ref().expect("hints");
        (hints.read_only_hint, hints.idempotent_hint)
    };
    assert_eq!(hints("agentchat_list_mutes"), (Some(true), Some(true)));
    assert_eq!(hints("agentchat_delete_group"), (Some(false), Some(false)));
    assert_eq!(hints("agentchat_block_agent"), (Some(false), Some(true)));
    // Whoever repeats these without naming the call does it twice.
    for sends in ["agentchat_send_message", "mq9_call"] {
        assert_eq!(hints(sends), (Some(false), Some(false)), "{sends}");
    }
    assert_eq!(host.ok("mq9_serve", json!({})).await["connection"], "connected");
    assert_eq!(host.ok("agentchat_get_my_status", json!({})).await["me"]["handle"], OWN);
}

#[tokio::test]
async fn a_subset_is_all_there_is_and_a_misspelt_name_is_an_error() {
    let server = server().await;
    let host = Host::start(chat(&server, &["--tools", "agentchat_list_mutes,agentchat_send_message"])).await;
    let tools = host.tools().await;
    let names: BTreeSet<&str> = tools.iter().map(|tool| &*tool.name).collect();
    assert_eq!(names, BTreeSet::from(["agentchat_list_mutes", "agentchat_send_message"]));
    let error =
        host.try_call("agentchat_block_agent", json!({ "handle": "bob" })).await.expect_err("not shown");
    assert!(matches!(&error, ServiceError::McpError(error) if error.code.0 == -32602), "{error:?}");

    let output = chat(&server, &["--tools", "agentchat_send_mesage"]).stdin(Stdio::null()).output();
    let output = tokio::time::timeout(PATIENCE, output).await.expect("in time").expect("ended");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0));
    assert!(text.contains("agentchat_send_mesage"), "{text}");
}

#[tokio::test]
async fn a_good_call_does_what_it_says_and_a_repeated_one_does_it_once() {
    let server = server().await;
    server.agent("tally-ho");
    let host = Host::start(chat(&server, &[])).await;
    let send = json!({ "to": "@Tally-Ho", "text": "hi", "client_msg_id": "m-1" });
    let first = host.ok("agentchat_send_message", send.clone()).await;
    let again = host.ok("agentchat_send_message", send).await;
    assert_eq!((&first["replayed"], &again["replayed"]), (&json!(false), &json!(true)));
    assert_eq!(first["message"]["id"], again["message"]["id"]);
    assert_eq!(server.stored("tally-ho"), 1);

    // A host that names the calls of its model.
    let named = async |id: &str| {
        let Value::Object(meta) = json!({ "agentchat/call_id": id }) else { unreachable!("an object") };
        let Value::Object(arguments) = json!({ "to": "tally-ho", "text": "named" }) else {
            unreachable!("an object")
        };
        let mut params = CallToolRequestParams::new("agentchat_send_message").with_arguments(arguments);
        params.meta = Some(serde_json::from_value::<RequestMetaObject>(Value::Object(meta)).expect("a map"));
        said(host.client.call_tool(params).await.expect("a result")).1["replayed"].clone()
    };
    assert_eq!(named("run 1, call 1").await, false);
    assert_eq!(named("run 1, call 1").await, true);
    assert_eq!(named("run 1, call 2").await, false);
}

#[tokio::test]
async fn bad_arguments_are_a_result_that_says_what_is_wrong_and_nothing_is_sent() {
    let server = server().await;
    let host = Host::start(chat(&server, &[])).await;
    host.tools().await;
    let before = requests(&server);
    for (arguments, named) in [
        (json!({ "text": "hi" }), "conversation_id"),
        (json!({ "to": "bob", "text": "" }), "text"),
        (json!({ "to": "bob", "text": "hi", "loud": true }), "loud"),
        (json!({ "to": "ab", "text": "hi" }), "to"),
    ] {
        let (is_error, value) = host.call("agentchat_send_message", arguments).await;
        assert!(is_error);
        assert_eq!(value["error"]["code"], "VALIDATION_ERROR");
        assert!(value["error"]["message"].as_str().is_some_and(|it| it.contains(named)), "{value}");
    }
    assert_eq!(requests(&server), before);
}

#[tokio::test]
async fn a_tool_that_is_not_there_is_an_error_of_the_protocol() {
    let server = server().await;
    let host = Host::start(chat(&server, &[])).await;
    let error = host.try_call("agentchat_mute_conversation", json!({})).await.expect_err("not there");
    let ServiceError::McpError(error) = error else { panic!("{error:?}") };
    assert_eq!(error.code.0, -32602);
    assert!(error.message.contains("agentchat_mute_conversation"));
}

#[tokio::test]
async fn a_server_that_is_killed_in_mid_call_is_an_answer_by_the_deadline() {
    let mut server = server().await;
    let host = Host::start(chat(&server, &["--deadline", "4"])).await;
    server.faults().repeat("GET /v1/mutes", 9, HttpFault::hang());
    server.clear_journal();
    let began = Instant::now();
    let (answer, ()) = tokio::join!(host.call("agentchat_list_mutes", json!({})), async {
        let pending = server.faults();
        while pending.pending() == 9 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        server.kill().await.expect("killed");
    });
    let code = answer.1["error"]["code"].clone();
    assert!(answer.0 && (code == "CONNECTION_ERROR" || code == "TIMEOUT"), "{}", answer.1);
    assert!(began.elapsed() < Duration::from_secs(15), "it ended late");
    // The program lives on, and so does the agent when the server is back.
    server.up().await.expect("up again");
    server.faults().clear();
    host.ok("agentchat_list_mutes", json!({})).await;
}

#[tokio::test]
async fn a_server_that_hangs_is_an_answer_by_the_deadline() {
    let server = server().await;
    let host = Host::start(chat(&server, &["--deadline", "1"])).await;
    server.faults().stall();
    let began = Instant::now();
    let (is_error, value) = host.call("agentchat_list_mutes", json!({})).await;
    assert!(is_error && value["error"]["code"] == "TIMEOUT", "{value}");
    assert!(began.elapsed() < Duration::from_secs(15), "it ended late");
}

#[tokio::test]
async fn how_to_behave_is_told_as_instructions_and_as_a_prompt_and_names_only_tools_that_are_shown() {
    let server = server().await;
    let host = Host::start(chat(&server, &["--tools", "agentchat_send_message"])).await;
    let info = host.client.peer_info().expect("greeted");
    let text = info.instructions.clone().expect("instructions");
    assert!(text.contains("agentchat_send_message") && !text.contains("agentchat_block_agent"));
    let prompts = host.client.list_all_prompts().await.expect("listed");
    assert_eq!(prompts[0].name, "agentchat_etiquette");
    let prompt = host.client.get_prompt(GetPromptRequestParams::new("agentchat_etiquette")).await;
    let prompt = serde_json::to_value(prompt.expect("a prompt")).expect("JSON");
    assert_eq!(prompt["messages"][0]["content"]["text"], text);
}

/// The program without a client: what is written, line by line.
struct Bare(Child);

impl Bare {
    fn start(mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self(command.spawn().expect("started"))
    }

    /// Greets, makes one call, and says what was written to stdout.
    async fn one_call(&mut self, tool: &str) -> Vec<String> {
        let greeting = json!({"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-06-18",
            "capabilities":{},"clientInfo":{"name":"test","version":"0"}}});
        let lines = [
            greeting,
            json!({"jsonrpc":"2.0","method":"notifications/initialized"}),
            json!({"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":tool,"arguments":{}}}),
        ];
        let input = self.0.stdin.as_mut().expect("piped");
        for line in lines {
            input.write_all(format!("{line}\n").as_bytes()).await.expect("written");
        }
        let mut output = BufReader::new(self.0.stdout.as_mut().expect("piped")).lines();
        let mut written = Vec::new();
        let answered = async {
            while let Some(line) = output.next_line().await.expect("read") {
                written.push(line);
                if written.last().is_some_and(|line| line.contains(r#""id":1"#)) {
                    break;
                }
            }
        };
        tokio::time::timeout(PATIENCE, answered).await.expect("in time");
        written
    }
}

#[tokio::test]
async fn stdout_is_the_protocols_alone_however_much_is_logged_and_logs_hold_no_secrets() {
    let server = server().await;
    let broker = Broker::builder().start().await.expect("a broker");
    let key = server.agent(OWN);
    let mut command = chat(&server, &["--log", "trace"]);
    command.env("MQ9_URL", broker.url());
    let mut bare = Bare::start(command);
    let written = bare.one_call("agentchat_list_mutes").await;
    assert_eq!(written.len(), 2, "{written:?}");
    drop(bare.0.stdin.take());
    let (mut rest, mut logged) = (String::new(), String::new());
    bare.0.stdout.take().expect("piped").read_to_string(&mut rest).await.expect("read");
    bare.0.stderr.take().expect("piped").read_to_string(&mut logged).await.expect("read");
    for line in written.iter().map(String::as_str).chain(rest.lines()) {
        let message: Map<String, Value> = serde_json::from_str(line).expect(line);
        assert_eq!(message["jsonrpc"], "2.0");
    }
    assert!(logged.contains("serving"), "nothing was logged: {logged}");
    assert!(!logged.contains(&key), "the key was logged");
}

#[tokio::test]
async fn the_program_ends_when_stdin_does_and_takes_its_agent_out_of_the_registry() {
    let broker = Broker::builder().start().await.expect("a broker");
    let mut command = program(&[]);
    command.env("MQ9_URL", broker.url());
    let mut bare = Bare::start(command);
    let written = bare.one_call("mq9_serve").await;
    assert!(written[1].contains("connected"), "{written:?}");
    let began = Instant::now();
    drop(bare.0.stdin.take());
    let status = tokio::time::timeout(PATIENCE, bare.0.wait()).await.expect("it ended").expect("a status");
    assert!(status.success(), "{status}");
    let took = began.elapsed();
    assert!(took < Duration::from_secs(1), "it took {took:?}");
    // The broker hears of the end a moment after the program is gone.
    let left = tokio::time::timeout(PATIENCE, async {
        while broker.connections() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    left.await.expect("the attachment was left open");
}

#[tokio::test]
async fn a_registered_agent_whose_inbox_is_kept_nowhere_is_gone_after_the_program() {
    let broker = Broker::builder().start().await.expect("a broker");
    let mut command = program(&[]);
    command.env("MQ9_URL", broker.url());
    let host = Host::start(command).await;
    host.ok("mq9_register", json!({ "name": "passer-by", "tags": ["here"] })).await;
    let mut other = program(&[]);
    other.env("MQ9_URL", broker.url());
    let other = Host::start(other).await;
    let found = async || other.ok("mq9_discover", json!({ "tag": "here" })).await["count"].clone();
    assert_eq!(found().await, 1);
    host.client.cancel().await.expect("ended");
    assert_eq!(found().await, 0, "nobody can reach it, and it is still found");
}

#[tokio::test]
async fn without_an_agent_in_the_environment_it_says_so() {
    let output = program(&[]).stdin(Stdio::null()).output();
    let output = tokio::time::timeout(PATIENCE, output).await.expect("in time").expect("ended");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0));
    assert!(text.contains("AGENTCHATME_API_KEY") && text.contains("MQ9_URL"), "{text}");
}

/// A file that is gone when this is.
struct Written(std::path::PathBuf);

impl Written {
    fn new(name: &str, value: &Value) -> Self {
        let path = std::env::temp_dir().join(format!("agentchat-mcp-{name}-{}.json", std::process::id()));
        std::fs::write(&path, value.to_string()).expect("written");
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().expect("UTF-8")
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[tokio::test]
async fn a_file_names_the_agent_of_both_networks_and_the_environment_goes_before_it() {
    let (server, broker) = (server().await, Broker::builder().start().await.expect("a broker"));
    let section = json!({
        "agentchat": { "api_key": server.agent(OWN), "handle": OWN, "api_base": server.base_url() },
        "mq9": { "broker": broker.url(), "agent_id": "Coder-1" },
    });
    let file = Written::new("both", &section);
    let host = Host::start(program(&["--config", file.path()])).await;
    assert_eq!(host.tools().await.len(), 52);
    assert_eq!(host.ok("agentchat_get_my_status", json!({})).await["me"]["handle"], OWN);
    let serve = host.ok("mq9_serve", json!({})).await;
    assert!(serve["mailbox"].as_str().is_some_and(|it| it.contains("/coder.1.")), "{serve}");

    let mut other = program(&["--config", file.path()]);
    other.env("AGENTCHATME_API_KEY", server.agent("tally-ho")).env("AGENTCHATME_HANDLE", "tally-ho");
    other.env("MQ9_INBOX", "from.env");
    let other = Host::start(other).await;
    assert_eq!(other.ok("agentchat_get_my_status", json!({})).await["me"]["handle"], "tally-ho");
    let serve = other.ok("mq9_serve", json!({})).await;
    assert!(serve["mailbox"].as_str().is_some_and(|it| it.ends_with("/from.env")), "{serve}");
}

#[tokio::test]
async fn what_is_wrong_in_the_file_is_named_and_not_shown() {
    let nothing = json!({});
    for (name, file, says) in [
        ("path", json!({ "mq9": { "broker": "SECRET" } }), "mq9.broker"),
        ("key", json!({ "agentchat": { "api_key": "SECRET" } }), "agentchat.api_key"),
        ("unknown", json!({ "mq8": { "broker": "SECRET" } }), "mq8 is not known"),
        ("kind", json!("SECRET"), "is no JSON object"),
        ("empty", nothing, "AGENTCHATME_API_KEY"),
    ] {
        let file = Written::new(name, &file);
        let output = program(&["--config", file.path()]).stdin(Stdio::null()).output();
        let output = tokio::time::timeout(PATIENCE, output).await.expect("in time").expect("ended");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{text}");
        assert!(text.contains(says) && !text.contains("SECRET"), "{text}");
    }
    let output = program(&["--config", "/no/such/file"]).stdin(Stdio::null()).output();
    let output = tokio::time::timeout(PATIENCE, output).await.expect("in time").expect("ended");
    assert!(String::from_utf8_lossy(&output.stderr).contains("/no/such/file"));
    assert_eq!(output.status.code(), Some(2));
}

#[tokio::test]
async fn a_network_that_is_not_there_at_the_start_is_told_and_waited_for_no_longer_than_a_host_does() {
    let mut server = server().await;
    server.down().await.expect("down");
    let broker = Broker::builder().start().await.expect("a broker");
    let (gone, chat) = (broker.url(), chat(&server, &[]));
    drop(broker);
    let mut mq9 = program(&[]);
    mq9.env("MQ9_URL", gone);
    for mut command in [chat, mq9] {
        let output = tokio::time::timeout(PATIENCE, command.stdin(Stdio::null()).output());
        let output = output.await.expect("in time").expect("ended");
        assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
        assert!(!output.stderr.is_empty());
    }
}

#[tokio::test]
async fn with_the_handle_set_it_starts_while_the_network_is_down_and_each_call_says_so() {
    let mut server = server().await;
    let mut command = chat(&server, &[]);
    command.env("AGENTCHATME_HANDLE", OWN);
    server.down().await.expect("down");
    let host = Host::start(command).await;
    let (is_error, value) = host.call("agentchat_list_mutes", json!({})).await;
    assert!(is_error && value["error"]["code"] == "CONNECTION_ERROR", "{value}");
    server.up().await.expect("up");
    host.ok("agentchat_list_mutes", json!({})).await;
}
