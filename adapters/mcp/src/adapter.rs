//! From the environment, or a file with its sections, to a server and to its end.

use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use agentchat_core::tools::ToolSet;
use agentchat_core::{
    Agent, CloseMode, ConfigSection, EnvReader, Error, ErrorKind, ResilientConnector, ResilientOptions,
    Result,
};
use rmcp::ServiceExt;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use transport_mq9::Mq9Section;
use transport_ws::tools::LocalThreads;
use transport_ws::{AgentChat, AgentChatConfig, AgentChatSection};

use crate::handler::ToolServer;
use crate::settings::Settings;

/// Tools, ready to be served to one MCP host.
#[must_use = "it does nothing before it serves"]
pub struct Adapter {
    tools: ToolSet,
    instructions: Option<String>,
    deadline: Option<Duration>,
    /// What ends with the server, and how.
    agents: Vec<(Agent, CloseMode)>,
}

impl Adapter {
    /// Serves `tools`, whatever they do.
    pub fn new(tools: ToolSet) -> Self {
        Self { tools, instructions: None, deadline: None, agents: Vec::new() }
    }

    /// The tools of the agent that `env` and the file of `settings` name; `env` goes first. With
    /// `AGENTCHATME_API_KEY` or a key in the file: those of AgentChat, for the account `AGENTCHATME_HANDLE`, or
    /// the one whose key it is, which is asked then. With `MQ9_URL` or a broker in the file: those of mq9, over
    /// an attachment that is made now and kept up. How one behaves on AgentChat is told to the host as
    /// instructions.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when there is neither, for a variable or a key of the file that cannot be used, and
    /// for a tool that is not there; the network's, when it cannot be reached.
    pub async fn from_env(env: &EnvReader, settings: &Settings) -> Result<Self> {
        let mut adapter = Self::new(ToolSet::default());
        let (chat, mq9_section) = sections(settings)?;
        let (chat, mq9_section) = (chat.with_env(env)?.config()?, mq9_section.with_env(env)?);
        let mq9 = mq9_section.builder()?;
        if chat.is_none() && mq9.is_none() {
            let what = "neither AGENTCHATME_API_KEY nor MQ9_URL is set, nor what stands for them in a file of \
                        --config: there is no agent to show";
            return Err(Error::new(ErrorKind::Config, "environment", what));
        }
        if let Some(config) = &chat {
            adapter.tools = chat_tools(config, settings).await?;
        }
        if let Some(builder) = mq9 {
            let connector = ResilientConnector::new(builder.build()?, ResilientOptions::default());
            let started = timeout(STARTING, Agent::builder(connector).start()).await;
            let agent = started.map_err(|_| {
                let what = "the mq9 broker could not be reached in time";
                Error::new(ErrorKind::Timeout, "start", what)
            })??;
            adapter.tools = adapter.tools.with(transport_mq9::tools::tools(&agent)?)?;
            // Nobody comes back to an inbox whose name is kept nowhere.
            let kept = mq9_section.keeps_inbox();
            adapter.agents.push((agent, if kept { CloseMode::Detach } else { CloseMode::Retire }));
        }
        if let Some(names) = &settings.tools {
            adapter.tools = adapter.tools.subset(names)?;
        }
        if chat.is_some() {
            adapter.instructions = Some(transport_ws::etiquette(adapter.tools.names()));
        }
        adapter.deadline = settings.deadline;
        Ok(adapter)
    }

    /// What the host is told to tell its model.
    pub fn with_instructions(mut self, instructions: impl Into<String>) -> Self {
        self.instructions = Some(instructions.into());
        self
    }

    /// How long a call may take at most. What a tool says of itself counts where it is less.
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// The tools.
    pub fn tools(&self) -> &ToolSet {
        &self.tools
    }

    /// Serves over stdin and stdout, until stdin ends or `stop` does. Nothing else may write to stdout.
    ///
    /// # Errors
    /// As [`Adapter::serve`].
    pub async fn serve_stdio(self, stop: impl Future<Output = ()>) -> Result<()> {
        let (reader, writer) = rmcp::transport::io::stdio_pipes();
        self.serve(reader, writer, stop).await
    }

