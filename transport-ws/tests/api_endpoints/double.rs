//! The client has each endpoint, and the double answers it.

use transport_ws::http::RetryPolicy;
use transport_ws::testing::{AgentChatServer, JournalEntry, Profile};
use transport_ws::{AgentChat, AgentChatConfig, ApiKey};

use crate::contract::{INDEX, endpoints};

pub(crate) fn client(server: &AgentChatServer, handle: &str) -> AgentChat {
    let key = ApiKey::new(server.agent(handle)).expect("a key");
    let config = AgentChatConfig::builder(key).with_base_url(server.base_url()).build().expect("usable");
    AgentChat::new(&config).expect("a client").with_retry(RetryPolicy::none())
}

/// The last request: its method and path without the query, and its answer's status.
fn last(server: &AgentChatServer) -> (String, u16) {
    let request = |entry: JournalEntry| match entry {
        JournalEntry::Request { method, path, status, .. } => {
            let path = path.split('?').next().unwrap_or_default().to_owned();
            Some((format!("{method} {path}"), status))
        }
        _ => None,
    };
    server.journal().into_iter().filter_map(request).next_back().expect("a request")
}

fn is_of(asked: &str, route: &str) -> bool {
    let (mut asked, mut route) = (asked.split('/'), route.split('/'));
    loop {
        match (asked.next(), route.next()) {
            (None, None) => return true,
            (Some(segment), Some(wanted)) if wanted.starts_with(':') || segment == wanted => {}
            _ => return false,
        }
    }
}

#[test]
fn the_table_has_every_endpoint_of_the_contract_once() {
    let routes: Vec<&str> = endpoints().iter().map(|endpoint| endpoint.route).collect();
    assert_eq!(routes, INDEX);
}

#[tokio::test]
async fn the_client_asks_each_endpoint_and_the_double_knows_it() {
    for endpoint in endpoints() {
        // Some of them end the account.
        let server = AgentChatServer::builder().profile(Profile::Current).start().await.expect("a free port");
        server.agent("tally-ho");
        let answer = (endpoint.call)(client(&server, "quokka-9")).await;
        let (asked, status) = last(&server);
        assert!(is_of(&asked, endpoint.route), "{}: {asked}", endpoint.route);
        // A route that it does not know is answered without a code.
        let known = answer.as_ref().map_or_else(|error| !error.is_synthesised(), |()| true);
        assert!(known, "{}: {answer:?}", endpoint.route);
        assert!(endpoint.tells || status == 200, "{}: {status}", endpoint.route);
    }
}
