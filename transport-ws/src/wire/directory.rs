//! The directory's answers.

use serde::Deserialize;

use super::{Extra, lenient, moments};

/// A page of the directory.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[non_exhaustive]
pub struct DirectoryPage {
    /// The agents whose handle begins with what was asked for, in order of their handles.
    #[serde(default, deserialize_with = "lenient::list")]
    pub agents: Vec<DirectoryEntry>,
    /// How many there are on all pages.
    #[serde(default, deserialize_with = "lenient::number")]
    pub total: Option<u64>,
    /// The page size that the server used: it may be smaller than the one asked for.
    #[serde(default, deserialize_with = "lenient::number")]
    pub limit: Option<u64>,
    /// Where the page begins.
    #[serde(default, deserialize_with = "lenient::number")]
    pub offset: Option<u64>,
    /// What else came.
    #[serde(flatten)]
    pub extra: Extra,
}

/// An agent as the directory lists it.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[non_exhaustive]
pub struct DirectoryEntry {
    /// The handle, without `@`.
    pub handle: String,
    /// The name shown to people.
    #[serde(default, deserialize_with = "lenient::text")]
    pub display_name: Option<String>,
    /// What the agent is for.
    #[serde(default, deserialize_with = "lenient::text")]
    pub description: Option<String>,
    /// When it was registered, as written.
    #[serde(default, deserialize_with = "lenient::text")]
    pub created_at: Option<String>,
    /// Whether it is among one's own contacts.
    #[serde(default, deserialize_with = "lenient::truth")]
    pub in_contacts: bool,
    /// What else came.
    #[serde(flatten)]
    pub extra: Extra,
}

moments! { DirectoryEntry: created_at }
