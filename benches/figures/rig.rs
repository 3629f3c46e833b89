//! What the figures share: a broker on a thread of its own, paired runs, medians.

use std::future::Future;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use mq9_client::testing::{Broker, EngineHost, EngineProfile};

/// The embedded broker, served by another thread than the clients'.
pub struct Server {
    pub url: String,
    pub nats_url: String,
    pub host: EngineHost,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Server {
    pub fn start() -> Self {
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let (tell, told) = mpsc::channel();
        let serve = move || {
            pin(0);
            block_on(async move {
                let broker =
                    Broker::builder().engine(EngineProfile::robustmq()).start().await.expect("a free port");
                let _ = tell.send((broker.url(), broker.nats_url(), broker.host().clone()));
                let _ = stopped.await;
            });
        };
        let thread = thread::Builder::new().name("servers".to_owned()).spawn(serve).expect("a thread");
        let (url, nats_url, host) = told.recv().expect("the broker starts");
        Self { url, nats_url, host, stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Keeps this thread on one core: servers on the first, clients on the second. Where the scheduler may
/// put both on one core, a round trip costs a fifth or five times as much from one run to the next.
pub fn pin(place: usize) {
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    if cores.len() > place && !core_affinity::set_for_current(cores[place]) {
        eprintln!("this thread could not be kept on one core; the figures will vary more");
    }
}

/// Runs `work` on a runtime of this thread alone.
pub fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(work)
}

/// How often something happened per second.
pub fn per_second(count: usize, elapsed: Duration) -> f64 {
    count as f64 / elapsed.as_secs_f64()
}

/// The time `work` takes.
pub async fn timed(work: impl Future<Output = ()>) -> Duration {
    let start = Instant::now();
    work.await;
    start.elapsed()
}

/// Seconds of processor time that the threads of this process have used. Linux only.
pub fn process_cpu() -> f64 {
    let tasks = std::fs::read_dir("/proc/self/task").expect("this figure needs Linux");
    let stats =
        tasks.flatten().filter_map(|task| std::fs::read_to_string(task.path().join("schedstat")).ok());
    let nanos = stats.filter_map(|stat| stat.split_whitespace().next()?.parse::<f64>().ok());
    nanos.sum::<f64>() / 1e9
}

/// The median.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Prints a figure, and behind it what it was made of.
pub fn print(name: &str, value: f64, unit: &str, detail: &str) {
    println!("figure {name} {value:.3} {unit}");
    if !detail.is_empty() {
        println!("       {detail}");
    }
}

/// Prints the median of ratios, with the rates of the last round.
pub fn print_ratio(name: &str, rounds: &[(f64, f64)], what: &str) {
    let ratios: Vec<f64> = rounds.iter().map(|(ours, raw)| ours / raw).collect();
    let (low, high) = ratios.iter().fold((f64::MAX, 0.0_f64), |(low, high), r| (low.min(*r), high.max(*r)));
    let ours = median(rounds.iter().map(|round| round.0).collect());
    let raw = median(rounds.iter().map(|round| round.1).collect());
    let detail = format!(
        "ours {ours:.0}, raw {raw:.0} {what}; ratios {low:.2} to {high:.2} over {} rounds",
        rounds.len()
    );
    print(name, median(ratios), "ratio", &detail);
}

/// Rounds of each figure.
pub const ROUNDS: usize = 9;
/// The size of a message.
pub const PAYLOAD: usize = 300;
