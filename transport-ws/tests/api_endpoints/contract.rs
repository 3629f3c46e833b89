//! The endpoints of the contract: how each is called, and which codes it documents.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use transport_ws::api::{
    Draft, GroupDraft, GroupUpdate, History, MuteKind, NewAgent, ProfileUpdate, Recipient, Upload,
};
use transport_ws::wire::PresenceStatus;
use transport_ws::{AgentChat, ApiError};

pub(crate) struct Endpoint {
    /// As in the contract's index, `:name` for one segment.
    pub(crate) route: &'static str,
    /// Its own codes, beside [`EVERYWHERE`].
    pub(crate) codes: &'static [&'static str],
    pub(crate) needs_key: bool,
    /// Whether its method tells errors at all: coordination of replies goes on without an answer.
    pub(crate) tells: bool,
    pub(crate) call: fn(AgentChat) -> BoxFuture<'static, Result<(), ApiError>>,
}

impl Endpoint {
    /// As faults are scripted, `*` for one segment.
    pub(crate) fn pattern(&self) -> String {
        let segments = self.route.split('/').map(|part| if part.starts_with(':') { "*" } else { part });
        segments.collect::<Vec<_>>().join("/")
    }

    /// All codes that it may answer with.
    pub(crate) fn documented(&self) -> Vec<&'static str> {
        let keyed = if self.needs_key { KEYED.as_slice() } else { &[] };
        EVERYWHERE.iter().chain(keyed).chain(self.codes).copied().collect()
    }
}

/// What every endpoint may answer with.
const EVERYWHERE: [&str; 3] = ["VALIDATION_ERROR", "RATE_LIMITED", "INTERNAL_ERROR"];
/// What every endpoint may that wants a key.
const KEYED: [&str; 2] = ["UNAUTHORIZED", "SUSPENDED"];
const IDEM: Option<&str> = Some("idem-key-1");

macro_rules! endpoints {
    ($($route:literal $needs_key:ident $tells:ident [$($code:literal)*] $api:ident => $call:expr;)+) => {
        vec![$(Endpoint {
            route: $route,
            codes: &[$($code),*],
            needs_key: stringify!($needs_key) == "key",
            tells: stringify!($tells) == "tells",
            call: |$api| async move { $call }.boxed(),
        }),+]
    };
}

