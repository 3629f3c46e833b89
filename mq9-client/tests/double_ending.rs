//! How the in-process broker ends a connection.

#![cfg(feature = "test-broker")]

mod raw;

use mq9_client::testing::{Broker, WireProfile};
use raw::{Raw, errors};

#[tokio::test]
async fn a_connection_that_is_ended_is_not_reset_under_a_client_that_still_writes() {
    for wire in [WireProfile::Standard, WireProfile::RobustMq] {
        let broker = Broker::builder().wire(wire).start().await.unwrap();
        let mut raw = Raw::connect(broker.port()).await;
        broker.faults().expire_logins(true);
        let heard = errors(&raw.until_closed().await);
        assert!(heard.iter().any(|error| error.contains("Authentication Expired")), "{heard:?}");
        // A client that fails to write may never look at what it was told.
        for _ in 0..3 {
            raw.say("PING\r\n").await;
        }
    }
}
