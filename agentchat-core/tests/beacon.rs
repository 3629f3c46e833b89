//! An agent keeps a sign of life for those who look after it on its host.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use agentchat_core::{
    Agent, Beacon, BeaconSight, BeaconState, ClientMsgId, CloseMode, ConnectionState, ErrorKind, Loopback,
    Request, ResilientConnector, ResilientOptions, ServeOptions,
};

struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        let folder = std::env::temp_dir().join(format!("beacon-{}", ClientMsgId::random()));
        std::fs::create_dir(&folder).expect("made");
        Self(folder)
    }

    fn file(&self) -> PathBuf {
        self.0.join("agent.json")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn seen(path: &Path) -> BeaconState {
    match Beacon::look(path, SystemTime::now()) {
        BeaconSight::Fresh { state, .. } => state,
        other => panic!("{other:?}"),
    }
}

async fn until(path: &Path, state: BeaconState) {
    let watched = async {
        while seen(path) != state {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(300), watched).await.expect("shown in time");
}

#[tokio::test(start_paused = true)]
async fn the_beacon_of_an_agent_follows_its_connection_and_says_when_it_was_closed() {
    let (network, place) = (Loopback::new(), Place::new());
    let connector = network.connector("coder").expect("name");
    let session = ResilientConnector::new(connector, ResilientOptions::new());
    // Whoever reads an inbox notices that the connection is gone.
    let agent = Agent::builder(session).serve(async |_: Request| Ok(()), ServeOptions::default());
    let agent = agent.beacon(place.file()).start().await.expect("started");
    assert_eq!(
        (agent.connection(), seen(&place.file())),
        (ConnectionState::Connected, BeaconState::Connected)
    );
    network.outage();
    until(&place.file(), BeaconState::Down).await;
    assert_eq!(agent.connection(), ConnectionState::Connecting);
    network.heal();
    until(&place.file(), BeaconState::Connected).await;
    agent.close(CloseMode::Detach, Duration::from_secs(5)).await.expect("closed");
    assert_eq!((agent.connection(), seen(&place.file())), (ConnectionState::Closed, BeaconState::Off));
}

#[tokio::test]
async fn an_attachment_that_does_not_tell_is_shown_as_running() {
    let (network, place) = (Loopback::new(), Place::new());
    let agent = Agent::builder(network.connector("coder").expect("name")).beacon(place.file());
    let agent = agent.start().await.expect("started");
    assert_eq!((agent.connection(), seen(&place.file())), (ConnectionState::Unknown, BeaconState::Running));
    drop(agent);
    assert_eq!(seen(&place.file()), BeaconState::Running, "nobody ended it on purpose");
}

#[tokio::test]
async fn an_agent_whose_beacon_cannot_be_written_does_not_start_and_leaves_nothing() {
    let (network, place) = (Loopback::new(), Place::new());
    let builder = Agent::builder(network.connector("coder").expect("name"));
    let error = builder.beacon(place.0.join("missing/agent.json")).start().await.expect_err("no folder");
    assert_eq!(error.kind(), ErrorKind::Config);
    let again = Agent::builder(network.connector("coder").expect("name")).start().await;
    again.expect("the name is free");
}
