//! Handlers that fail, hang or are slow, over a broker. (That one which fails and then panics gets its
//! message again is in the conformance suite: `serve_tries_a_failed_message_again`.)

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use agentchat_core::{CloseMode, ConversationId, Request, ServeOptions, SubscribeOptions};
use support::{MS, SECOND, both_wires, broker, connector, next, notes, start, text, until, within};
use tokio::sync::Semaphore;

#[tokio::test]
async fn a_handler_that_never_returns_holds_close_no_longer_than_its_deadline_and_comes_again() {
    for broker in both_wires().await {
        let (sending, reading) = (connector(&broker, "sender"), connector(&broker, "reader"));
        let (sender, reader) = (start(&sending).await, start(&reading).await);
        for name in ["stuck", "fine"] {
            sender.send(&text(reader.address(), name)).await.expect("sent");
        }
        let (told, mut heard) = tokio::sync::mpsc::channel(4);
        let handler = move |request: Request| {
            let told = told.clone();
            async move {
                told.send(request.body().as_str().unwrap_or_default().to_owned()).await?;
                if request.body().as_str() == Some("stuck") {
                    std::future::pending::<()>().await;
                }
                Ok(())
            }
        };
        let serving = reader.serve(handler, ServeOptions::default()).await.expect("served");
        assert_eq!((next(&mut heard).await, next(&mut heard).await), ("stuck".into(), "fine".into()));
        let begun = Instant::now();
        let report = within(10, "closing", reader.close(CloseMode::Detach, 300 * MS)).await.expect("closed");
        assert!(!report.drained, "the handler that hangs is told of");
        assert!(begun.elapsed() < 3 * SECOND, "only after {:?}", begun.elapsed());
        drop((serving, reader));
        let reader = start(&reading).await;
        let (handler, mut heard) = notes();
        let _serving = reader.serve(handler, ServeOptions::default()).await.expect("served");
        assert_eq!(next(&mut heard).await, "stuck");
    }
}

#[tokio::test]
async fn one_message_that_always_fails_holds_back_its_conversation_and_nothing_else() {
    let broker = broker().await;
    let (sender, reader) =
        (start(&connector(&broker, "sender")).await, start(&connector(&broker, "reader")).await);
    for number in 0..60 {
        let talk = ConversationId::new(format!("c{}", number % 3)).expect("valid");
        let message = text(reader.address(), number.to_string()).with_conversation(talk);
        sender.send(&message).await.expect("sent");
    }
    let (tries, others) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (told, mut heard) = tokio::sync::mpsc::channel(100);
    let handler = move |request: Request| {
        let (told, tries, others) = (told.clone(), Arc::clone(&tries), Arc::clone(&others));
        async move {
            let number: usize = request.body().as_str().unwrap_or_default().parse()?;
            // The first of conversation 0 fails, in every way there is, until the others are through.
            if number == 0 {
                let turn = tries.fetch_add(1, Ordering::SeqCst);
                let early = turn < 4 || others.load(Ordering::SeqCst) < 40;
                match (early, turn % 2) {
                    (true, 0) => return Err("cannot do that".into()),
                    (true, _) => panic!("not prepared for that"),
                    _ => {}
                }
            }
            told.send((number, request.attempt())).await?;
            others.fetch_add(usize::from(!number.is_multiple_of(3)), Ordering::SeqCst);
            Ok(())
        }
    };
    let options = ServeOptions::default().with_retry(10 * MS, 20 * MS);
    let serving = reader.serve(handler, options).await.expect("served");
    let mut order = Vec::new();
    for _ in 0..60 {
        order.push(next(&mut heard).await);
    }
    let at = order.iter().position(|(number, _)| *number == 0).expect("it got through");
    assert!(order[at].1 >= 5, "the attempts are counted: {}", order[at].1);
    assert_eq!(at, 40, "its own conversation waited, and no other: {order:?}");
    let mut numbers: Vec<_> = order.iter().map(|(number, _)| *number).collect();
    let of_zero: Vec<_> = numbers.iter().filter(|number| **number % 3 == 0).collect();
    assert!(of_zero.is_sorted(), "its own conversation kept its order: {of_zero:?}");
    numbers.sort_unstable();
    assert_eq!(numbers, (0..60).collect::<Vec<_>>(), "each once");
    assert_eq!(within(10, "serving", serving.stop(SECOND)).await.unsettled, 0);
}

#[tokio::test]
async fn a_slow_handler_under_a_deep_backlog_is_given_no_more_than_the_bound() {
    const BACKLOG: usize = 1_500;
    const BOUND: usize = 32;
    const SLOTS: usize = 4;
    let broker = broker().await;
    let (sender, reader) =
        (start(&connector(&broker, "sender")).await, start(&connector(&broker, "reader")).await);
    let messages: Vec<_> = (0..BACKLOG)
        .map(|number| {
            let talk = ConversationId::new(format!("c{}", number % 7)).expect("valid");
            text(reader.address(), number.to_string()).with_conversation(talk)
        })
        .collect();
    for message in &messages {
        sender.send(message).await.expect("sent");
    }
    let gate = Arc::new(Semaphore::new(0));
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (told, mut heard) = tokio::sync::mpsc::channel(BACKLOG + 1);
    let handler = {
        let (gate, running, most) = (Arc::clone(&gate), Arc::clone(&running), Arc::clone(&most));
        move |request: Request| {
            let (gate, running, most, told) =
                (Arc::clone(&gate), Arc::clone(&running), Arc::clone(&most), told.clone());
            async move {
                most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                gate.acquire().await?.forget();
                running.fetch_sub(1, Ordering::SeqCst);
                Ok(told.send(request.body().as_str().unwrap_or_default().parse::<usize>()?).await?)
            }
        }
    };
    let options = || {
        let subscribe = SubscribeOptions::own().with_max_unsettled(BOUND);
        ServeOptions::default().with_concurrency(SLOTS).with_subscribe(subscribe)
    };
    let serving = reader.serve(handler.clone(), options()).await.expect("served");
    until("all slots are taken", async || running.load(Ordering::SeqCst) == SLOTS).await;
    // While nothing is settled the broker is not asked for more.
    let before = broker.host().counts().fetches;
    tokio::time::sleep(200 * MS).await;
    let asked = broker.host().counts().fetches - before;
    assert!(asked <= 3, "{asked} reads of a backlog there is no room for");
    gate.add_permits(100);
    for _ in 0..100 {
        next(&mut heard).await;
    }
    until("all slots are taken", async || running.load(Ordering::SeqCst) == SLOTS).await;
    let (served, ()) = tokio::join!(within(10, "serving", serving.stop(5 * SECOND)), async {
        gate.add_permits(SLOTS);
    });
    assert!(served.unsettled <= BOUND, "{} messages were in memory", served.unsettled);
    gate.add_permits(BACKLOG);
    let _serving = reader.serve(handler, options()).await.expect("served");
    let mut seen = BTreeMap::new();
    let mut last = BTreeMap::new();
    for _ in 100..BACKLOG {
        let number = next(&mut heard).await;
        *seen.entry(number).or_insert(0) += 1;
        let before = last.insert(number % 7, number);
        assert!(before.is_none_or(|before| before < number), "{before:?} before {number}");
    }
    assert_eq!(seen.len(), BACKLOG - 100, "each once");
    assert_eq!(most.load(Ordering::SeqCst), SLOTS, "handlers at once");
}
