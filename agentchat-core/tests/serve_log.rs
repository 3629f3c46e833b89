//! What serving leaves in the log. Alone in its file: what one thread logs depends on the others of a process.

mod support;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use agentchat_core::{ConversationId, Loopback, Outbound, Request, ServeOptions, ServePolicy};
use support::{SECOND, start, text};
use tracing::{Event, Level, Metadata, Subscriber, span};

#[tokio::test(start_paused = true)]
async fn a_turn_limit_warns_once_per_window_and_each_superseded_message_is_told() {
    let log = Log::default();
    let _logging = tracing::subscriber::set_default(log.clone());
    let network = Loopback::new();
    let bob = start(&network, "bob").await;
    let said = || -> Outbound { text(&bob, "x").with_conversation(ConversationId::new("c").expect("id")) };
    let slow = |_: Request| async {
        tokio::time::sleep(SECOND / 10).await;
        Ok(())
    };
    let options = ServeOptions::default().with_turn_limit(2, 60 * SECOND).with_policy(ServePolicy::Latest);
    let serving = bob.serve(slow, options).await.expect("served");
    for window in 1..=2 {
        for _ in 0..10 {
            bob.send(&said()).await.expect("sent");
            tokio::time::sleep(SECOND).await;
        }
        assert_eq!(log.count(Level::WARN, "turns.over_limit"), window);
        tokio::time::sleep(60 * SECOND).await;
    }
    for _ in 0..4 {
        bob.send(&said()).await.expect("sent");
        tokio::time::sleep(SECOND / 1_000).await;
    }
    tokio::time::sleep(SECOND).await;
    assert_eq!(serving.stats().superseded, 2);
    assert_eq!(log.count(Level::DEBUG, "message.superseded"), 2);
}

/// The levels and names of what was logged.
#[derive(Clone, Default)]
struct Log {
    events: Arc<Mutex<Vec<(Level, &'static str)>>>,
    spans: Arc<AtomicU64>,
}

impl Log {
    fn count(&self, level: Level, name: &str) -> usize {
        let events = self.events.lock().expect("not poisoned");
        events.iter().filter(|event| **event == (level, name)).count()
    }
}

impl Subscriber for Log {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1 + self.spans.fetch_add(1, Ordering::SeqCst))
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let metadata = event.metadata();
        self.events.lock().expect("not poisoned").push((*metadata.level(), metadata.name()));
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}
