//! The store over a disk that fails, waits and counts on demand, and over files that are not its own.

use std::fs::{self, File};
use std::io;
use std::ops::Bound;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::UNIX_EPOCH;

use redb::{BackendError, Database, StorageBackend, TableDefinition};

use super::*;
use crate::address::Address;
use crate::error::{Advice, Reached};
use crate::message::{Body, Outbound};

#[derive(Debug, Default)]
struct Disk {
    full: AtomicBool,
    syncs: AtomicUsize,
    /// Held by a test to keep a commit from ending.
    gate: Mutex<()>,
}

#[derive(Debug)]
struct OnDisk {
    file: FileBackend,
    disk: Arc<Disk>,
}

impl OnDisk {
    fn room(&self) -> io::Result<()> {
        match self.disk.full.load(Ordering::SeqCst) {
            true => Err(io::ErrorKind::StorageFull.into()),
            false => Ok(()),
        }
    }
}

impl StorageBackend for OnDisk {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.room()?;
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        let _open = self.disk.gate.lock().unwrap_or_else(PoisonError::into_inner);
        self.room()?;
        self.disk.syncs.fetch_add(1, Ordering::SeqCst);
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.room()?;
        self.file.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.query_lock_range(start, end)
    }
}

type Result<T, E = crate::Error> = std::result::Result<T, E>;

/// A folder of its own, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("store-{}", ClientMsgId::random()));
        fs::create_dir(&path).expect("a folder");
        Self(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join("outbox.store")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

async fn open_on(disk: &Arc<Disk>, path: PathBuf) -> Result<DurableStore> {
    let disk = Arc::clone(disk);
    let make: Make = Box::new(move |file: File| {
        builder().create_with_backend(OnDisk { file: FileBackend::new(file)?, disk: Arc::clone(&disk) })
    });
    DurableStore::open_through(path, StoreLimits::default(), make).await
}

fn message(n: u64) -> StoredSend {
    let to = Address::parse("loopback://secret-inbox").expect("valid");
    let id = ClientMsgId::new(format!("m-{n}")).expect("valid");
    StoredSend::new(n, Outbound::new(to, Body::text("the plan")).with_id(id))
}

async fn positions(store: &DurableStore) -> Vec<u64> {
    store.load().await.expect("loaded").iter().map(|send| send.position).collect()
}

#[tokio::test]
async fn a_full_disk_refuses_loses_nothing_and_is_over_when_there_is_room() {
    let (folder, disk) = (Folder::new(), Arc::new(Disk::default()));
    let store = open_on(&disk, folder.file()).await.expect("opened");
    store.save(&message(1)).await.expect("saved");

    disk.full.store(true, Ordering::SeqCst);
    for n in 2..5 {
        let error = store.save(&message(n)).await.expect_err("no room");
        assert_eq!((error.kind(), error.advice()), (ErrorKind::Unexpected, Advice::Backoff), "{error:?}");
        assert_eq!((error.reached(), error.operation()), (Reached::No, "outbox.save"));
        assert!(error.to_string().contains("outbox.store"), "{error}");
        assert!(error.to_string().contains("no room on the disk"), "{error}");
        let shown = format!("{error:?}");
        assert!(!shown.contains("the plan") && !shown.contains("secret"), "{shown}");
    }

    disk.full.store(false, Ordering::SeqCst);
    store.save(&message(2)).await.expect("there is room again");
    store.save(&message(5)).await.expect("there is room again");
    let kept = positions(&store).await;
    assert!(kept.starts_with(&[1, 2]) && kept.ends_with(&[5]), "{kept:?}");
    store.close().await.expect("closed");
    let store = DurableStore::open(folder.file()).await.expect("opened");
    assert_eq!(positions(&store).await, kept);
}

#[tokio::test]
async fn one_failure_answers_everyone_who_shared_the_transaction() {
    let (folder, disk) = (Folder::new(), Arc::new(Disk::default()));
    let store = Arc::new(open_on(&disk, folder.file()).await.expect("opened"));
    disk.full.store(true, Ordering::SeqCst);
    let saves: Vec<_> = (0..20)
        .map(|n| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { store.save(&message(n)).await })
        })
        .collect();
    for save in saves {
        let error = save.await.expect("no panic").expect_err("no room");
        assert_eq!(error.advice(), Advice::Backoff);
    }
    assert_eq!(store.queue.calls_under_way(), 0);
}