/// All of them, in the order of the contract. The own handle is `quokka-9`.
pub(crate) fn endpoints() -> Vec<Endpoint> {
    endpoints! {
        "POST /v1/register" open tells
            ["INVALID_HANDLE" "HANDLE_TAKEN" "EMAIL_TAKEN" "EMAIL_LIMIT_REACHED" "EMAIL_IS_OWNER"
             "EMAIL_EXHAUSTED" "OTP_COOLDOWN" "OTP_HOURLY_CAP" "OTP_FAILED"]
            api => api.register(&NewAgent::new("new@example.test", "newcomer")).await.map(drop);
        "POST /v1/register/verify" open tells
            ["EXPIRED" "OTP_ATTEMPTS_EXHAUSTED" "INVALID_CODE" "HANDLE_TAKEN" "EMAIL_TAKEN" "EMAIL_IS_OWNER"]
            api => api.register_verify("pnd_1", "123456").await.map(drop);
        "POST /v1/agents/recover" open tells []
            api => api.recover("new@example.test", Some("quokka-9")).await.map(drop);
        "POST /v1/agents/recover/verify" open tells
            ["EXPIRED" "OTP_ATTEMPTS_EXHAUSTED" "INVALID_CODE" "HANDLE_REQUIRED" "SYSTEM_AGENT_PROTECTED"]
            api => api.recover_verify("pnd_1", "123456").await.map(drop);
        "GET /v1/agents/me" key tells []
            api => api.me().await.map(drop);
        "GET /v1/agents/:handle" open tells ["AGENT_NOT_FOUND"]
            api => api.agent("tally-ho").await.map(drop);
        "PATCH /v1/agents/:handle" key tells ["FORBIDDEN"]
            api => api.update_profile("quokka-9", &ProfileUpdate::new().with_display_name("Q")).await.map(drop);
        "DELETE /v1/agents/:handle" key tells ["FORBIDDEN" "SYSTEM_AGENT_PROTECTED"]
            api => api.delete_account("quokka-9").await;
        "POST /v1/agents/:handle/rotate-key" key tells
            ["FORBIDDEN" "OTP_COOLDOWN" "OTP_HOURLY_CAP" "OTP_FAILED"]
            api => api.rotate_key("quokka-9").await.map(drop);
        "POST /v1/agents/:handle/rotate-key/verify" key tells
            ["EXPIRED" "INVALID_CODE" "FORBIDDEN" "OTP_ATTEMPTS_EXHAUSTED" "SYSTEM_AGENT_PROTECTED"]
            api => api.rotate_key_verify("quokka-9", "pnd_1", "123456").await.map(drop);
        "PUT /v1/agents/:handle/avatar" key tells
            ["EMPTY_BODY" "UNSUPPORTED_FORMAT" "DECODE_FAILED" "IMAGE_TOO_SMALL" "PROCESSING_FAILED"
             "PAYLOAD_TOO_LARGE" "STORAGE_UNAVAILABLE" "FORBIDDEN"]
            api => api.set_avatar("quokka-9", "image/png", "picture".into()).await.map(drop);
        "DELETE /v1/agents/:handle/avatar" key tells ["NOT_FOUND" "STORAGE_UNAVAILABLE" "FORBIDDEN"]
            api => api.remove_avatar("quokka-9").await;
        "POST /v1/messages" key tells
            ["CONTENT_TOO_LARGE" "AGENT_NOT_FOUND" "AGENT_PAUSED_BY_OWNER" "BLOCKED" "RESTRICTED"
             "INBOX_RESTRICTED" "COLD_CAP_EXCEEDED" "COLD_OUTREACH_CAP_EXCEEDED" "AWAITING_REPLY"
             "ATTACHMENT_NOT_FOUND" "ATTACHMENT_WRONG_SCOPE" "RECIPIENT_BACKLOGGED" "GROUP_NOT_FOUND"
             "GROUP_DELETED"]
            api => api.send(&Draft::text(to(), "hi")).await.map(drop);
        "GET /v1/messages/sync" key tells []
            api => api.sync(None).await.map(drop);
        "POST /v1/messages/sync/ack" key tells []
            api => api.sync_ack("del_1").await.map(drop);
        "GET /v1/messages/:conversation_id" key tells ["FORBIDDEN" "NOT_FOUND" "GROUP_DELETED"]
            api => api.history("conv_1", History::Newest).await.map(drop);
        "POST /v1/messages/:id/read" key tells
            ["MESSAGE_NOT_FOUND" "IDEMPOTENT_IN_PROGRESS" "IDEMPOTENCY_KEY_CONFLICT" "IDEMPOTENCY_KEY_INVALID"]
            api => api.mark_read("msg_1", IDEM).await;
        "DELETE /v1/messages/:id" key tells ["MESSAGE_NOT_FOUND" "FORBIDDEN"]
            api => api.hide_message("msg_1").await;
        "GET /v1/conversations" key tells []
            api => api.conversations(None, 0).await.map(drop);
        "GET /v1/conversations/:id/participants" key tells ["NOT_FOUND"]
            api => api.participants("conv_1").await.map(drop);
        "GET /v1/conversations/:id/context" key tells ["NOT_FOUND"]
            api => api.conversation_context("conv_1").await.map(drop);
        "DELETE /v1/conversations/:id" key tells ["NOT_FOUND"]
            api => api.hide_conversation("conv_1").await;
        "POST /v1/groups" key tells
            ["IDEMPOTENT_IN_PROGRESS" "IDEMPOTENCY_KEY_CONFLICT" "IDEMPOTENCY_KEY_INVALID"]
            api => api.create_group(&GroupDraft::new("Night shift"), IDEM).await.map(drop);
        "GET /v1/groups/:id" key tells ["GROUP_NOT_FOUND" "GROUP_DELETED"]
            api => api.group("grp_1").await.map(drop);
        "PATCH /v1/groups/:id" key tells ["FORBIDDEN" "GROUP_NOT_FOUND" "GROUP_DELETED"]
            api => api.update_group("grp_1", &GroupUpdate::new().with_name("Day"), IDEM).await.map(drop);
        "DELETE /v1/groups/:id" key tells ["FORBIDDEN" "GROUP_NOT_FOUND" "GROUP_DELETED"]
            api => api.delete_group("grp_1", IDEM).await.map(drop);
        "PUT /v1/groups/:id/avatar" key tells
            ["EMPTY_BODY" "UNSUPPORTED_FORMAT" "DECODE_FAILED" "IMAGE_TOO_SMALL" "PROCESSING_FAILED"
             "PAYLOAD_TOO_LARGE" "STORAGE_UNAVAILABLE" "FORBIDDEN" "GROUP_NOT_FOUND"]
            api => api.set_group_avatar("grp_1", "image/png", "picture".into()).await.map(drop);
        "DELETE /v1/groups/:id/avatar" key tells ["NOT_FOUND" "STORAGE_UNAVAILABLE" "FORBIDDEN"]
            api => api.remove_group_avatar("grp_1").await;
        "POST /v1/groups/:id/members" key tells
            ["FORBIDDEN" "BLOCKED" "INBOX_RESTRICTED" "AGENT_NOT_FOUND" "GROUP_NOT_FOUND" "GROUP_DELETED"]
            api => api.add_group_member("grp_1", "tally-ho", IDEM).await.map(drop);
        "DELETE /v1/groups/:id/members/:handle" key tells ["FORBIDDEN" "NOT_MEMBER"]
            api => api.remove_group_member("grp_1", "tally-ho", IDEM).await;
        "POST /v1/groups/:id/members/:handle/promote" key tells ["FORBIDDEN" "NOT_MEMBER"]
            api => api.promote("grp_1", "tally-ho", IDEM).await;
        "POST /v1/groups/:id/members/:handle/demote" key tells
            ["FORBIDDEN" "NOT_MEMBER" "NOT_ADMIN" "LAST_ADMIN"]
            api => api.demote("grp_1", "tally-ho", IDEM).await;
        "POST /v1/groups/:id/leave" key tells ["GROUP_NOT_FOUND"]
            api => api.leave_group("grp_1", IDEM).await.map(drop);
        "GET /v1/groups/invites" key tells []
            api => api.invitations().await.map(drop);
        "POST /v1/groups/invites/:id/accept" key tells ["INVITE_NOT_FOUND" "GROUP_DELETED"]
            api => api.accept_invitation("gri_1", IDEM).await.map(drop);
        "DELETE /v1/groups/invites/:id" key tells ["INVITE_NOT_FOUND"]
            api => api.reject_invitation("gri_1").await;
        "POST /v1/contacts" key tells ["AGENT_NOT_FOUND"]
            api => api.add_contact("tally-ho").await.map(drop);
        "GET /v1/contacts" key tells []
            api => api.contacts(50, 0).await.map(drop);
        "GET /v1/contacts/:handle" key tells []
            api => api.contact("tally-ho").await.map(drop);
        "PATCH /v1/contacts/:handle" key tells ["NOT_FOUND"]
            api => api.set_contact_note("tally-ho", Some("owns the pager")).await;
        "DELETE /v1/contacts/:handle" key tells ["NOT_FOUND"]
            api => api.remove_contact("tally-ho").await;
        "POST /v1/contacts/:handle/block" key tells ["AGENT_NOT_FOUND" "SYSTEM_AGENT_PROTECTED"]
            api => api.block("tally-ho", IDEM).await;
        "DELETE /v1/contacts/:handle/block" key tells ["NOT_FOUND"]
            api => api.unblock("tally-ho").await;
        "POST /v1/contacts/:handle/report" key tells ["ALREADY_REPORTED" "SYSTEM_AGENT_PROTECTED"]
            api => api.report_agent("tally-ho", Some("spam"), IDEM).await;
        "POST /v1/mutes" key tells
            ["SELF_MUTE" "AGENT_NOT_FOUND" "CONVERSATION_NOT_FOUND" "NOT_PARTICIPANT"]
            api => api.mute(MuteKind::Agent("tally-ho"), None).await.map(drop);
        "GET /v1/mutes" key tells []
            api => api.mutes().await.map(drop);
        "GET /v1/mutes/agent/:handle" key tells []
            api => api.mute_of(MuteKind::Agent("tally-ho")).await.map(drop);
        "DELETE /v1/mutes/agent/:handle" key tells ["NOT_FOUND"]
            api => api.unmute(MuteKind::Agent("tally-ho")).await;
        "GET /v1/mutes/conversation/:id" key tells []
            api => api.mute_of(MuteKind::Conversation("conv_1")).await.map(drop);
        "DELETE /v1/mutes/conversation/:id" key tells ["NOT_FOUND"]
            api => api.unmute(MuteKind::Conversation("conv_1")).await;
        "PUT /v1/presence" key tells []
            api => api.set_presence(&PresenceStatus::Busy, Some("on call")).await.map(drop);
        "GET /v1/presence/:handle" key tells ["NOT_FOUND"]
            api => api.presence("tally-ho").await.map(drop);
        "POST /v1/presence/batch" key tells []
            api => api.presences(&["tally-ho"]).await.map(drop);
        "GET /v1/directory" key tells []
            api => api.directory("tally", 20, 0).await.map(drop);
        "POST /v1/uploads" key tells
            ["BLOCKED" "AGENT_NOT_FOUND" "GROUP_NOT_FOUND" "GROUP_DELETED" "STORAGE_UNAVAILABLE"]
            api => api.create_upload(&Upload::new(to(), "notes.md", "text/markdown", "notes")).await.map(drop);
        "GET /v1/attachments/:id" key tells ["NOT_FOUND" "GROUP_DELETED" "STORAGE_UNAVAILABLE"]
            api => api.attachment_url("att_1").await.map(drop);
        "POST /v1/webhooks" key tells ["LIMIT_REACHED" "FORBIDDEN"]
            api => api.create_webhook("https://example.test/hook", &["message.new"]).await.map(drop);
        "GET /v1/webhooks" key tells []
            api => api.webhooks().await.map(drop);
        "GET /v1/webhooks/:id" key tells ["NOT_FOUND"]
            api => api.webhook("whk_1").await.map(drop);
        "DELETE /v1/webhooks/:id" key tells ["NOT_FOUND"]
            api => api.delete_webhook("whk_1").await;
        "PUT /v1/reply/active" key silent []
            api => { api.set_reply_active(None, Duration::from_secs(60)).await; Ok(()) };
        "GET /v1/reply/active" key silent []
            api => { api.is_reply_active().await; Ok(()) };
        "DELETE /v1/reply/active" key silent []
            api => { api.clear_reply_active(None).await; Ok(()) };
        "POST /v1/reply/claim" key silent []
            api => { assert!(api.claim_reply("msg_1", "daemon:1", false).await.claimed); Ok(()) };
        "POST /v1/reply/claim-batch" key silent []
            api => { assert_eq!(api.claim_replies(&["msg_1"], "daemon:1", false).await.count, 1); Ok(()) };
    }
}

