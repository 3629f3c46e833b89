//! Looking into a mailbox takes nothing out of it.
#![cfg(feature = "test-broker")]

mod support;

use mq9_client::testing::{Broker, WireProfile};
use mq9_client::{
    Client, CreateMailbox, FetchOptions, Group, Lifetime, Message, MsgId, QueryOptions, Received,
};
use support::address;

fn ids(read: &[Received]) -> Vec<u64> {
    read.iter().map(|message| message.id.get()).collect()
}

#[tokio::test]
async fn a_query_moves_no_group_and_a_group_no_query() {
    for wire in [WireProfile::Standard, WireProfile::RobustMq] {
        let broker = Broker::builder().wire(wire).start().await.expect("a broker");
        let client = Client::connect(&broker.url()).await.expect("connects");
        let inbox = address("agent.inbox");
        let create = CreateMailbox::named(inbox.clone()).with_lifetime(Lifetime::Forever);
        client.create_mailbox(create).await.expect("created");
        for number in 0..3 {
            client.send(&inbox, &Message::new(number.to_string()).with_tag("t")).await.expect("sent");
        }
        let group = Group::for_mailbox(&inbox, "workers").expect("valid");
        let fetch =
            async || client.fetch(&inbox, &FetchOptions::group(group.clone())).await.expect("fetched");
        let look = async || {
            let by_tag = client.query(&inbox, &QueryOptions::tags(["t"])).await.expect("queried");
            assert_eq!(ids(&by_tag), [0, 1, 2], "{wire:?}");
            ids(&client.query(&inbox, &QueryOptions::all()).await.expect("queried"))
        };
        assert_eq!(look().await, [0, 1, 2], "before anybody has read");
        assert_eq!(ids(&fetch().await), [0, 1, 2], "{wire:?}: a query took something");
        client.ack(&inbox, &group, MsgId::new(0)).await.expect("acknowledged");
        assert_eq!(look().await, [0, 1, 2], "what was acknowledged can still be looked at");
        assert_eq!(ids(&fetch().await), [1, 2], "{wire:?}: a query moved the group");
        client.ack(&inbox, &group, MsgId::new(2)).await.expect("acknowledged");
        assert_eq!(look().await, [0, 1, 2]);
        assert!(fetch().await.is_empty(), "{wire:?}: a query put the group back");
    }
}
