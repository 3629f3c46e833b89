//! The suite fails where a promise is broken: each fault here is one that a transport could have, over a
//! network that is sound otherwise.
#![cfg(feature = "conformance")]

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use agentchat_core::conformance::{Harness, Outcome, Skip, case};
use agentchat_core::*;
use async_trait::async_trait;
use futures_util::{FutureExt, StreamExt, stream};

/// What is wrong with a transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    SaysAcceptedAndLoses,
    DeliversTwice,
    DeliversInPairsTheWrongWayRound,
    IgnoresBounds,
    SaysCaughtUpFirst,
    NeverSaysCaughtUp,
    AcknowledgesNothing,
    AcknowledgesMore,
    TakesAnyTag,
    EndsStreamsInSilence,
    DropsHeaders,
    NewIdsForRepetitions,
    DoesNotClose,
    ClosesAgain,
    CallsFatalErrorsTemporary,
    SaysStalledSendsArrived,
    WaitsForEver,
    ShowsAddresses,
    HasUndeclaredLacks,
    KeepsTheOldState,
    RegistersNobody,
}

#[derive(Debug, Clone)]
struct Faulty<T>(T, Fault);

#[async_trait]
impl Connector for Faulty<LoopbackConnector> {
    async fn connect(&self) -> Result<Arc<dyn Transport>> {
        let inner = self.0.connect().await?;
        let mut able = inner.capabilities().clone();
        able.directory &= self.1 != Fault::HasUndeclaredLacks;
        Ok(Arc::new(Line { inner, able, fault: self.1, sent: AtomicU64::new(0) }))
    }
}

struct Line {
    inner: Arc<dyn Transport>,
    able: Capabilities,
    fault: Fault,
    sent: AtomicU64,
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = if self.fault == Fault::ShowsAddresses { self.inner.address().as_str() } else { "…" };
        write!(f, "Line({shown})")
    }
}

impl Line {
    fn is(&self, fault: Fault) -> bool {
        self.fault == fault
    }
}

#[async_trait]
impl Transport for Line {
    fn capabilities(&self) -> &Capabilities {
        &self.able
    }

    fn address(&self) -> &Address {
        self.inner.address()
    }

    async fn register(&self, card: &AgentCard) -> Result<()> {
        if self.is(Fault::RegistersNobody) { Ok(()) } else { self.inner.register(card).await }
    }

    async fn unregister(&self) -> Result<()> {
        self.inner.unregister().await
    }

    async fn report(&self, heartbeat: &Heartbeat) -> Result<()> {
        self.inner.report(heartbeat).await
    }

    async fn discover(&self, query: &Query) -> Result<Discovered> {
        self.inner.discover(query).await
    }

    async fn send(&self, message: &Outbound) -> Result<Receipt> {
        let number = self.sent.fetch_add(1, Ordering::SeqCst);
        let mut message = message.clone();
        match self.fault {
            Fault::SaysAcceptedAndLoses if number % 3 == 2 => {
                return Ok(Receipt::new(SendOutcome::Accepted(MessageId::new("lost")?)));
            }
            Fault::DropsHeaders => message.headers = Headers::new(),
            Fault::NewIdsForRepetitions => message.client_msg_id = ClientMsgId::random(),
            _ => {}
        }
        let sent = self.inner.send(&message);
        match self.fault {
            Fault::WaitsForEver => match sent.await {
                Err(error) if error.kind() == ErrorKind::Timeout => std::future::pending().await,
                sent => sent,
            },
            Fault::SaysStalledSendsArrived => sent.await.map_err(|error| error.with_reached(Reached::Yes)),
            Fault::CallsFatalErrorsTemporary => {
                sent.await.map_err(|error| error.with_advice(Advice::Backoff))
            }
            _ => sent.await,
        }
    }

    async fn subscribe(&self, mut options: SubscribeOptions) -> Result<Subscription> {
        if self.is(Fault::IgnoresBounds) {
            (options.max_unsettled, options.max_unsettled_bytes) = (1_000, 1 << 30);
        }
        let Subscription { address, events, .. } = self.inner.subscribe(options).await?;
        let events: EventStream = match self.fault {
            Fault::DeliversTwice => Box::pin(events.flat_map(|event| {
                let again = match &event {
                    Ok(Event::Message(delivery)) => Some(Ok(Event::Message(delivery.clone()))),
                    _ => None,
                };
                stream::iter([event].into_iter().chain(again))
            })),
            Fault::DeliversInPairsTheWrongWayRound => {
                Box::pin(events.ready_chunks(2).flat_map(|pair| stream::iter(pair.into_iter().rev())))
            }
            Fault::SaysCaughtUpFirst => {
                let rest = events.filter(|event| {
                    let other = !matches!(event, Ok(Event::CaughtUp));
                    async move { other }
                });
                Box::pin(stream::iter([Ok(Event::CaughtUp)]).chain(rest))
            }
            Fault::NeverSaysCaughtUp => Box::pin(events.filter(|event| {
                let other = !matches!(event, Ok(Event::CaughtUp));
                async move { other }
            })),
            Fault::EndsStreamsInSilence => {
                Box::pin(events.take_while(|event| std::future::ready(event.is_ok())))
            }
            _ => events,
        };
        Ok(Subscription::new(address, events))
    }

