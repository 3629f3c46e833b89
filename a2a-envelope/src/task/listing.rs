//! `ListTasks`: which tasks are asked for, and a page of them.

use std::cmp::Reverse;
use std::fmt;
use std::time::Duration;

use super::record::Task;
use super::state::TaskState;
use super::text::TaskText;
use super::time::unix_ms;
use crate::json::{self, Node};
use crate::json_text::JsonText;
use crate::limits::Limits;

/// Which tasks `ListTasks` asks for, and how much of each. The tasks of others are never among them: only those
/// that were asked for under the answer address that the list goes to.
///
/// `Debug` prints no address.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TaskQuery {
    /// The answer address under which they were asked for.
    pub asker: String,
    /// Of this context only.
    pub context_id: Option<String>,
    /// In this state only.
    pub state: Option<TaskState>,
    /// Whose state changed at this moment or later, since the unix epoch.
    pub changed_from: Option<Duration>,
    /// Behind this place: when a task changed, in unix milliseconds, and its id.
    pub behind: Option<(u64, String)>,
    /// At most so many, 1 to 100.
    pub page_size: usize,
    /// So many messages of each history at most.
    pub history_length: usize,
    /// Whether artifacts are wanted too.
    pub artifacts: bool,
}

/// Some tasks of a store: those that changed last come first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct TaskPage {
    /// The tasks.
    pub tasks: Vec<Task>,
    /// How many there are on all pages.
    pub total: usize,
    /// Whether more follow behind the last one here.
    pub more: bool,
}

impl TaskQuery {
    /// The largest page.
    pub const MAX_PAGE: usize = 100;

    /// Everything that was asked for under this answer address, 50 at a time, without histories and artifacts.
    #[must_use]
    pub fn of(asker: impl Into<String>) -> Self {
        Self {
            asker: asker.into(),
            context_id: None,
            state: None,
            changed_from: None,
            behind: None,
            page_size: 50,
            history_length: 0,
            artifacts: false,
        }
    }

    /// Reads the parameters of a request for the tasks of `asker`.
    ///
    /// # Errors
    ///
    /// Which parameter does not fit, for an answer with the code -32602.
    pub fn read(asker: impl Into<String>, params: &str) -> Result<Self, &'static str> {
        let mut query = Self::of(asker);
        let root = json::parse_body(params.as_bytes(), &Limits::default()).map_err(|_| "the parameters")?;
        let text = |name| root.text_of(name).map(|text| text.into_owned()).filter(|text| !text.is_empty());
        query.context_id = text("contextId");
        let state = text("status").map(|state| TaskState::parse(&state));
        query.state = state.filter(|state| *state != TaskState::Unspecified);
        let size = number(root, "pageSize", "pageSize is no number")?.filter(|size| *size != 0);
        query.page_size = size.unwrap_or(50);
        if query.page_size > Self::MAX_PAGE {
            return Err("pageSize is above 100");
        }
        query.history_length = number(root, "historyLength", "historyLength is no number")?.unwrap_or(0);
        query.artifacts = root.get("includeArtifacts").is_some_and(|flag| flag.raw() == "true");
        if let Some(token) = text("pageToken") {
            let place = token.split_once('.').and_then(|(at, id)| Some((at.parse().ok()?, id.to_owned())));
            query.behind = Some(place.ok_or("pageToken is none that was given here")?);
        }
        if let Some(moment) = text("statusTimestampAfter") {
            let ms = unix_ms(&moment).ok_or("statusTimestampAfter is no moment")?;
            query.changed_from = Some(Duration::from_millis(ms));
        }
        Ok(query)
    }

    /// Whether a task is one of those asked for, on whichever page.
    #[must_use]
    pub fn takes(&self, task: &Task) -> bool {
        let asker = |address: &String| *address == self.asker;
        task.turns().iter().any(|turn| turn.request.reply_to.as_ref().is_some_and(asker))
            && self.context_id.as_ref().is_none_or(|context| context == task.context_id())
            && self.state.as_ref().is_none_or(|state| state == task.state())
            && self.changed_from.is_none_or(|from| task.changed_at() >= from)
    }

    /// The page asked for, of all tasks of a store.
    #[must_use]
    pub fn page<'a>(&self, tasks: impl IntoIterator<Item = &'a Task>) -> TaskPage {
        let place = |task: &Task| (Reverse(task.changed_ms), task.id.clone());
        let mut found: Vec<&Task> = tasks.into_iter().filter(|task| self.takes(task)).collect();
        found.sort_by_key(|task| place(task));
        let total = found.len();
        if let Some((at, id)) = &self.behind {
            found.retain(|task| place(task) > (Reverse(*at), id.clone()));
        }
        let more = found.len() > self.page_size;
        TaskPage { tasks: found.into_iter().take(self.page_size).cloned().collect(), total, more }
    }

    /// The page as the result of `ListTasks`: fewer tasks than it has where the text would be larger than
    /// `bytes`, but for the first.
    #[must_use]
    pub fn result(&self, page: &TaskPage, bytes: usize) -> JsonText {
        let (mut list, mut last) = (String::new(), None);
        for task in &page.tasks {
            let text = self.told(task);
            if last.is_some() && list.len() + text.as_str().len() > bytes {
                break;
            }
            let comma = if last.is_some() { "," } else { "" };
            list.push_str(comma);
            list.push_str(text.as_str());
            last = Some(task);
        }
        let more = page.more || last.is_some_and(|last| page.tasks.last() != Some(last));
        let token = last.filter(|_| more).map(|last| format!("{}.{}", last.changed_ms, last.id));
        JsonText::trusted(format!(
            "{{\"tasks\":[{list}],\"nextPageToken\":{},\"pageSize\":{},\"totalSize\":{}}}",
            json::quote(&token.unwrap_or_default()),
            self.page_size,
            page.total
        ))
    }

    fn told(&self, task: &Task) -> JsonText {
        let mut task = task.clone();
        if !self.artifacts {
            task.artifacts.clear();
        }
        let text = task.to_json();
        match TaskText::parse(text.as_str().as_bytes(), &Limits::default()) {
            Ok(read) => read.with_history_length(self.history_length),
            Err(_) => text,
        }
    }
}

impl fmt::Debug for TaskQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskQuery")
            .field("context_id", &self.context_id)
            .field("state", &self.state)
            .field("page_size", &self.page_size)
            .finish_non_exhaustive()
    }
}

fn number(root: Node<'_>, name: &str, fault: &'static str) -> Result<Option<usize>, &'static str> {
    match root.get(name).map(Node::raw).filter(|raw| *raw != "null") {
        None => Ok(None),
        Some(raw) => raw.trim_matches('"').parse().map(Some).map_err(|_| fault),
    }
}
