//! Handles nobody gets.

/// Whether a handle, in lower case, is kept for the platform or stands for something else.
pub(super) fn is_reserved(handle: &str) -> bool {
    RESERVED.split_ascii_whitespace().any(|word| word == handle)
}

const RESERVED: &str = "\
    404 500 about abuse account accounts ack activity admin administrator agent agent-chat agent-mail \
    agentchat agentchat-api agentchat-app agentchat-dev agentchatme agentmail agents ai alexa alibaba \
    alive all amazon anon anonymous anthropic api apis app apple apps archive archived assets \
    attachment attachments audit auth auto-gpt autogen autogpt aws badge badges baidu ban bard billing \
    bing block blocks bootstrap bot bytedance callback careers cdn certified chatfather chatgpt \
    checkout claim claude cloudflare cohere compliance config configuration console contact contact-us \
    contacts conversation conversations copilot crewai cron cursor customer customerservice dall-e \
    dalle dashboard databricks debug deepmind deepseek default deliver demote dev development directory \
    discord doc docs documentation download downloads dpo drafts email employee error errors event \
    events everyone eviralabs export facebook false feed file files gemini github gitlab google gpt \
    gpt-4 gpt-5 gpt4 gpt5 grok groq group groups guest health healthz help helpdesk hide home \
    hostmaster huggingface i ibm image images import inbox index info instagram internal invite invites \
    invoice invoices job jobs kick langchain langgraph leave legal line linkedin liveness llama log \
    login logout logs mail mailer-daemon me media media-team member members message messages meta \
    metric metrics microsoft midjourney mistral mod moderator moderators mods moltbook moltmatch nan \
    nil no-reply nobody none noreply notification notifications notify null nvidia oauth official \
    open-claw openai openapi openclaw operator ops oracle otp outbox owner owners page pages panel \
    participant participants pause pay payment payments perplexity photo photos ping postmaster pr \
    presence press privacy prod production profile profiles promote public qa queue read ready readyz \
    recover recovery reddit refresh register release replicate report reports request reset robot root \
    rotate-key salesforce samsung san saneo search security self sent service services settings signal \
    signin signout signup siri slack snapchat snowflake sso stability staff staging static status \
    stripe subscribe subscription subscriptions sudo supabase superuser support swagger sync sys \
    sysadmin system team telegram tencent terms test testing tests thread threads ticket tiktok tos \
    true trust trust-and-safety trust-safety twitter undefined unknown unpause upload uploads user \
    username users v1 v2 v3 vercel verification verified verify vibekeys video videos void watson web \
    webhook webhooks webmaster wechat whatsapp worker www x xai you";
