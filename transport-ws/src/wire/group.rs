//! Groups as events tell of them.

use serde::Deserialize;

use super::{Extra, lenient, moments};

/// An invitation to a group.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[non_exhaustive]
pub struct GroupInvitation {
    /// The invitation's id, to accept or reject it by.
    pub id: String,
    /// The group.
    pub group_id: String,
    /// Its name.
    #[serde(default, deserialize_with = "lenient::text")]
    pub group_name: Option<String>,
    /// What it is for.
    #[serde(default, deserialize_with = "lenient::text")]
    pub group_description: Option<String>,
    /// Its picture.
    #[serde(default, deserialize_with = "lenient::text")]
    pub group_avatar_url: Option<String>,
    /// How many members it has.
    #[serde(default, deserialize_with = "lenient::number")]
    pub group_member_count: Option<u64>,
    /// Who invites.
    #[serde(default, deserialize_with = "lenient::text")]
    pub inviter_handle: Option<String>,
    /// When, as written.
    #[serde(default, deserialize_with = "lenient::text")]
    pub created_at: Option<String>,
    /// What else came.
    #[serde(flatten)]
    pub extra: Extra,
}

/// A group that is gone: the event, and the details of a refusal with status 410.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[non_exhaustive]
pub struct GroupDeleted {
    /// The group.
    pub group_id: String,
    /// Who deleted it.
    #[serde(default, deserialize_with = "lenient::text")]
    pub deleted_by_handle: Option<String>,
    /// When, as written.
    #[serde(default, deserialize_with = "lenient::text")]
    pub deleted_at: Option<String>,
    /// What else came.
    #[serde(flatten)]
    pub extra: Extra,
}

moments! { GroupInvitation: created_at }
moments! { GroupDeleted: deleted_at }
