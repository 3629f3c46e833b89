//! Mailboxes that are not there, are there already, or expire while they are read.

mod support;

use std::time::{Duration, Instant};

use agentchat_core::{Address, Body, ErrorKind, Reached, Request, ServeOptions};
use mq9_client::{ConsumerOptions, CreateMailbox, Lifetime, Message};
use support::{SECOND, both_wires, connector, create, fast_client, mailbox, next, start, text, within};

#[tokio::test]
async fn a_message_to_nobody_is_refused_in_the_brokers_own_words_without_the_address() {
    for broker in both_wires().await {
        let agent = start(&connector(&broker, "agent")).await;
        let nobody = Address::parse(format!("{}/secret.place.x7k2", broker.url())).expect("valid");
        let error = agent.send(&text(&nobody, "x")).await.expect_err("nobody is there");
        assert_eq!((error.kind(), error.reached()), (ErrorKind::NotFound, Reached::Yes));
        assert_eq!(
            error.to_string(),
            "send: MSG.SEND: the mailbox does not exist, or has expired (mailbox secr… does not exist)"
        );
        assert!(!format!("{error:?}").contains("x7k2"), "{error:?}");
    }
}

#[tokio::test]
async fn a_mailbox_that_exists_is_refused_by_create_and_its_content_is_untouched() {
    for broker in both_wires().await {
        let client = fast_client(&broker.url()).await;
        let inbox = create(&client, "secret.place.x7k2").await;
        client.send(&inbox, &Message::new("kept")).await.expect("sent");
        let error = client.create_mailbox(CreateMailbox::named(inbox.clone())).await.expect_err("taken");
        assert_eq!(error.kind(), mq9_client::ErrorKind::MailboxExists);
        assert!(error.to_string().contains("a mailbox of that name exists already"), "{error}");
        assert!(!format!("{error} {error:?}").contains("x7k2"), "the address is shown: {error:?}");
        let mut consumer = client.consume(&inbox, ConsumerOptions::new("g")).await.expect("consumed");
        let first = within(10, "a message", consumer.next()).await.expect("goes on").expect("no error");
        assert_eq!(first.message.payload, "kept");
    }
}

#[tokio::test]
async fn a_mailbox_that_expires_under_an_open_consumer_ends_its_stream() {
    for broker in both_wires().await {
        let client = fast_client(&broker.url()).await;
        let brief =
            CreateMailbox::named(mailbox("brief.x7k2")).with_lifetime(Lifetime::For(Duration::from_secs(30)));
        let brief = client.create_mailbox(brief).await.expect("created");
        let options = ConsumerOptions::new("g").with_expiry_probe(SECOND);
        let mut consumer = client.consume(&brief, options).await.expect("consumed");
        client.send(&brief, &Message::new("in time")).await.expect("sent");
        let first = within(10, "a message", consumer.next()).await.expect("goes on").expect("no error");
        consumer.acker().settle(first.id());
        within(10, "the flush", consumer.acker().flush()).await.expect("acknowledged");

        broker.host().advance(Duration::from_secs(180));
        let begun = Instant::now();
        let error = within(10, "the end", consumer.next()).await.expect("an item").expect_err("gone");
        assert!(begun.elapsed() < 3 * SECOND, "only after {:?}", begun.elapsed());
        assert_eq!(error.kind(), mq9_client::ErrorKind::MailboxNotFound);
        assert_eq!(error.to_string(), "consume: the mailbox has expired or was never created");
        assert!(consumer.next().await.is_none(), "nothing after the end");
    }
}

#[tokio::test]
async fn an_answer_to_a_caller_whose_inbox_expired_is_refused_and_the_handler_can_let_it_go() {
    for broker in both_wires().await {
        let client = fast_client(&broker.url()).await;
        let worker = start(&connector(&broker, "worker")).await;
        let brief = CreateMailbox::unnamed().with_lifetime(Lifetime::For(SECOND));
        let caller = client.create_mailbox(brief).await.expect("created");
        let request = Message::new("late question")
            .with_header("mq9-reply-to", caller.as_str())
            .with_header("amb-correlation-id", "c-1");
        let to = mailbox(worker.address().name());
        client.send(&to, &request).await.expect("sent");
        broker.host().advance(Duration::from_secs(180));
        let (told, mut heard) = tokio::sync::mpsc::channel(4);
        let handler = move |request: Request| {
            let told = told.clone();
            async move {
                let error = request.reply(Body::text("too late")).await.expect_err("nobody is there");
                told.send((error.kind(), error.is_retryable())).await?;
                Ok(())
            }
        };
        let serving = worker.serve(handler, ServeOptions::default()).await.expect("served");
        assert_eq!(next(&mut heard).await, (ErrorKind::NotFound, false));
        assert_eq!(within(10, "serving", serving.stop(SECOND)).await.unsettled, 0);
    }
}
