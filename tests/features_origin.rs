//! A token of the first agent goes through those behind it and comes back to it.

#[path = "support/a2a/mod.rs"]
mod a2a;

use std::sync::{Arc, Mutex};

use a2a::{Net, client, serve, within};
use a2a_envelope::agent::{A2aRequest, TurnHandle};
use a2a_envelope::{Headers, Origin, names, origin_of};
use agentchat_core::{Agent, Body, CallRequest};

const TOKEN: &str = "9f2c";

/// Who saw which token, at which hop.
type Seen = Arc<Mutex<Vec<(&'static str, String, u8)>>>;

fn note(seen: &Seen, who: &'static str, turn: &TurnHandle) {
    if let Some(origin) = turn.origin() {
        seen.lock().expect("not poisoned").push((who, origin.token().to_owned(), origin.hop()));
    }
}

/// Asks on behalf of somebody under a token, and reads which token the answer brings back.
async fn token_of_answer(first: &Agent, middle: &Agent) -> Option<String> {
    let body = r#"{"jsonrpc":"2.0","id":"1","method":"SendMessage","params":{"message":
        {"messageId":"m-1","role":"ROLE_USER","parts":[{"text":"the weather?"}]}}}"#;
    let request = CallRequest::new(Body::json(body)).with_header(names::ORIGIN_REF, TOKEN);
    let call = first.call(middle.address(), request).await.expect("sent");
    let reply = within("the answer", call.response()).await.expect("answered");
    assert!(reply.body().as_str().is_some_and(|text| text.contains("rain")), "{:?}", reply.body().as_str());
    let headers = Headers::from_pairs(reply.delivery.headers.iter()).expect("headers");
    origin_of(&headers, &reply.delivery.body.bytes).map(|origin| origin.token().to_owned())
}

async fn over(net: Net) {
    let (first, middle, last) =
        (net.agent("first").await, net.agent("middle").await, net.agent("last").await);
    let seen = Seen::default();
    let at_last = Arc::clone(&seen);
    let _last_serves = serve(&last, move |turn: TurnHandle| {
        let seen = Arc::clone(&at_last);
        async move {
            note(&seen, "last", &turn);
            Ok(turn.text("answer", "rain").await?)
        }
    })
    .await;
    let (asker, to, at_middle) = (client(&middle), last.address().clone(), Arc::clone(&seen));
    let _middle_serves = serve(&middle, move |turn: TurnHandle| {
        let (asker, to, seen) = (asker.clone(), to.clone(), Arc::clone(&at_middle));
        async move {
            note(&seen, "middle", &turn);
            let further = turn.origin().and_then(Origin::next).expect("it may go further");
            let question = A2aRequest::text(turn.request_text()).with_origin(further);
            let answer = asker.ask(&to, question).await?;
            Ok(turn.text("answer", &answer.text()).await?)
        }
    })
    .await;

    assert_eq!(token_of_answer(&first, &middle).await.as_deref(), Some(TOKEN), "in the bytes of the answer");
    let question = A2aRequest::text("the weather?").with_origin(Origin::new(TOKEN).expect("a token"));
    let answer =
        within("the answer", client(&first).ask(middle.address(), question)).await.expect("answered");
    assert_eq!(answer.text(), "rain");
    assert_eq!(answer.origin.as_ref().map(Origin::token), Some(TOKEN), "to who asked by the client");
    let unasked =
        within("the answer", client(&first).ask(last.address(), A2aRequest::text("the weather?"))).await;
    assert_eq!(unasked.expect("answered").origin, None, "from nowhere");
    let (middle, last) = (("middle", TOKEN.to_owned(), 0), ("last", TOKEN.to_owned(), 1));
    let seen = seen.lock().expect("not poisoned").clone();
    assert_eq!(seen, [middle.clone(), last.clone(), middle, last]);
}

#[tokio::test]
async fn an_origin_passes_two_agents_and_comes_back_to_the_first_in_a_process() {
    over(Net::loopback()).await;
}

#[tokio::test]
async fn an_origin_passes_two_agents_and_comes_back_to_the_first_on_mq9() {
    over(Net::mq9().await).await;
}
