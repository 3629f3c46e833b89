//! What holds whatever happens, under every policy.

use std::collections::HashSet;

use proptest::prelude::*;

use super::*;

/// One step of a run: a message arrives (perhaps as the copy of an earlier one), or a job ends.
#[derive(Debug, Clone)]
enum Step {
    Arrive { id: u8, conversation: Option<u8>, waits: bool },
    End { which: usize, how: How },
    Wait { millis: u64 },
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum How {
    Settled,
    Failed,
    FailedAt(usize),
    After(u64),
    Rejected,
    RejectedAt(usize),
}

impl How {
    fn outcome(self) -> HandlerResult {
        match self {
            Self::Settled => Ok(()),
            Self::Failed => Err("it fails".into()),
            Self::FailedAt(index) => Err(HandlerError::retry("it fails").at(index)),
            Self::After(millis) => Err(HandlerError::retry_after(Duration::from_millis(millis), "later")),
            Self::Rejected => Err(HandlerError::reject("no")),
            Self::RejectedAt(index) => Err(HandlerError::reject("no").at(index)),
        }
    }
}

fn how() -> impl Strategy<Value = How> {
    prop_oneof![
        6 => Just(How::Settled),
        2 => Just(How::Failed),
        1 => (0_usize..4).prop_map(How::FailedAt),
        1 => (0_u64..3_000).prop_map(How::After),
        1 => Just(How::Rejected),
        1 => (0_usize..4).prop_map(How::RejectedAt),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let arrive = (0_u8..40, prop::option::weighted(0.8, 0_u8..4), prop::bool::ANY);
    let step = prop_oneof![
        4 => arrive.prop_map(|(id, conversation, waits)| Step::Arrive { id, conversation, waits }),
        3 => (0_usize..8, how()).prop_map(|(which, how)| Step::End { which, how }),
        1 => (0_u64..5_000).prop_map(|millis| Step::Wait { millis }),
    ];
    prop::collection::vec(step, 1..150)
}

fn policies() -> impl Strategy<Value = Policy> {
    let serve = prop_oneof![
        Just(ServePolicy::Each),
        (0_usize..5).prop_map(ServePolicy::Batch),
        Just(ServePolicy::Latest)
    ];
    (serve, 1_usize..6, prop::option::of(1_u32..4)).prop_map(|(serve, slots, max_attempts)| Policy {
        serve,
        max_attempts,
        ..policy(slots)
    })
}

/// What is known from outside.
#[derive(Default)]
struct Ledger {
    /// The conversation, and whether the sender waits, of each id.
    homes: HashMap<u8, (Option<u8>, bool)>,
    arrived: Vec<String>,
    acknowledged: Vec<String>,
    /// In which order messages of a conversation were first handed over, by arrival.
    firsts: HashMap<ConversationId, Vec<usize>>,
    begun: HashSet<String>,
    handled: HashSet<String>,
    superseded: HashSet<String>,
    buried: HashSet<String>,
}

impl Ledger {
    fn message(&mut self, id: u8, conversation: Option<u8>, waits: bool) -> Delivery {
        let (conversation, waits) = *self.homes.entry(id).or_insert((conversation, waits));
        let mut message = copy(self.arrived.len(), &format!("m{id}"), "a");
        message.conversation = conversation.map(|c| ConversationId::new(format!("c{c}")).expect("id"));
        message.correlation_id = waits.then(CorrelationId::random);
        self.arrived.push(message.tag.as_str().to_owned());
        message
    }

    fn acknowledge(&mut self, tags: Vec<AckTag>) {
        self.acknowledged.extend(tags.iter().map(|tag| tag.as_str().to_owned()));
    }

    fn started(&mut self, job: &Job, policy: &Policy) -> Result<(), TestCaseError> {
        let messages = || std::iter::once(&job.delivery).chain(&job.rest);
        let most = match policy.serve {
            ServePolicy::Batch(most) => most.max(1),
            _ => 1,
        };
        prop_assert!(job.rest.len() < most);
        for message in messages() {
            let id = message.client_msg_id.as_ref().expect("id").to_string();
            prop_assert!(!self.handled.contains(&id), "{} is settled and handed over again", id);
            match &job.task {
                Task::Handle { attempt } => {
                    prop_assert!(policy.max_attempts.is_none_or(|most| *attempt <= most));
                    prop_assert_eq!(message.redelivered, *attempt > 1);
                    prop_assert!(!self.superseded.contains(&id) && !self.buried.contains(&id));
                    if self.begun.insert(id)
                        && let Some(conversation) = &message.conversation
                    {
                        let arrival = message.id.as_str().parse().expect("number");
                        self.firsts.entry(conversation.clone()).or_default().push(arrival);
                    }
                }
                Task::Supersede { .. } => {
                    prop_assert_eq!(policy.serve, ServePolicy::Latest);
                    prop_assert!(message.correlation_id.is_some(), "somebody waits");
                    self.superseded.insert(id);
                }
                Task::Bury { .. } => {
                    self.buried.insert(id);
                }
                Task::Expire => prop_assert!(false, "no message has a deadline"),
            }
        }
        Ok(())
    }
}

proptest! {
    #[test]
    fn nothing_is_lost_or_settled_twice_and_conversations_keep_their_order(
        steps in steps(), policy in policies(),
    ) {
        let mut now = Instant::now();
        let mut dispatcher = dispatcher(policy.clone());
        let mut running: Vec<Job> = Vec::new();
        let mut ledger = Ledger::default();
        let drain = std::iter::repeat_n(Step::End { which: 0, how: How::Settled }, 600);
        for step in steps.into_iter().chain(drain) {
            match step {
                Step::Arrive { id, conversation, waits } => {
                    let message = ledger.message(id, conversation, waits);
                    ledger.acknowledge(dispatcher.admit(message, now));
                }
                Step::End { .. } if running.is_empty() => {
                    now = dispatcher.deadline().unwrap_or(now).max(now);
                }
                Step::End { which, how } => {
                    let job = running.remove(which % running.len());
                    let acks = dispatcher.finish(&job.lane, how.outcome(), now);
                    if how == How::Settled {
                        prop_assert!(acks.len() > job.rest.len());
                        for message in std::iter::once(&job.delivery).chain(&job.rest) {
                            ledger.handled.insert(message.client_msg_id.as_ref().expect("id").to_string());
                        }
                    } else if job.rest.is_empty() && policy.serve != ServePolicy::Latest {
                        prop_assert!(acks.is_empty(), "what failed is not settled");
                    }
                    ledger.acknowledge(acks);
                }
                Step::Wait { millis } => now += Duration::from_millis(millis),
            }
            while let Some(job) = start(&mut dispatcher, now) {
                prop_assert!(running.iter().all(|other| other.lane != job.lane), "two of one lane at once");
                let handles = |job: &Job| matches!(job.task, Task::Handle { .. });
                let same = |other: &Job| handles(other) && other.delivery.conversation == job.delivery.conversation;
                prop_assert!(
                    !handles(&job) || job.delivery.conversation.is_none() || !running.iter().any(same),
                    "two of one conversation at once"
                );
                ledger.started(&job, &policy)?;
                running.push(job);
            }
            prop_assert!(running.len() <= policy.concurrency);
            prop_assert!(dispatcher.deadline().is_none_or(|at| at > now), "what is due has been woken");
            prop_assert_eq!(dispatcher.load(), ledger.arrived.len() - ledger.acknowledged.len());
            let idle = running.len() < policy.concurrency && dispatcher.deadline().is_none();
            prop_assert!(!idle || dispatcher.lanes.values().all(|lane| lane.running.is_some()), "it stands still");
        }
        prop_assert_eq!((dispatcher.in_hand(), dispatcher.running), (0, 0));
        prop_assert!(dispatcher.lanes.is_empty() && dispatcher.repeats.is_empty() && dispatcher.held.is_empty());
        for numbers in ledger.firsts.values() {
            prop_assert!(numbers.is_sorted(), "{:?}", numbers);
        }
        ledger.arrived.sort();
        ledger.acknowledged.sort();
        prop_assert_eq!(&ledger.arrived, &ledger.acknowledged);
        let stats = dispatcher.stats();
        let done = stats.handled + stats.rejected + stats.given_up + stats.superseded;
        prop_assert_eq!(done, ledger.homes.len() as u64, "each message has one end");
    }
}