    async fn ack(&self, tags: &[AckTag]) -> Result<()> {
        match self.fault {
            Fault::AcknowledgesNothing => Ok(()),
            Fault::TakesAnyTag => {
                let _ = self.inner.ack(tags).await;
                Ok(())
            }
            Fault::AcknowledgesMore => {
                // Whatever lies before it, too, as a cumulative acknowledgement would.
                for tag in tags {
                    let Some((inbox, row)) = tag.as_str().split_once('.') else { continue };
                    for row in 0..=row.parse().unwrap_or(0_u64) {
                        self.inner.ack(&[AckTag::new(format!("{inbox}.{row}"))?]).await?;
                    }
                }
                Ok(())
            }
            _ => self.inner.ack(tags).await,
        }
    }

    async fn close(&self, mode: CloseMode) -> Result<()> {
        match self.fault {
            Fault::DoesNotClose => Ok(()),
            Fault::ClosesAgain => self.inner.close(mode).await.or(Ok(())),
            _ => self.inner.close(mode).await,
        }
    }

    async fn put(&self, at: &Address, key: &str, value: Body) -> Result<()> {
        if self.is(Fault::KeepsTheOldState) && self.inner.get(at, key).await?.is_some() {
            return Ok(());
        }
        self.inner.put(at, key, value).await
    }

    async fn get(&self, at: &Address, key: &str) -> Result<Option<KeyedValue>> {
        self.inner.get(at, key).await
    }

    async fn replay(&self, conversation: &ConversationId, range: ReplayRange) -> Result<Vec<Delivery>> {
        self.inner.replay(conversation, range).await
    }
}

#[async_trait]
impl Harness for Faulty<Loopback> {
    async fn connector(&self, name: &str) -> Arc<dyn Connector> {
        Arc::new(Faulty(self.0.connector(name).expect("a valid name"), self.1))
    }

    fn expected_skips(&self) -> Vec<Skip> {
        vec![Skip::EndsWithConnection, Skip::Numbered]
    }

    async fn cut(&self) -> bool {
        self.0.cut();
        true
    }

    async fn stall(&self) -> bool {
        self.0.stall(Duration::from_secs(1));
        true
    }

    async fn expire(&self) -> bool {
        self.0.expire();
        true
    }

    async fn heal(&self) {
        self.0.heal();
    }
}

/// How a case ends; `None` means that it fails.
async fn ends(name: &str, fault: Fault) -> Option<Outcome> {
    let harness = Faulty(Loopback::new(), fault);
    AssertUnwindSafe(case(name).run(&harness)).catch_unwind().await.ok()
}

#[tokio::test(start_paused = true)]
async fn every_broken_promise_fails_its_case_and_only_then() {
    for (fault, name) in [
        (Fault::SaysAcceptedAndLoses, "send_many_at_once_loses_none"),
        (Fault::SaysAcceptedAndLoses, "catch_up_runs_into_live_without_gap_or_repetition"),
        (Fault::SaysAcceptedAndLoses, "cut_during_sends_loses_nothing"),
        (Fault::DeliversTwice, "hold_back_at_the_bound_in_messages"),
        (Fault::DeliversTwice, "catch_up_runs_into_live_without_gap_or_repetition"),
        (Fault::DeliversInPairsTheWrongWayRound, "order_holds_within_each_of_many_conversations"),
        (Fault::DeliversInPairsTheWrongWayRound, "catch_up_gives_the_backlog_in_order_first"),
        (Fault::IgnoresBounds, "hold_back_at_the_bound_in_messages"),
        (Fault::IgnoresBounds, "hold_back_at_the_bound_in_bytes"),
        (Fault::SaysCaughtUpFirst, "catch_up_gives_the_backlog_in_order_first"),
        (Fault::SaysCaughtUpFirst, "catch_up_is_not_told_before_the_end"),
        (Fault::NeverSaysCaughtUp, "catch_up_with_nothing_is_told"),
        (Fault::AcknowledgesNothing, "ack_settles_for_good"),
        (Fault::AcknowledgesNothing, "ack_of_everything_in_any_order_leaves_nothing"),
        (Fault::AcknowledgesMore, "ack_out_of_order_settles_exactly_those"),
        (Fault::AcknowledgesMore, "ack_of_nothing_leaves_everything_to_come_again"),
        (Fault::TakesAnyTag, "ack_of_an_unknown_tag_is_refused_by_name"),
        (Fault::EndsStreamsInSilence, "close_ends_subscriptions_with_the_reason"),
        (Fault::EndsStreamsInSilence, "cut_ends_the_attachment_and_loses_nothing"),
        (Fault::DropsHeaders, "send_carries_headers_unchanged"),
        (Fault::NewIdsForRepetitions, "repeat_is_recognised_where_the_network_says_so"),
        (Fault::NewIdsForRepetitions, "repeat_is_handled_once"),
        (Fault::DoesNotClose, "close_makes_every_verb_answer_closed"),
        (Fault::ClosesAgain, "close_again_is_closed"),
        (Fault::CallsFatalErrorsTemporary, "expire_is_told_once_and_is_final"),
        (Fault::SaysStalledSendsArrived, "stall_ends_every_call_by_its_deadline"),
        (Fault::WaitsForEver, "stall_ends_every_call_by_its_deadline"),
        (Fault::ShowsAddresses, "refuse_tells_no_secret"),
        (Fault::HasUndeclaredLacks, "declare_names_every_skip"),
        (Fault::HasUndeclaredLacks, "discover_by_tag_is_exact"),
        (Fault::KeepsTheOldState, "put_keeps_the_newest_value"),
        (Fault::RegistersNobody, "register_makes_an_agent_discoverable_by_name"),
    ] {
        assert_eq!(ends(name, fault).await, None, "{fault:?} goes unnoticed by {name}");
        if name != "declare_names_every_skip" {
            assert_eq!(ends(name, Fault::None).await, Some(Outcome::Held), "{name} without a fault");
        }
    }
}
