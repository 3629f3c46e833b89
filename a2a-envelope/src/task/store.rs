//! What a store of tasks must promise.

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use super::error::TaskError;
use super::listing::{TaskPage, TaskQuery};
use super::record::Task;

/// What a store's method gives: a boxed future, so that the trait needs no runtime and fits behind `dyn`.
pub type StoreFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, TaskError>> + Send + 'a>>;

/// Where tasks outlive the worker that runs them.
///
/// - **Durable on return.** `Ok` means that the change survives the death of the process.
/// - **All or nothing**, also when the process dies or the future is dropped in between; a dropped future
///   may still have made its change.
/// - **Compare and set.** [`put`](Self::put) says which generation it replaces. Of two writers that read the
///   same generation one gets through and the other is refused; this alone keeps two workers from answering
///   one task.
/// - **Errors.** [`TaskError::Storage`] means that the change was made or not made: repeat it. Nothing that an
///   earlier call confirmed is lost by it.
///
/// [`Task::to_stored`] and [`Task::from_stored`] are the form a store on disk keeps.
pub trait TaskStore: Send + Sync + Debug + 'static {
    /// The task of this id.
    fn get<'a>(&'a self, id: &'a str) -> StoreFuture<'a, Option<Task>>;

    /// Keeps `task` in place of its generation `expected`; 0 for a task that is new. Repeating a `put` that
    /// was made changes nothing and is `Ok`.
    ///
    /// # Errors
    ///
    /// [`TaskError::Stale`] if another generation is kept, or none, or if the task's own generation is not
    /// above `expected`. [`TaskError::Full`] for a new task in a full store.
    fn put<'a>(&'a self, task: &'a Task, expected: u64) -> StoreFuture<'a, ()>;

    /// Forgets the task of this id. Without one it does nothing.
    fn remove<'a>(&'a self, id: &'a str) -> StoreFuture<'a, ()>;

    /// The tasks with a request that is not answered, those that changed first before the others: what a
    /// worker goes on with when it starts.
    fn open_tasks(&self) -> StoreFuture<'_, Vec<Task>>;

    /// The ids of the tasks that are [due](Task::due) at some time, each with that time: the soonest first, at
    /// most `most` of them. What a server ends when their questions are not answered.
    fn due_tasks(&self, most: usize) -> StoreFuture<'_, Vec<(String, Duration)>>;

    /// The tasks a query asks for, by [`TaskQuery::page`] or by an index that gives the same. A store without a
    /// list answers with [`TaskError::Unlisted`], which is the default.
    fn list<'a>(&'a self, query: &'a TaskQuery) -> StoreFuture<'a, TaskPage> {
        let _ = query;
        Box::pin(std::future::ready(Err(TaskError::Unlisted)))
    }
}

/// What every store decides alike: whether `task` may take the place of `kept`. `Ok(false)` if it is there.
///
/// # Errors
///
/// [`TaskError::Stale`].
pub fn may_replace(kept: Option<&Task>, task: &Task, expected: u64) -> Result<bool, TaskError> {
    if kept == Some(task) {
        return Ok(false);
    }
    let found = kept.map_or(0, Task::generation);
    if found != expected || task.generation() <= expected {
        return Err(TaskError::Stale { expected, found });
    }
    Ok(true)
}
