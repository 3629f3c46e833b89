//! Does this server speak mq9 to us? One command without effect tells.

use std::time::Duration;

use async_nats::{Request, RequestErrorKind};
use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::time::timeout;

use crate::connect::link::Link;
use crate::error::{Error, ErrorKind, Reached, Result};
use crate::protocol::replies;
use crate::protocol::subjects::Command;

/// Sends AGENT.REPORT for an agent without a name, which every broker refuses in an mq9 reply.
pub(crate) async fn probe(link: &Link, patience: Duration) -> Result<()> {
    let subject = Command::Report.subject();
    let body = Bytes::from_static(br#"{"name":""}"#);
    let request = link.nats.send_request(subject.clone(), Request::new().payload(body).timeout(None));
    let answer = tokio::select! {
        biased;
        answer = timeout(patience / 4 * 3, request) => answer,
        error = link.alarm.failed("connect", &subject, 0) => return verdict(error),
    };
    match answer {
        Ok(Ok(reply)) if replies::is_reply(&reply.payload) => Ok(()),
        Ok(Ok(_)) => Err(not_mq9("what answers mq9 commands there does not speak mq9")),
        Ok(Err(error)) if error.kind() == RequestErrorKind::NoResponders => {
            Err(not_mq9("nothing answers mq9 commands on this server"))
        }
        Ok(Err(_)) => Err(match link.alarm.fault("connect", Some(&subject), 0) {
            Some(error) => error,
            None => Error::new(ErrorKind::Disconnected, "connect", "the connection was lost")
                .with_reached(Reached::No),
        }),
        // RobustMQ knows no "no responders", and its workers can be held up by other clients' requests:
        // silence means another protocol only if the server is awake otherwise.
        Err(_) if echoes(link, patience / 4).await => {
            Err(not_mq9("the server is awake, but leaves mq9 commands unanswered"))
        }
        Err(_) => {
            Err(Error::new(ErrorKind::Timeout, "connect", "the server did not answer the probe in time")
                .with_reached(Reached::No))
        }
    }
}

/// A broker that refuses the probe's subject as an *mq9* subject speaks mq9.
fn verdict(error: Error) -> Result<()> {
    match error.kind() {
        ErrorKind::Unsupported => Ok(()),
        _ => Err(error.with_reached(Reached::No)),
    }
}

async fn echoes(link: &Link, patience: Duration) -> bool {
    let inbox = link.nats.new_inbox();
    let echo = async {
        let mut messages = link.nats.subscribe(inbox.clone()).await.ok()?;
        link.nats.publish(inbox.clone(), Bytes::new()).await.ok()?;
        messages.next().await
    };
    matches!(timeout(patience, echo).await, Ok(Some(_)))
}

fn not_mq9(what: &str) -> Error {
    Error::new(ErrorKind::NotMq9, "connect", what)
}
