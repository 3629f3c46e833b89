//! Permits: never more in a window than the quota says.

use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_burst_goes_at_once_and_then_one_each_interval() {
    let (start, mut rate) = (Instant::now(), agent(Quota::per_second(4).with_burst(3)));
    assert_eq!(taken(&mut rate, None, start), 3);
    assert_eq!(rate.take(None, start), Err(Limited::Agent(start + SECOND / 4)));
    assert_eq!(taken(&mut rate, None, start + SECOND / 4 - NANO), 0);
    for quarter in 1..=8 {
        let now = start + quarter * SECOND / 4;
        assert_eq!(taken(&mut rate, None, now), 1, "quarter {quarter}");
    }
    // A silence saves up a burst, and no more.
    assert_eq!(taken(&mut rate, None, start + 60 * SECOND), 3);
}

#[test]
fn exactly_the_quota_goes_in_each_minute_when_there_is_always_more() {
    let (start, mut rate) = (Instant::now(), agent(Quota::per_minute(30).with_burst(1)));
    let mut minutes = Vec::new();
    for minute in 0..5_u32 {
        let seconds = (0..60).map(|second| start + (minute * 60 + second) * SECOND);
        minutes.push(seconds.map(|now| taken(&mut rate, None, now)).sum::<usize>());
    }
    assert_eq!(minutes, [30; 5]);
}

#[test]
fn conversations_have_permits_of_their_own_and_messages_without_one_need_none() {
    let (start, mut rate) = (Instant::now(), conversations(Quota::per_second(2)));
    assert_eq!(taken(&mut rate, Some("a"), start), 2);
    assert_eq!(taken(&mut rate, Some("b"), start + SECOND / 2), 2);
    assert_eq!(taken(&mut rate, Some("a"), start + SECOND / 2), 1);
    for _ in 0..1_000 {
        rate.take(None, start + SECOND / 2).expect("without limit");
    }
}

#[test]
fn a_permit_is_not_spent_where_the_other_is_lacking() {
    let start = Instant::now();
    let limits = RateLimits::new().with_per_conversation(Quota::per_second(1));
    let mut rate = Rate::new(limits.with_per_agent(Quota::per_second(10).with_burst(2)));
    assert_eq!(taken(&mut rate, Some("a"), start), 1);
    assert_eq!(rate.take(Some(&id("a")), start), Err(Limited::Conversation(start + SECOND)));
    // The refusal of `a` left the agent's second permit alone.
    assert_eq!(taken(&mut rate, Some("b"), start), 1);
    assert_eq!(rate.take(Some(&id("c")), start), Err(Limited::Agent(start + SECOND / 10)));
    // And the refusal of `c` left its own.
    assert_eq!(rate.take(Some(&id("c")), start + SECOND / 10), Ok(()));
}

#[test]
fn what_is_as_good_as_new_is_forgotten_and_no_key_is_forgotten_earlier() {
    let (start, mut rate) = (Instant::now(), conversations(Quota::per_second(1)));
    rate.most = 3;
    for name in ["a", "b", "c"] {
        assert_eq!(taken(&mut rate, Some(name), start + SECOND / 2), 1);
    }
    let room = start + 3 * SECOND / 2;
    assert_eq!(rate.take(Some(&id("d")), start + SECOND), Err(Limited::Conversation(room)));
    assert_eq!(taken(&mut rate, Some("a"), start + SECOND), 0);
    assert_eq!(taken(&mut rate, Some("d"), room), 1);
    let (_, table) = rate.conversations.as_ref().expect("limited");
    let keys = table.lock();
    assert_eq!((keys.restored.len(), keys.by_time.len()), (1, 1));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn no_span_of_time_sees_more_than_the_burst_and_what_came_back_in_it(
        messages in 1_u32..50,
        per_ms in 1_u64..5_000,
        burst in 1_u32..20,
        own in (1_u32..20, 1_u64..2_000, 1_u32..5),
        asked in prop::collection::vec((0_u64..200_000_000, 0_u8..4), 1..200),
    ) {
        let quota = Quota::new(messages, Duration::from_millis(per_ms)).with_burst(burst);
        let own = Quota::new(own.0, Duration::from_millis(own.1)).with_burst(own.2);
        let mut rate = Rate::new(RateLimits::new().with_per_agent(quota).with_per_conversation(own));
        let (start, mut now) = (Instant::now(), Instant::now());
        let mut begun: Vec<(u8, Duration)> = Vec::new();
        for (step, lane) in asked {
            now += Duration::from_nanos(step);
            let name = (lane > 0).then(|| id(&lane.to_string()));
            match rate.take(name.as_ref(), now) {
                Ok(()) => begun.push((lane, now - start)),
                Err(limited) => {
                    prop_assert!(limited.until() > now, "an answer for later");
                    // What was promised is kept, when nobody else asks before.
                    if step % 3 == 0 {
                        now = limited.until();
                        if rate.take(name.as_ref(), now).is_ok() {
                            begun.push((lane, now - start));
                        }
                    }
                }
            }
        }
        for lane in 0..4 {
            let all: Vec<Duration> = begun.iter().filter(|(of, _)| *of == lane).map(|(_, at)| *at).collect();
            if lane > 0 {
                bounded(&all, &own)?;
            }
        }
        bounded(&begun.iter().map(|(_, at)| *at).collect::<Vec<_>>(), &quota)?;
    }

    #[test]
    fn asking_again_when_told_is_never_in_vain(
        messages in 1_u32..50, per_ms in 1_u64..5_000, burst in 1_u32..20, count in 1_usize..60
    ) {
        let quota = Quota::new(messages, Duration::from_millis(per_ms)).with_burst(burst);
        let (mut rate, mut now) = (agent(quota), Instant::now());
        for _ in 0..count {
            if let Err(limited) = rate.take(None, now) {
                now = limited.until();
                prop_assert_eq!(rate.take(None, now), Ok(()));
            }
        }
    }
}

/// For each pair of moments: what began from the one to the other, both included.
fn bounded(begun: &[Duration], quota: &Quota) -> std::result::Result<(), TestCaseError> {
    for (first, from) in begun.iter().enumerate() {
        for (last, to) in begun.iter().enumerate().skip(first) {
            let came_back = (*to - *from).as_nanos() * u128::from(quota.messages) / quota.per.as_nanos();
            prop_assert!((last - first + 1) as u128 <= u128::from(quota.burst) + came_back);
        }
    }
    Ok(())
}

fn agent(quota: Quota) -> Rate {
    Rate::new(RateLimits::new().with_per_agent(quota))
}

fn conversations(quota: Quota) -> Rate {
    Rate::new(RateLimits::new().with_per_conversation(quota))
}

fn id(name: &str) -> ConversationId {
    ConversationId::new(name).expect("id")
}

/// How many permits there are at `now`.
fn taken(rate: &mut Rate, conversation: Option<&str>, now: Instant) -> usize {
    let conversation = conversation.map(id);
    (0..10_000).take_while(|_| rate.take(conversation.as_ref(), now).is_ok()).count()
}

const NANO: Duration = Duration::from_nanos(1);
