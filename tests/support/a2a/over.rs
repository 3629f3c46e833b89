//! One scenario, told once and played over every network.

/// Each scenario over each network; the last ones not over AgentChat.
macro_rules! over_all {
    ($($everywhere:ident),* $(,)?; $($elsewhere:ident),* $(,)?) => {
        over_two!($($everywhere,)* $($elsewhere),*);
        mod over_agentchat { use super::*; $(
            #[tokio::test] async fn $everywhere() { within("the scenario", super::$everywhere(Net::agentchat().await)).await; }
        )* }
    };
}
macro_rules! over_two {
    ($($scenario:ident),* $(,)?) => {
        mod over_loopback { use super::*; $(
            #[tokio::test] async fn $scenario() { within("the scenario", super::$scenario(Net::loopback())).await; }
        )* }
        mod over_bodies_alone { use super::*; $(
            #[tokio::test] async fn $scenario() { within("the scenario", super::$scenario(Net::bodies())).await; }
        )* }
        mod over_mq9 { use super::*; $(
            #[tokio::test] async fn $scenario() { within("the scenario", super::$scenario(Net::mq9().await)).await; }
        )* }
    };
}
