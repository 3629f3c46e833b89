//! Listings over pages.

mod raw;

use std::future::Future;
use std::task::Poll;

use futures_util::StreamExt;
use raw::{Server, refusal, reply};
use serde_json::{Value, json};
use transport_ws::wire::MessageRow;

fn rows(numbers: impl IntoIterator<Item = u64>) -> raw::Reply {
    let rows: Vec<Value> = numbers.into_iter().map(|n| json!({"id": format!("m{n}"), "seq": n})).collect();
    reply(200, &Value::from(rows).to_string())
}

fn asked(server: &Server, prefix: &str) -> Vec<String> {
    server.seen().into_iter().map(|it| it.path.replace(prefix, "")).collect()
}

#[tokio::test]
async fn contacts_are_listed_over_pages_as_a_stream() {
    let page = |from: usize, to: usize| {
        let contacts: Vec<_> = (from..to).map(|n| json!({"handle": format!("c{n}")})).collect();
        reply(200, &json!({"contacts": contacts, "total": 120}).to_string())
    };
    let server = Server::start([page(0, 100), page(100, 120)]).await;
    let found: Vec<_> = server.client().all_contacts().collect().await;
    assert_eq!(found.len(), 120);
    for (n, contact) in found.into_iter().enumerate() {
        assert_eq!(contact.expect("answered").handle, format!("c{n}"));
    }
    assert_eq!(asked(&server, "/v1/contacts?limit=100&offset="), ["0", "100"]);
}

#[tokio::test]
async fn conversations_of_a_server_that_passes_over_the_offset_are_listed_once() {
    let page = |count: usize| {
        let rows: Vec<_> = (0..count).map(|n| json!({"id": format!("conv_{n}")})).collect();
        reply(200, &Value::from(rows).to_string())
    };
    let older = Server::start([page(50)]).await;
    assert_eq!(older.client().all_conversations().count().await, 50);
    let newer = Server::start([page(100), page(7)]).await;
    assert_eq!(newer.client().all_conversations().count().await, 107);
    assert_eq!(asked(&newer, "/v1/conversations?limit=100"), ["", "&offset=100"]);
}

#[tokio::test]
async fn history_is_read_back_and_forward_by_its_numbers() {
    let seqs = |found: Vec<_>| -> Vec<u64> {
        let found = found.into_iter().map(|row: Result<Result<MessageRow, _>, _>| row.expect("answered"));
        found.map(|row| row.expect("a row").seq().expect("numbered")).collect()
    };
    // One is hidden: numbers may be missing.
    let back = [rows((101..301).rev()), rows((1..101).rev().filter(|n| *n != 50))];
    let server = Server::start(back).await;
    let found = seqs(server.client().history_back("conv_1").collect().await);
    assert_eq!(found, (1..301).rev().filter(|n| *n != 50).collect::<Vec<_>>());
    assert_eq!(asked(&server, "/v1/messages/conv_1?limit=200"), ["", "&before_seq=101"]);

    let server = Server::start([rows(6..206), rows(206..210)]).await;
    let found = seqs(server.client().history_after("conv_1", 5).collect().await);
    assert_eq!(found, (6..210).collect::<Vec<_>>());
    assert_eq!(asked(&server, "/v1/messages/conv_1?limit=200"), ["&after_seq=5", "&after_seq=205"]);
}

#[tokio::test]
async fn a_history_whose_numbers_do_not_lead_on_ends_and_a_failed_page_is_asked_for_again() {
    // A server that passes over `after_seq` gives the same page for ever.
    let server = Server::start([rows(1..201), refusal(400, "VALIDATION_ERROR"), rows(1..201)]).await;
    let mut listing = server.client().history_after("conv_1", 0);
    for _ in 0..200 {
        assert!(listing.next().await.expect("answered").is_some());
    }
    assert!(listing.next().await.is_err());
    for _ in 0..200 {
        assert!(listing.next().await.expect("answered").is_some());
    }
    assert!(listing.next().await.expect("ended").is_none());
    assert_eq!(server.seen().len(), 3);
}

#[tokio::test]
async fn a_listing_whose_call_is_dropped_goes_on_where_it_was() {
    let server = Server::start([rows([2, 1])]).await;
    let mut listing = server.client().history_back("conv_1");
    let mut next = Box::pin(listing.next());
    let first = std::future::poll_fn(|context| Poll::Ready(next.as_mut().poll(context))).await;
    assert!(first.is_pending());
    drop(next);
    assert_eq!(listing.count().await, 2);
    assert_eq!(server.seen().len(), 1, "the page was under way");
}

#[tokio::test]
async fn one_webhook_is_read_by_its_id() {
    let server = Server::start([reply(200, r#"{"id":"whk_1","url":"https://h","active":true}"#)]).await;
    let webhook = server.client().webhook("whk_1").await.expect("answered");
    assert_eq!((webhook.id.as_str(), webhook.active, webhook.secret), ("whk_1", true, None));
    assert_eq!(server.only().path, "/v1/webhooks/whk_1");
}
