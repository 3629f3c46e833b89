//! The agent that the README shows: it is this one, and it works.
#![cfg(feature = "test-server")]

use transport_ws::ApiKey;
use transport_ws::testing::AgentChatServer;

include!("readme/agent.rs.in");

const AGENT: &str = include_str!("readme/agent.rs.in");

#[tokio::test]
async fn the_agent_of_the_readme_finds_and_calls_its_peer() {
    let server = AgentChatServer::start().await.expect("a free port");
    let config = |handle: &str| {
        let key = ApiKey::new(server.agent(handle)).expect("a key");
        AgentChatConfig::builder(key).with_base_url(server.base_url()).build().expect("usable")
    };
    let (told, mut asked) = tokio::sync::mpsc::unbounded_channel();
    let echo = move |request: Request| {
        let told = told.clone();
        async move {
            let _ = told.send(request.body().as_str().map(str::to_owned));
            request.reply(request.body().clone()).await?;
            Ok(())
        }
    };
    let connector = AgentChatConnector::new(config("parrot-2")).expect("a connector");
    let peer = Agent::builder(connector).serve(echo, ServeOptions::default()).start().await.expect("started");
    run(config("assistant")).await.expect("it finds its peer, is answered, and ends");
    assert_eq!(asked.try_recv().expect("it was asked").as_deref(), Some("hello"));
    peer.close(CloseMode::Detach, Duration::from_secs(5)).await.expect("closed");
}

#[test]
fn the_readme_shows_it_as_it_is_in_under_thirty_lines() {
    let readme = include_str!("../README.md");
    assert!(readme.contains(&format!("```rust,no_run\n{AGENT}```\n")), "the README shows another one");
    assert!(AGENT.lines().count() < 30 && !AGENT.lines().any(|line| line.starts_with("# ")));
}
