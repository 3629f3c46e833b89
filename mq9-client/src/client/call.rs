//! One command out, one reply back.

use std::pin::pin;
use std::time::Duration;

use async_nats::{HeaderMap, Request, RequestError, RequestErrorKind};
use bytes::Bytes;
use tokio::sync::{SemaphorePermit, oneshot};
use tokio::task::unconstrained;
use tokio::time::{Instant, sleep, timeout};

use crate::client::Client;
use crate::connect::Link;
use crate::error::{Advice, Error, ErrorKind, Reached, Result};
use crate::protocol::subjects::Command;

impl Client {
    /// Sends a command and awaits its reply.
    pub(crate) async fn call(&self, command: Command<'_>, body: Bytes) -> Result<Bytes> {
        let link = self.session.link(command.operation())?;
        self.call_on(&link, command, None, body).await
    }

    pub(crate) async fn call_on(
        &self,
        link: &Link,
        command: Command<'_>,
        headers: Option<HeaderMap>,
        payload: Bytes,
    ) -> Result<Bytes> {
        let (_permit, patience) = self.permit(command).await?;
        let mark = link.alarm.mark();
        let request = Request { payload: Some(payload), headers, timeout: Some(None), inbox: None };
        // Outside tokio's cooperative budget, since that would let calls polled one after the other in
        // one task enter the queue in another order.
        let mut reply = pin!(unconstrained(link.nats.send_request(command.subject(), request)));
        // Nearly every reply comes within milliseconds. Listening for the server's errors costs a lock
        // for each call, so it begins only once a reply is late; a lost connection fails the reply itself.
        let quick = patience.min(LATE);
        let outcome = match timeout(quick, reply.as_mut()).await {
            Ok(outcome) => outcome,
            Err(_) => {
                let subject = command.subject();
                tokio::select! {
                    biased;
                    outcome = reply.as_mut() => outcome,
                    error = link.alarm.failed(command.operation(), &subject, mark) => {
                        return Err(self.session.ending(command.operation()).map_or(error, in_flight));
                    }
                    () = sleep(patience - quick) => return Err(late(command, self.timeout())),
                }
            }
        };
        match outcome {
            Ok(reply) => Ok(reply.payload),
            Err(error) => {
                if matches!(error.kind(), RequestErrorKind::Other) && !link.foreign {
                    // What the server said before it hung up is heard by another task, in order.
                    let subject = command.subject();
                    let _ = timeout(LATE, link.alarm.failed(command.operation(), &subject, mark)).await;
                }
                Err(self.failure(link, command, mark, &error))
            }
        }
    }

    /// Waits for a free place if their number is bounded; gives it and the time left.
    async fn permit(&self, command: Command<'_>) -> Result<(Option<SemaphorePermit<'_>>, Duration)> {
        let Some(permits) = &self.session.permits else {
            return Ok((None, self.timeout()));
        };
        let begun = Instant::now();
        let waited = timeout(self.timeout(), permits.acquire()).await;
        let left = self.timeout().saturating_sub(begun.elapsed());
        match waited {
            Ok(Ok(permit)) if !left.is_zero() => Ok((Some(permit), left)),
            Ok(Err(_)) => Err(Error::new(ErrorKind::Closed, command.operation(), "the client is closed")),
            Ok(Ok(_)) | Err(_) => Err(Error::new(
                ErrorKind::Timeout,
                command.operation(),
                "too many calls were under way for the whole time",
            )
            .with_reached(Reached::No)),
        }
    }

    fn failure(&self, link: &Link, command: Command<'_>, mark: u64, error: &RequestError) -> Error {
        let operation = command.operation();
        match error.kind() {
            RequestErrorKind::NoResponders => {
                // It spoke mq9 when the client connected, so it may be back soon.
                Error::new(ErrorKind::NotMq9, operation, "nothing answers mq9 commands at the moment")
                    .with_advice(Advice::Backoff)
            }
            RequestErrorKind::TimedOut => late(command, self.timeout()),
            RequestErrorKind::InvalidSubject => {
                Error::new(ErrorKind::Invalid, operation, "the address makes no subject")
            }
            RequestErrorKind::MaxPayloadExceeded => Error::new(
                ErrorKind::TooLarge,
                operation,
                "the request is larger than the connection carries",
            ),
            _ => {
                if !link.foreign {
                    link.alarm.lose();
                }
                if let Some(ending) = self.session.ending(operation) {
                    return in_flight(ending);
                }
                let unsent = !std::error::Error::source(error).is_some_and(|source| source.is::<Dropped>());
                link.alarm.fault(operation, Some(&command.subject()), mark).unwrap_or_else(|| {
                    link.alarm.why_lost(operation).with_reached(if unsent {
                        Reached::No
                    } else {
                        Reached::Unknown
                    })
                })
            }
        }
    }
}

/// NATS dropped a request it had taken in.
type Dropped = oneshot::error::RecvError;

/// The client's end as the failure of a call that was under way.
fn in_flight(error: Error) -> Error {
    error.with_reached(Reached::Unknown)
}

fn late(command: Command<'_>, patience: Duration) -> Error {
    Error::new(ErrorKind::Timeout, command.operation(), format!("no reply within {patience:?}"))
}

/// When a reply counts as late.
const LATE: Duration = Duration::from_millis(50);
