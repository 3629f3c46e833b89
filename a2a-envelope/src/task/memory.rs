//! The task store in memory.

use std::collections::HashMap;
use std::fmt;
use std::future::ready;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::error::TaskError;
use super::listing::{TaskPage, TaskQuery};
use super::record::Task;
use super::store::{StoreFuture, TaskStore, may_replace};

/// Tasks in memory: every promise of [`TaskStore`] except that they end with the process.
///
/// A full store forgets the task that has been over for longest; tasks that work or wait are never forgotten, so
/// let questions have deadlines. Its futures are ready at once.
pub struct MemoryTaskStore {
    tasks: Mutex<HashMap<String, Task>>,
    max_tasks: usize,
}

impl MemoryTaskStore {
    /// An empty store for 10,000 tasks.
    #[must_use]
    pub fn new() -> Self {
        Self::with_max_tasks(10_000)
    }

    /// An empty store for so many tasks.
    #[must_use]
    pub fn with_max_tasks(max_tasks: usize) -> Self {
        Self { tasks: Mutex::default(), max_tasks }
    }

    /// [`TaskStore::put`], at once.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn put_now(&self, task: &Task, expected: u64) -> Result<(), TaskError> {
        let mut tasks = self.tasks();
        let kept = tasks.get(task.id());
        let new = kept.is_none();
        if !may_replace(kept, task, expected)? {
            return Ok(());
        }
        if new && tasks.len() >= self.max_tasks {
            let over = tasks.values().filter(|task| task.state().is_terminal());
            let oldest = over.min_by_key(|task| task.changed_at()).map(|task| task.id().to_owned());
            let Some(oldest) = oldest else { return Err(TaskError::Full { count: tasks.len() }) };
            tasks.remove(&oldest);
        }
        tasks.insert(task.id().to_owned(), task.clone());
        Ok(())
    }

    /// [`TaskStore::get`], at once.
    #[must_use]
    pub fn get_now(&self, id: &str) -> Option<Task> {
        self.tasks().get(id).cloned()
    }

    fn tasks(&self) -> MutexGuard<'_, HashMap<String, Task>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for MemoryTaskStore {
    fn default() -> Self {
        Self::new()
    }
}

impl TaskStore for MemoryTaskStore {
    fn get<'a>(&'a self, id: &'a str) -> StoreFuture<'a, Option<Task>> {
        Box::pin(ready(Ok(self.get_now(id))))
    }

    fn put<'a>(&'a self, task: &'a Task, expected: u64) -> StoreFuture<'a, ()> {
        Box::pin(ready(self.put_now(task, expected)))
    }

    fn remove<'a>(&'a self, id: &'a str) -> StoreFuture<'a, ()> {
        self.tasks().remove(id);
        Box::pin(ready(Ok(())))
    }

    fn open_tasks(&self) -> StoreFuture<'_, Vec<Task>> {
        let mut open: Vec<_> =
            self.tasks().values().filter(|task| task.open_turn().is_some()).cloned().collect();
        open.sort_by(|a, b| (a.changed_at(), a.id()).cmp(&(b.changed_at(), b.id())));
        Box::pin(ready(Ok(open)))
    }

    fn due_tasks(&self, most: usize) -> StoreFuture<'_, Vec<(String, Duration)>> {
        let tasks = self.tasks();
        let due = tasks.values().filter_map(|task| Some((task.due()?, task.id())));
        let mut due: Vec<_> = due.collect();
        due.sort_unstable();
        due.truncate(most);
        let due = due.into_iter().map(|(at, id)| (id.to_owned(), at)).collect();
        Box::pin(ready(Ok(due)))
    }

    fn list<'a>(&'a self, query: &'a TaskQuery) -> StoreFuture<'a, TaskPage> {
        let page = query.page(self.tasks().values());
        Box::pin(ready(Ok(page)))
    }
}

impl fmt::Debug for MemoryTaskStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryTaskStore").field("tasks", &self.tasks().len()).finish_non_exhaustive()
    }
}
