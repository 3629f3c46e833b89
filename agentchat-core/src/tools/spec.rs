//! One tool.

use std::fmt;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use super::answer::ToolAnswer;
use super::args::ToolArgs;
use super::context::{ToolCall, ToolContext};
use super::schema::ToolSchema;
use crate::clock::after;
use crate::error::{Error, ErrorKind, Reached, Result};

/// A tool that a model can call. Cheap to clone.
#[derive(Clone)]
pub struct ToolSpec {
    name: Arc<str>,
    description: Arc<str>,
    schema: ToolSchema,
    read_only: bool,
    idempotent: bool,
    deadline: Duration,
    run: Arc<Run>,
}

type Run = dyn Fn(&str, ToolCall) -> BoxFuture<'static, Result<Value>> + Send + Sync;

impl ToolSpec {
    /// The tool `name`, which does `run` with arguments of the type `A`. A model reads the description, and
    /// those of the arguments. What `run` gives is told as JSON: an object's members beside `ok`, anything
    /// else as the member `result`.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for a name that is not 1 to 64 of `a-z`, `A-Z`, `0-9`, `_` and `-`, for a
    /// description of none or more than 1,024 characters (the narrowest rules among the hosts of tools), and
    /// for a type whose schema cannot be used, see [`ToolSchema::from_json`].
    pub fn new<A, O, F, R>(name: &str, description: &str, run: F) -> Result<Self>
    where
        A: ToolArgs,
        O: Serialize,
        F: Fn(A, ToolCall) -> R + Send + Sync + 'static,
        R: Future<Output = Result<O>> + Send + 'static,
    {
        Self::with_schema(name, description, A::schema()?, run)
    }

    /// The same with a schema from elsewhere. Arguments that pass it and cannot be read as an `A` are a
    /// [`ErrorKind::Invalid`] error value; any type that can hold JSON takes them all.
    ///
    /// # Errors
    /// As [`ToolSpec::new`].
    pub fn with_schema<A, O, F, R>(name: &str, description: &str, schema: ToolSchema, run: F) -> Result<Self>
    where
        A: DeserializeOwned + Send + 'static,
        O: Serialize,
        F: Fn(A, ToolCall) -> R + Send + Sync + 'static,
        R: Future<Output = Result<O>> + Send + 'static,
    {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        if !(1..=64).contains(&name.len()) || !name.bytes().all(legal) {
            return Err(fault("a tool's name has 1 to 64 of a-z, A-Z, 0-9, _ and -".to_owned()));
        }
        if !(1..=1_024).contains(&description.trim().chars().count()) {
            return Err(fault(format!("the description of {name} has none or more than 1,024 characters")));
        }
        Ok(Self {
            name: name.into(),
            description: description.trim().into(),
            schema,
            read_only: false,
            idempotent: false,
            deadline: DEADLINE,
            // Read from the text: what a tool takes as it is written, such as a card, stays as it was written.
            run: Arc::new(move |arguments, call| {
                let run = serde_json::from_str(arguments).map(|arguments| run(arguments, call));
                async move { told(&run.map_err(unreadable)?.await?) }.boxed()
            }),
        })
    }

    /// Says that the tool changes nothing (default: that it does). It is idempotent, then.
    pub fn with_read_only(mut self, read_only: bool) -> Self {
        self.read_only = read_only;
        self.idempotent |= read_only;
        self
    }

    /// Says that doing it twice is the same as doing it once (default: that it is not).
    pub fn with_idempotent(mut self, idempotent: bool) -> Self {
        self.idempotent = idempotent;
        self
    }

    /// How long a call may take when its context does not say. Default: 30 s.
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What a model is told of it.
    pub fn description(&self) -> &str {
        &self.description
    }

    /// What its arguments must be.
    pub fn schema(&self) -> &ToolSchema {
        &self.schema
    }

    /// Whether it changes nothing. A hint, as the next one is.
    pub fn is_read_only(&self) -> bool {
        self.read_only
    }

    /// Whether doing it twice is the same as doing it once.
    pub fn is_idempotent(&self) -> bool {
        self.idempotent
    }

    /// How long a call may take when its context does not say.
    pub fn deadline(&self) -> Duration {
        self.deadline
    }

    /// Calls the tool with `arguments`, a JSON object; nothing and `null` mean one without members. What does
    /// not meet the schema, or has more than 1 MiB, never reaches the tool. A call that has not ended by its
    /// deadline is dropped, and a panic in it is contained: both are answers that say so. Work that blocks its
    /// thread cannot be dropped.
    ///
    /// Dropping the future drops the call; what it was about to send may be sent or not. Calls have no order
    /// among themselves. It needs a tokio runtime with its timers on.
    pub async fn call(&self, arguments: &str, context: ToolContext) -> ToolAnswer {
        match self.schema.checked(arguments) {
            Ok((text, arguments)) => self.run(text, &arguments, context).await,
            Err(error) => ToolAnswer::failed(error, None),
        }
    }

    /// As [`ToolSpec::call`], for arguments that are not text yet.
    pub async fn call_with<A: Serialize + ?Sized + Sync>(
        &self,
        arguments: &A,
        context: ToolContext,
    ) -> ToolAnswer {
        match serde_json::to_string(arguments) {
            Ok(text) => self.call(&text, context).await,
            Err(_) => ToolAnswer::failed(invalid("the arguments cannot be written as JSON"), None),
        }
    }

    async fn run(&self, text: &str, arguments: &Value, context: ToolContext) -> ToolAnswer {
        let within = context.deadline().unwrap_or(self.deadline);
        let end = after(Instant::now(), within);
        let late = |what: &str| Error::new(ErrorKind::Timeout, "tool", what);
        if within.is_zero() {
            let error = late("the call's time was over before it began").with_reached(Reached::No);
            return ToolAnswer::failed(error, None);
        }
        let call = ToolCall::new(&self.name, arguments, context, end);
        // Made inside of the block: a tool may panic before it has a future to give.
        let run = AssertUnwindSafe(async { (self.run)(text, call.clone()).await }).catch_unwind();
        let outcome = match timeout_at(end, run).await {
            Ok(Ok(outcome)) => outcome,
            // What it says is the developer's, and may quote a message.
            Ok(Err(_)) => {
                Err(Error::new(ErrorKind::Handler, "tool", "the tool panicked").with_code("TOOL_PANICKED"))
            }
            Err(_) => Err(late("the tool did not end in time; it may have done its work all the same")),
        };
        match outcome {
            Ok(value) => ToolAnswer::succeeded(value),
            Err(error) => ToolAnswer::failed(error, call.used_id()),
        }
    }
}

impl fmt::Debug for ToolSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ToolSpec")
            .field("name", &self.name)
            .field("read_only", &self.read_only)
            .field("idempotent", &self.idempotent)
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

fn told(output: &impl Serialize) -> Result<Value> {
    serde_json::to_value(output).map_err(|_| {
        Error::new(ErrorKind::Unexpected, "tool", "what the tool gave cannot be written as JSON")
    })
}

/// Its words may quote what it could not read.
fn unreadable(_: serde_json::Error) -> Error {
    invalid("the arguments meet the schema, but cannot be read as what the tool takes")
}

fn invalid(what: &str) -> Error {
    Error::new(ErrorKind::Invalid, "tool", what)
}

fn fault(what: String) -> Error {
    Error::new(ErrorKind::Config, "tool", what)
}

/// What a call may take when nobody says.
const DEADLINE: Duration = Duration::from_secs(30);