    /// Serves one host until `reader` ends, or `stop` does. Calls under way get up to five seconds then (two
    /// after `stop`); the agent is closed behind them, in three. Dropping the future ends everything at once.
    ///
    /// # Errors
    /// [`ErrorKind::Protocol`] for a host that does not begin as MCP does. One that leaves before it has begun
    /// is none.
    pub async fn serve<R, W>(self, reader: R, writer: W, stop: impl Future<Output = ()>) -> Result<()>
    where
        R: AsyncRead + Send + Unpin + 'static,
        W: AsyncWrite + Send + Unpin + 'static,
    {
        let server = ToolServer::new(self.tools, self.instructions, self.deadline)?;
        let served = serve(server, reader, writer, stop).await;
        for (agent, mode) in &self.agents {
            if let Err(error) = agent.close(*mode, CLOSING).await {
                tracing::warn!(name: "mcp.close", %error, "the agent could not be closed cleanly");
            }
        }
        served
    }
}

impl fmt::Debug for Adapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Adapter")
            .field("tools", &self.tools.len())
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

async fn serve<R, W>(server: ToolServer, reader: R, writer: W, stop: impl Future<Output = ()>) -> Result<()>
where
    R: AsyncRead + Send + Unpin + 'static,
    W: AsyncWrite + Send + Unpin + 'static,
{
    let mut stop = pin!(stop);
    let begun = tokio::select! {
        begun = server.serve((reader, writer)) => begun,
        () = &mut stop => return Ok(()),
    };
    let running = match begun {
        Ok(running) => running,
        Err(rmcp::service::ServerInitializeError::ConnectionClosed(_)) => return Ok(()),
        Err(error) => {
            let what = "the host did not begin as MCP does";
            return Err(Error::new(ErrorKind::Protocol, "mcp", what).with_source(error));
        }
    };
    let cancel = running.cancellation_token();
    let mut ended = pin!(running.waiting());
    let outcome = tokio::select! {
        outcome = &mut ended => outcome,
        () = stop => {
            cancel.cancel();
            ended.await
        }
    };
    outcome.map(drop).map_err(|_| Error::new(ErrorKind::Unexpected, "mcp", "the server's task has failed"))
}

/// What the file says, if one is named: each section is its transport's, and there is nothing else in it.
fn sections(settings: &Settings) -> Result<(AgentChatSection, Mq9Section)> {
    let Some(path) = &settings.config else { return Ok(Default::default()) };
    let fault = |what: &str| {
        Error::new(ErrorKind::Config, "config", format!("the file of --config {what}: {}", path.display()))
    };
    let text = std::fs::read(path).map_err(|error| fault("cannot be read").with_source(error))?;
    // What a reader of JSON says may quote the file, and the file may hold a key.
    let mut file: ConfigSection = serde_json::from_slice(&text).map_err(|_| fault("is no JSON object"))?;
    let chat = file.section("agentchat")?.map(AgentChatSection::read).transpose()?;
    let mq9 = file.section("mq9")?.map(Mq9Section::read).transpose()?;
    file.end()?;
    Ok((chat.unwrap_or_default(), mq9.unwrap_or_default()))
}

async fn chat_tools(config: &AgentChatConfig, settings: &Settings) -> Result<ToolSet> {
    let client = AgentChat::new(config)?;
    let own = match config.handle() {
        Some(handle) => handle.to_owned(),
        None => client.clone().with_call_timeout(STARTING).me().await?.handle,
    };
    let closed = match &settings.closed_threads {
        Some(path) => LocalThreads::at(path)?,
        None => LocalThreads::in_memory(),
    };
    let more = transport_ws::tools::more_tools(&client, &own, &closed)?;
    transport_ws::tools::tools(&client, &own)?.with(more)
}

/// A host waits about this long for a server to start.
const STARTING: Duration = Duration::from_secs(10);
const CLOSING: Duration = Duration::from_secs(3);
