//! How many of a stream's events reach a reader that is slower than their writer.

use std::time::Duration;

use a2a_envelope::agent::{A2aClient, A2aRequest, A2aServer, A2aServerOptions, TurnHandle};
use a2a_envelope::stream::{Coalesce, ReaderItem, WriterOptions};
use a2a_envelope::task::Event;
use agentchat_core::{Agent, Loopback};

use crate::rig::print;

/// `a2a.stream.delivered`: the share of events that arrived, each once and in order.
pub fn delivered() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let arrived = runtime.block_on(stream());
    let detail = format!(
        "{arrived} of {EVENTS} events in order; the reader takes {} ms for every {PER_PAUSE}",
        PAUSE.as_millis()
    );
    print("a2a.stream.delivered", arrived as f64 / EVENTS as f64, "of the events", &detail);
}

async fn stream() -> usize {
    let network = Loopback::new();
    let agent = |name| Agent::builder(network.connector(name).expect("a name")).start();
    let (server, caller) = (agent("server").await.expect("starts"), agent("caller").await.expect("starts"));
    let count = |turn: TurnHandle| async move {
        for number in 0..EVENTS {
            turn.text("numbers", &number.to_string()).await?;
        }
        Ok(())
    };
    let writer = WriterOptions::default().with_coalesce(Coalesce::OFF);
    let options = A2aServerOptions::default().with_writer(writer);
    let _serving = A2aServer::new(count).with_options(options).serve(&server).await.expect("serves");
    let request = A2aRequest::text("count").with_streaming();
    let mut call = A2aClient::new(&caller).call(server.address(), request).await.expect("called");
    let mut next = 0;
    while let Some(item) = call.next().await {
        let Ok(ReaderItem::Reply(reply)) = item else { continue };
        if let Event::Artifact { artifact, .. } = reply.event {
            if artifact.text() == next.to_string() {
                next += 1;
            }
            if next % PER_PAUSE == 0 {
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    next
}

const EVENTS: usize = 2_000;
const PER_PAUSE: usize = 10;
const PAUSE: Duration = Duration::from_millis(5);