#[tokio::test]
async fn saves_that_wait_share_one_sync_and_a_refusal_spares_its_neighbours() {
    let (folder, disk) = (Folder::new(), Arc::new(Disk::default()));
    let store = Arc::new(open_on(&disk, folder.file()).await.expect("opened"));
    let before_alone = disk.syncs.load(Ordering::SeqCst);
    store.save(&message(0)).await.expect("saved");
    let alone = disk.syncs.load(Ordering::SeqCst) - before_alone;

    let (holding, held) = tokio::sync::oneshot::channel();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let blocked = Arc::clone(&disk);
    let keeper = std::thread::spawn(move || {
        let gate = blocked.gate.lock().expect("free");
        holding.send(()).expect("awaited");
        let _ = released.recv();
        drop(gate);
    });
    held.await.expect("held");
    let before = disk.syncs.load(Ordering::SeqCst);
    let mut saves = Vec::new();
    for n in 1..=100 {
        let store = Arc::clone(&store);
        saves.push(tokio::spawn(async move { store.save(&message(n)).await }));
    }
    let other = {
        let store = Arc::clone(&store);
        let mut other = message(0);
        other.message.body = Body::text("another");
        tokio::spawn(async move { store.save(&other).await })
    };
    while store.queue.calls_under_way() < 101 {
        tokio::task::yield_now().await;
    }
    release.send(()).expect("awaited");
    keeper.join().expect("no panic");
    for save in saves {
        save.await.expect("no panic").expect("saved");
    }
    assert_eq!(other.await.expect("no panic").expect_err("other content").kind(), ErrorKind::Conflict);
    let together = disk.syncs.load(Ordering::SeqCst) - before;
    // The first of them may have gone alone; the others went together.
    assert!(together <= 2 * alone, "{together} syncs for 100 saves; {alone} for one");
    assert_eq!(positions(&store).await, (0..=100).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_dropped_save_is_whole_or_absent_and_the_store_goes_on() {
    let (folder, disk) = (Folder::new(), Arc::new(Disk::default()));
    let store = open_on(&disk, folder.file()).await.expect("opened");
    for n in 0..20 {
        let send = message(n);
        let mut save = store.save(&send);
        let _ = poll_once(save.as_mut());
        drop(save);
    }
    // Changes run in the order in which they queued, so the dropped ones are over.
    store.remove(message(3).id()).await.expect("removed");
    let expected: Vec<_> = (0..20).filter(|n| *n != 3).collect();
    assert_eq!(positions(&store).await, expected);
}

#[tokio::test]
async fn a_closed_store_says_so_and_releases_its_file() {
    let folder = Folder::new();
    let store = DurableStore::open(folder.file()).await.expect("opened");
    store.save(&message(1)).await.expect("saved");
    store.close().await.expect("closed");
    store.close().await.expect("closed already");
    let error = store.save(&message(2)).await.expect_err("closed");
    assert_eq!((error.kind(), error.advice()), (ErrorKind::Closed, Advice::Never));
    assert_eq!(store.load().await.expect_err("closed").kind(), ErrorKind::Closed);
    let again = DurableStore::open(folder.file()).await.expect("released");
    assert_eq!(positions(&again).await, [1]);
}

#[tokio::test]
async fn a_file_that_is_open_already_is_refused_until_it_is_free() {
    let folder = Folder::new();
    let first = DurableStore::open(folder.file()).await.expect("opened");
    let error = DurableStore::open(folder.file()).await.expect_err("taken");
    assert_eq!((error.kind(), error.advice()), (ErrorKind::Conflict, Advice::Backoff), "{error:?}");
    assert!(error.to_string().contains("outbox.store: already open"), "{error}");
    drop(first);
    DurableStore::open(folder.file()).await.expect("free again");
}

#[tokio::test]
async fn an_unknown_format_is_refused_with_the_file_and_both_versions() {
    let folder = Folder::new();
    DurableStore::open(folder.file()).await.expect("opened").close().await.expect("closed");
    let meta: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
    {
        let database = Database::open(folder.file()).expect("a database");
        let transaction = database.begin_write().expect("begun");
        transaction.open_table(meta).expect("there").insert("format", 7).expect("changed");
        transaction.commit().expect("committed");
    }
    let error = DurableStore::open(folder.file()).await.expect_err("unknown");
    assert_eq!((error.kind(), error.advice()), (ErrorKind::Config, Advice::Never));
    for part in ["outbox.store", "format 7", "format 1"] {
        assert!(error.to_string().contains(part), "{error}");
    }
}

#[tokio::test]
async fn what_is_no_store_is_refused_and_left_alone() {
    let folder = Folder::new();
    let long = [0; 9].into_iter().chain([b'x'; 8000]).collect::<Vec<u8>>();
    for content in [b"my diary".to_vec(), long, vec![b'x'; 100_000]] {
        fs::write(folder.file(), &content).expect("written");
        let error = DurableStore::open(folder.file()).await.expect_err("no store");
        assert_eq!((error.kind(), error.advice()), (ErrorKind::Config, Advice::Never), "{error:?}");
        assert_eq!(fs::read(folder.file()).expect("read"), content);
    }
    let theirs: TableDefinition<'_, u64, u64> = TableDefinition::new("theirs");
    fs::remove_file(folder.file()).expect("removed");
    {
        let database = Database::create(folder.file()).expect("created");
        let transaction = database.begin_write().expect("begun");
        transaction.open_table(theirs).expect("created").insert(1, 1).expect("kept");
        transaction.commit().expect("committed");
    }
    let error = DurableStore::open(folder.file()).await.expect_err("another database");
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("not a store of this library"), "{error}");

    let error = DurableStore::open(folder.0.join("no/folder/here")).await.expect_err("no folder");
    assert!(error.kind() == ErrorKind::Config && error.to_string().contains("folder"), "{error}");
}

#[tokio::test]
async fn a_creation_that_was_cut_short_is_begun_again() {
    let folder = Folder::new();
    DurableStore::open(folder.file()).await.expect("created").close().await.expect("closed");
    let length = fs::metadata(folder.file()).expect("there").len();
    // What a crash leaves: the room, and at most a header without its first bytes.
    let mut header = vec![0; 9];
    header.extend([1; 300]);
    for start in [Vec::new(), header] {
        let mut content = start;
        content.resize(usize::try_from(length).expect("small"), 0);
        fs::write(folder.file(), content).expect("written");
        let store = DurableStore::open(folder.file()).await.expect("begun again");
        store.save(&message(1)).await.expect("saved");
        assert_eq!(positions(&store).await, [1]);
    }
    fs::remove_file(folder.file()).expect("removed");
    drop(Database::create(folder.file()).expect("a database before its tables"));
    DurableStore::open(folder.file()).await.expect("begun again");
}

#[tokio::test]
async fn damage_is_found_when_the_file_is_opened() {
    let folder = Folder::new();
    let store = DurableStore::open(folder.file()).await.expect("opened");
    let mut large = message(1);
    large.message.body = Body::text("treasure ".repeat(1000));
    store.save(&large).await.expect("saved");
    store.close().await.expect("closed");
    let mut content = fs::read(folder.file()).expect("read");
    let at = content.windows(9).position(|part| part == b"treasure ").expect("in clear");
    content[at + 900] ^= 0xff;
    fs::write(folder.file(), content).expect("written");
    let error = DurableStore::open(folder.file()).await.expect_err("damaged");
    assert_eq!((error.kind(), error.advice()), (ErrorKind::Unexpected, Advice::Never), "{error:?}");
    assert!(error.to_string().contains("damaged"), "{error}");
}

#[cfg(unix)]
#[tokio::test]
async fn the_file_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new();
    let _store = DurableStore::open(folder.file()).await.expect("opened");
    let mode = fs::metadata(folder.file()).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn without_a_runtime_it_is_an_error_and_no_panic() {
    let folder = Folder::new();
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let store = runtime.block_on(DurableStore::open(folder.file())).expect("opened");
    drop(runtime);
    let send = message(1);
    for outcome in [at_once(store.save(&send)), at_once(store.load()).map(drop)] {
        let error = outcome.expect_err("no runtime");
        assert!(error.kind() == ErrorKind::Config && error.to_string().contains("runtime"), "{error}");
    }
    let error = at_once(DurableStore::open(folder.file())).expect_err("no runtime");
    assert!(error.to_string().contains("runtime"), "{error}");
    let other = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    other.block_on(store.insert("a", UNIX_EPOCH)).expect("another runtime serves as well");
}

/// Runs a future that never waits.
fn at_once<T>(future: impl Future<Output = T>) -> T {
    match poll_once(pin!(future)) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("it waits"),
    }
}

fn poll_once<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}
