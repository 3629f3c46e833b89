//! Tools in the shapes of MCP.

use std::sync::Arc;
use std::time::Duration;

use agentchat_core::Result;
use agentchat_core::tools::{ToolAnswer, ToolContext, ToolSet, ToolSpec};
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ErrorData, GetPromptRequestParams,
    GetPromptResponse, GetPromptResult, Implementation, ListPromptsResult, ListToolsResult,
    PaginatedRequestParams, Prompt, PromptMessage, Role, ServerCapabilities, ServerConfig, Tool,
    ToolAnnotations,
};
use rmcp::service::RequestContext;
use rmcp::{RoleServer, ServerHandler};
use serde_json::{Map, Value};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout};

pub(crate) struct ToolServer {
    tools: ToolSet,
    /// The same as the host is told of them.
    told: Vec<Tool>,
    instructions: Option<String>,
    deadline: Option<Duration>,
    /// What a host asks for at once beyond this waits.
    places: Semaphore,
}

impl ToolServer {
    pub(crate) fn new(
        tools: ToolSet,
        instructions: Option<String>,
        deadline: Option<Duration>,
    ) -> Result<Self> {
        let told = tools.iter().map(told).collect::<Result<_>>()?;
        Ok(Self { tools, told, instructions, deadline, places: Semaphore::new(AT_ONCE) })
    }

    /// A place, and what is left of `within` then. Waiting for one is part of the call's time.
    async fn place(&self, within: Duration) -> Option<(SemaphorePermit<'_>, Duration)> {
        let began = Instant::now();
        // It is never closed.
        let place = timeout(within, self.places.acquire()).await.ok()?.ok()?;
        Some((place, within.saturating_sub(began.elapsed())))
    }

    fn context(&self, within: Duration, meta: &Map<String, Value>) -> ToolContext {
        let mut context = ToolContext::new().with_deadline(within);
        // A request's own id is counted anew in each session, so it names nothing that could be repeated.
        if let Some(id) = meta.get(CALL_ID).and_then(Value::as_str).filter(|id| !id.is_empty()) {
            context = context.with_call_id("mcp", id);
        }
        context
    }
}

impl ServerHandler for ToolServer {
    fn get_info(&self) -> ServerConfig {
        let capabilities = match self.instructions {
            Some(_) => ServerCapabilities::builder().enable_tools().enable_prompts().build(),
            None => ServerCapabilities::builder().enable_tools().build(),
        };
        let own = Implementation::new("agentchat-mcp", env!("CARGO_PKG_VERSION"));
        let info = ServerConfig::new(capabilities).with_server_info(own);
        match &self.instructions {
            Some(instructions) => info.with_instructions(instructions),
            None => info,
        }
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> std::result::Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(self.told.clone()))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> std::result::Result<CallToolResponse, ErrorData> {
        let Some(tool) = self.tools.find(&request.name) else {
            let name: String = request.name.chars().take(64).collect();
            return Err(ErrorData::invalid_params(format!("there is no tool called {name:?}"), None));
        };
        let within = self.deadline.map_or(tool.deadline(), |deadline| deadline.min(tool.deadline()));
        let arguments = Value::Object(request.arguments.unwrap_or_default());
        let call = async {
            // Without a place there is no time left either: the tool answers so, as it does for any other
            // call that came too late.
            let (_place, left) =
                self.place(within).await.map_or((None, Duration::ZERO), |(place, left)| (Some(place), left));
            tool.call_with(&arguments, self.context(left, &context.meta.0.0)).await
        };
        tokio::select! {
            biased;
            () = context.ct.cancelled() => Err(ErrorData::internal_error("the call was cancelled", None)),
            answer = call => answered(&answer),
        }
    }

    async fn list_prompts(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> std::result::Result<ListPromptsResult, ErrorData> {
        let prompt = self.instructions.iter().map(|_| Prompt::new(ETIQUETTE, Some(ETIQUETTE_IS), None));
        Ok(ListPromptsResult::with_all_items(prompt.collect()))
    }

    async fn get_prompt(
        &self,
        request: GetPromptRequestParams,
        _: RequestContext<RoleServer>,
    ) -> std::result::Result<GetPromptResponse, ErrorData> {
        match &self.instructions {
            Some(text) if request.name == ETIQUETTE => {
                let message = PromptMessage::new_text(Role::User, text.clone());
                Ok(GetPromptResult::new(vec![message]).with_description(ETIQUETTE_IS).into())
            }
            _ => Err(ErrorData::invalid_params("there is no such prompt", None)),
        }
    }
}

/// A failure is a result too: one that the model reads, and can repair.
fn answered(answer: &ToolAnswer) -> std::result::Result<CallToolResponse, ErrorData> {
    let value: Value = answer.read().map_err(|_| ErrorData::internal_error("the answer is no JSON", None))?;
    let result = match answer.is_ok() {
        true => CallToolResult::structured(value),
        false => CallToolResult::structured_error(value),
    };
    Ok(result.into())
}

/// Without choices at the top of the schema: hosts refuse them there. The description says them, and calls are
/// checked against the whole.
fn told(tool: &ToolSpec) -> Result<Tool> {
    let mut schema: Map<String, Value> = tool.schema().read()?;
    schema.retain(|name, _| !["oneOf", "anyOf", "allOf"].contains(&name.as_str()));
    let hints = ToolAnnotations::new()
        .read_only(tool.is_read_only())
        .idempotent(tool.is_idempotent())
        .open_world(true);
    let mut told = Tool::new(tool.name().to_owned(), tool.description().to_owned(), Arc::new(schema));
    told.annotations = Some(hints);
    Ok(told)
}

/// Where a host says which call of its model a request belongs to, so that a repeated one is recognised. It
/// must be one that no other call ever has.
const CALL_ID: &str = "agentchat/call_id";
const ETIQUETTE: &str = "agentchat_etiquette";
const ETIQUETTE_IS: &str = "How an agent behaves on AgentChat, and the limits there are.";
/// A model rarely asks for more than a few.
const AT_ONCE: usize = 32;
