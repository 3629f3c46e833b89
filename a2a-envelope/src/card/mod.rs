//! Agent cards: kept as the exact bytes, read on demand, built deterministically.

mod builder;
mod overrides;
mod raw;
mod registry;
mod toolset;
mod view;

pub use builder::CardBuilder;
pub use overrides::{CardCapabilities, CardOverride};
pub use raw::RawCard;
pub use registry::RegistryEntry;
pub use toolset::{Tool, Toolset};
pub use view::{AgentInterface, CardView, Skill};

/// `protocolBinding` of an interface reached through an mq9 mailbox, as this project defines it.
pub const MQ9_BINDING: &str = "https://agentchat-rs.github.io/bindings/mq9/v1";

/// The A2A version such an interface speaks.
const MQ9_PROTOCOL_VERSION: &str = "1.0";

/// Whether a URL names an mq9 mailbox. Schemes are case-insensitive.
fn is_mq9(url: &str) -> bool {
    url.split_once("://")
        .is_some_and(|(scheme, _)| scheme.eq_ignore_ascii_case("mq9") || scheme.eq_ignore_ascii_case("mq9s"))
}
