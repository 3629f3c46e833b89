//! Waits of any length and requests that come too late, at the agent: nothing panics, and nothing is tried for
//! ever.

mod support;

use std::time::Duration;

use agentchat_core::{Body, CallRequest, CloseMode, ConversationId, Query, Request, ServeOptions};
use mq9_client::{AgentStatus, CreateMailbox, Lifetime, Message};
use support::{SECOND, broker, connector, fast_client, mailbox, next, notes, start, text, within};

#[tokio::test]
async fn a_call_that_may_wait_for_ever_is_answered() {
    let broker = broker().await;
    let asker = start(&connector(&broker, "asker")).await;
    let worker = start(&connector(&broker, "worker")).await;
    let handler = |request: Request| async move {
        request.reply(Body::text("done")).await?;
        Ok(())
    };
    let _serving = worker.serve(handler, ServeOptions::default()).await.expect("served");
    let request = CallRequest::new(Body::text("take your time")).with_timeout(Duration::MAX);
    let call = asker.call(worker.address(), request).await.expect("sent");
    let reply = within(10, "the reply", call.response()).await.expect("answered");
    assert_eq!(reply.body(), &Body::text("done"));
}

#[tokio::test]
async fn a_failed_message_may_be_told_to_wait_for_ever_and_closing_too() {
    let broker = broker().await;
    let sender = start(&connector(&broker, "sender")).await;
    let reading = connector(&broker, "reader");
    let reader = start(&reading).await;
    for name in ["fails", "fine"] {
        sender.send(&text(reader.address(), name)).await.expect("sent");
    }
    let (told, mut heard) = tokio::sync::mpsc::channel(4);
    let handler = move |request: Request| {
        let told = told.clone();
        async move {
            let name = request.body().as_str().unwrap_or_default().to_owned();
            if name == "fails" {
                return Err("not today".into());
            }
            Ok(told.send(name).await?)
        }
    };
    let options = ServeOptions::default().with_retry(Duration::MAX, Duration::MAX).with_concurrency(1);
    let _serving = reader.serve(handler, options).await.expect("served");
    assert_eq!(next(&mut heard).await, "fine");
    let report = within(10, "closing", reader.close(CloseMode::Detach, Duration::MAX)).await;
    assert!(report.expect("closed").drained);
    drop(reader);
    let reader = start(&reading).await;
    let (handler, mut heard) = notes();
    let _serving = reader.serve(handler, ServeOptions::default()).await.expect("served");
    assert_eq!(next(&mut heard).await, "fails", "what waits for ever is not lost");
}

#[tokio::test]
async fn a_status_with_an_interval_beyond_all_clocks_hides_nobody_from_the_directory() {
    let broker = broker().await;
    let asker = start(&connector(&broker, "asker")).await;
    let client = fast_client(&broker.url()).await;
    let registration = mq9_client::Registration::text("odd", "anything").expect("valid");
    client.register(&registration).await.expect("registered");
    let absurd = AgentStatus::new("odd", "online", 0).with_interval(Duration::from_secs(u64::MAX));
    client.publish_status(&absurd).await.expect("published");
    let found = within(5, "asking", asker.discover(&Query::all())).await.expect("an answer");
    assert!(found.agents.iter().any(|entry| entry.name == "odd"));
}

#[tokio::test]
async fn a_request_found_too_late_whose_caller_is_gone_is_settled_and_holds_nothing_up() {
    let broker = broker().await;
    let client = fast_client(&broker.url()).await;
    let working = connector(&broker, "worker");
    let worker = start(&working).await;
    let brief = CreateMailbox::unnamed().with_lifetime(Lifetime::For(SECOND));
    let caller = client.create_mailbox(brief).await.expect("created");
    let talk = ConversationId::new("talk").expect("valid");
    let late = Message::new("too late")
        .with_header("mq9-reply-to", caller.as_str())
        .with_header("amb-correlation-id", "c-1")
        .with_header("amb-deadline", "1000")
        .with_header("agentchat-conversation", talk.as_str());
    client.send(&mailbox(worker.address().name()), &late).await.expect("sent");
    let behind = text(worker.address(), "behind it").with_conversation(talk);
    worker.send(&behind).await.expect("sent");
    // The caller's inbox expires: nobody can be told any more.
    broker.host().advance(Duration::from_secs(180));
    let (handler, mut heard) = notes();
    let serving = worker.serve(handler, ServeOptions::default()).await.expect("served");
    assert_eq!(next(&mut heard).await, "behind it");
    assert_eq!(within(10, "serving", serving.stop(SECOND)).await.unsettled, 0);
}
