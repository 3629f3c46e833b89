//! Commands and the connection under them: credentials, cuts, restarts, silence.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use mq9_client::testing::{Broker, EngineProfile, WireProfile};
use mq9_client::{Client, ConnectOptions, ConnectionState, ErrorKind, Message, Reached};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::support::within;
use crate::{MINUTE, Rig, kind, stateless, texts};

#[tokio::test]
async fn credentials_are_checked_over_both_wires() {
    for wire in [WireProfile::Standard, WireProfile::RobustMq] {
        let broker =
            Broker::builder().wire(wire).credentials("ada", "s3cret").start().await.expect("a broker");
        for options in [
            ConnectOptions::new(),
            ConnectOptions::new().with_user("ada", "wrong"),
            ConnectOptions::new().with_token("s3cret"),
        ] {
            let error = within(10, "a refusal", options.connect(&broker.url())).await.expect_err("refused");
            assert_eq!((error.kind(), error.reached()), (ErrorKind::Unauthorized, Reached::No), "{error}");
            assert!(!format!("{error} {error:?}").contains("s3cret"));
        }
        let client = ConnectOptions::new().with_user("ada", "s3cret").connect(&broker.url()).await;
        client.expect("let in").report("a", "b").await.expect("works");
        let in_the_uri = broker.url().replace("mq9://", "mq9://ada:s3cret@");
        Client::connect(&in_the_uri).await.expect("let in").report("a", "b").await.expect("works");
    }
}

#[tokio::test]
async fn a_cut_reply_leaves_open_whether_the_message_was_stored() {
    for rig in Rig::both().await {
        rig.broker.faults().cut_open_after_bytes(10);
        let error = rig.client.send(&rig.inbox, &Message::new("x")).await.expect_err("cut");
        assert_eq!((error.kind(), error.reached()), (ErrorKind::Disconnected, Reached::Unknown));
        let read = within(10, "coming back", async {
            loop {
                match rig.client.fetch(&rig.inbox, &stateless()).await {
                    Ok(read) => return read,
                    Err(error) => assert_eq!(error.kind(), ErrorKind::Disconnected),
                }
                tokio::task::yield_now().await;
            }
        })
        .await;
        assert_eq!(texts(&read), ["x"], "stored once, though the reply was cut");
    }
}

#[tokio::test]
async fn a_client_outlives_a_restart_of_its_broker() {
    for mut rig in Rig::both().await {
        rig.send(Message::new("before")).await;
        rig.broker.down().await.expect("down");
        let error = rig.client.send(&rig.inbox, &Message::new("during")).await.expect_err("down");
        assert_eq!(error.kind(), ErrorKind::Disconnected);
        rig.broker.up().await.expect("up");
        within(20, "coming back", async {
            let mut state = rig.client.state();
            while state != ConnectionState::Connected {
                state = rig.client.state_changed(state).await;
            }
        })
        .await;
        rig.send(Message::new("after")).await;
        assert_eq!(texts(&rig.fetch(stateless()).await), ["before", "after"]);
    }
}

#[tokio::test]
async fn a_reply_lost_on_the_way_is_a_timeout_that_may_have_stored() {
    let rig = Rig::of(EngineProfile::robustmq(), WireProfile::Standard).await;
    rig.broker.faults().drop_replies("MSG.SEND", 1);
    let hasty = rig.client.with_timeout(Duration::from_millis(150));
    let error = hasty.send(&rig.inbox, &Message::new("x")).await.expect_err("no reply");
    assert_eq!((error.kind(), error.reached()), (ErrorKind::Timeout, Reached::Unknown));
    assert_eq!(texts(&rig.fetch(stateless()).await), ["x"]);
}

/// One connection to a broker, on which its answers to pings are counted.
struct Line {
    url: String,
    pongs: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Line {
    async fn to(broker: &Broker) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let url = format!("mq9://{}", listener.local_addr().expect("bound"));
        let (pongs, to) = (Arc::<AtomicUsize>::default(), broker.url().replace("mq9://", ""));
        let counter = Arc::clone(&pongs);
        let task = tokio::spawn(async move {
            let (mut client, _) = listener.accept().await.expect("a client");
            let mut broker = TcpStream::connect(to).await.expect("the broker");
            let ((mut heard, mut said), (mut from, mut to)) = (client.split(), broker.split());
            let answers = async {
                let mut bytes = [0; 4096];
                while let Ok(length @ 1..) = from.read(&mut bytes).await {
                    let pongs = bytes[..length].windows(6).filter(|it| *it == b"PONG\r\n").count();
                    counter.fetch_add(pongs, Ordering::Relaxed);
                    said.write_all(&bytes[..length]).await.expect("the client is there");
                }
            };
            tokio::join!(answers, async { drop(tokio::io::copy(&mut heard, &mut to).await) });
        });
        Self { url, pongs, task }
    }

    fn pongs(&self) -> usize {
        self.pongs.load(Ordering::Relaxed)
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[tokio::test]
async fn a_broker_that_hangs_counts_as_lost_after_three_silent_intervals() {
    for wire in [WireProfile::Standard, WireProfile::RobustMq] {
        let broker = Broker::builder().wire(wire).start().await.expect("a broker");
        let options = ConnectOptions::new().with_ping_interval(Duration::from_millis(60));
        let line = Line::to(&broker).await;
        let client = options.connect(&line.url).await.expect("connects").with_timeout(MINUTE);
        // Answered pings keep a quiet connection alive, for longer than silence would.
        let before = line.pongs();
        within(20, "answers to pings", async {
            while line.pongs() < before + 6 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
        assert_eq!(client.state(), ConnectionState::Connected);
        broker.faults().stall_until_released();
        let error = within(5, "the call", client.report("a", "b")).await.expect_err("lost");
        assert_eq!((error.kind(), error.reached()), (ErrorKind::Disconnected, Reached::Unknown));
        broker.faults().release();
    }
}

#[cfg(feature = "interop")]
#[tokio::test]
async fn a_connection_handed_in_is_used_and_left_open() {
    for rig in Rig::both().await {
        let nats = async_nats::ConnectOptions::new().name("own").connect(rig.broker.nats_url()).await;
        let nats = nats.expect("connects");
        let client = Client::from_nats(nats.clone(), ConnectOptions::new()).expect("usable");
        client.send(&rig.inbox, &Message::new("x")).await.expect("sent");
        let sibling = client.open_sibling().await.expect("shared");
        client.close().await;
        assert_eq!(kind(client.send(&rig.inbox, &Message::new("x")).await), ErrorKind::Closed);
        sibling.send(&rig.inbox, &Message::new("y")).await.expect("still open");
        assert_eq!(rig.fetch(stateless()).await.len(), 2);
        assert_eq!(nats.connection_state(), async_nats::connection::State::Connected);
        assert!(sibling.server_uri().same_broker(&rig.client.server_uri()));
    }
}
