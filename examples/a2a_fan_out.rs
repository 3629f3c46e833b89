//! One question to several agents at once: all answers, then the best one.
//!
//! `cargo run --example a2a_fan_out`, or with `-- --broker mq9://host:4222`.

mod common;

use std::process::ExitCode;
use std::time::Duration;

use a2a_envelope::agent::{A2aAnswer, A2aClient, A2aRequest, A2aServer, TurnError, text_handler};
use agentchat_core::Agent;
use agentchat_core::agent::CallMode;
use common::{Args, Failure, RunBroker};
use transport_mq9::Mq9Connector;

const USAGE: &str = "a2a_fan_out [--broker mq9://host[:port]]";

#[tokio::main]
async fn main() -> ExitCode {
    common::end(run().await)
}

async fn run() -> Result<(), Failure> {
    let args = Args::parse(USAGE);
    let broker = RunBroker::from_args(&args).await?;
    let connector = |name: &str| Mq9Connector::builder(&broker.url).generated_inbox(name).build();
    let mut shops = Vec::new();
    for (name, price) in [("north", Some(30)), ("south", Some(20)), ("closed", None)] {
        let shop = Agent::builder(connector(name)?).start().await?;
        let offer = text_handler(move |_question| async move {
            price.map(|price| price.to_string()).ok_or_else(|| TurnError::told("we are closed"))
        });
        let serving = A2aServer::new(offer).serve(&shop).await?;
        shops.push((shop, serving));
    }
    let buyer = Agent::builder(connector("buyer")?).start().await?;
    let client = A2aClient::new(&buyer);
    let targets: Vec<_> = shops.iter().map(|(shop, _)| shop.address().clone()).collect();

    let ask = || A2aRequest::text("your price?").with_timeout(Duration::from_secs(20));
    let all = client.call_many(&targets, ask(), CallMode::all()).await?;
    let offers: Vec<_> = all.answers().map(|(_, reply)| A2aAnswer::of(reply)).collect();
    for offer in &offers {
        println!("an offer: {} ({})", offer.text(), offer.state().map_or("no task", |state| state.as_str()));
    }
    // The cheapest has the highest score; a shop that has no price is not chosen.
    let cheapest = CallMode::best(|reply| -A2aAnswer::of(reply).text().parse::<f64>().unwrap_or(f64::NAN));
    let best = client.call_many(&targets, ask(), cheapest).await?.into_chosen()?;
    let best = A2aAnswer::of(&best).text();
    println!("the best: {best}");
    if offers.len() != 3 || best != "20" {
        return Err("not every shop answered, or the best offer is another".into());
    }
    Ok(())
}
