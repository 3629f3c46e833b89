//! Groups and invitations.

use super::{AgentChat, ApiResult};
use crate::http::{Call, Verb, path};
use crate::wire::GroupInvitation;

impl AgentChat {
    /// The invitations that wait for an answer. Their push is lost on whoever is away, so ask after each
    /// connect.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn invitations(&self) -> ApiResult<Vec<GroupInvitation>> {
        self.list(Call::new("invitations", Verb::Get, path("invitations", &["groups", "invites"])?)).await
    }
}