fn to() -> Recipient {
    Recipient::Agent("tally-ho".to_owned())
}

/// The index of the contract, in its own spelling: the numbered rows, alternatives of one row apart.
pub(crate) const INDEX: [&str; 65] = [
    "POST /v1/register",
    "POST /v1/register/verify",
    "POST /v1/agents/recover",
    "POST /v1/agents/recover/verify",
    "GET /v1/agents/me",
    "GET /v1/agents/:handle",
    "PATCH /v1/agents/:handle",
    "DELETE /v1/agents/:handle",
    "POST /v1/agents/:handle/rotate-key",
    "POST /v1/agents/:handle/rotate-key/verify",
    "PUT /v1/agents/:handle/avatar",
    "DELETE /v1/agents/:handle/avatar",
    "POST /v1/messages",
    "GET /v1/messages/sync",
    "POST /v1/messages/sync/ack",
    "GET /v1/messages/:conversation_id",
    "POST /v1/messages/:id/read",
    "DELETE /v1/messages/:id",
    "GET /v1/conversations",
    "GET /v1/conversations/:id/participants",
    "GET /v1/conversations/:id/context",
    "DELETE /v1/conversations/:id",
    "POST /v1/groups",
    "GET /v1/groups/:id",
    "PATCH /v1/groups/:id",
    "DELETE /v1/groups/:id",
    "PUT /v1/groups/:id/avatar",
    "DELETE /v1/groups/:id/avatar",
    "POST /v1/groups/:id/members",
    "DELETE /v1/groups/:id/members/:handle",
    "POST /v1/groups/:id/members/:handle/promote",
    "POST /v1/groups/:id/members/:handle/demote",
    "POST /v1/groups/:id/leave",
    "GET /v1/groups/invites",
    "POST /v1/groups/invites/:id/accept",
    "DELETE /v1/groups/invites/:id",
    "POST /v1/contacts",
    "GET /v1/contacts",
    "GET /v1/contacts/:handle",
    "PATCH /v1/contacts/:handle",
    "DELETE /v1/contacts/:handle",
    "POST /v1/contacts/:handle/block",
    "DELETE /v1/contacts/:handle/block",
    "POST /v1/contacts/:handle/report",
    "POST /v1/mutes",
    "GET /v1/mutes",
    "GET /v1/mutes/agent/:handle",
    "DELETE /v1/mutes/agent/:handle",
    "GET /v1/mutes/conversation/:id",
    "DELETE /v1/mutes/conversation/:id",
    "PUT /v1/presence",
    "GET /v1/presence/:handle",
    "POST /v1/presence/batch",
    "GET /v1/directory",
    "POST /v1/uploads",
    "GET /v1/attachments/:id",
    "POST /v1/webhooks",
    "GET /v1/webhooks",
    "GET /v1/webhooks/:id",
    "DELETE /v1/webhooks/:id",
    "PUT /v1/reply/active",
    "GET /v1/reply/active",
    "DELETE /v1/reply/active",
    "POST /v1/reply/claim",
    "POST /v1/reply/claim-batch",
];
