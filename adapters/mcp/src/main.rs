//! The program: AgentChat and mq9 as MCP tools over stdin and stdout.

mod log;

use std::process::ExitCode;
use std::time::Duration;

use agentchat_core::{EnvReader, Error, ErrorKind, Result};
use agentchat_mcp::{Adapter, Settings, Start};

fn main() -> ExitCode {
    let settings = match Start::read(std::env::args().skip(1)) {
        Ok(Start::Serve(settings)) => settings,
        Ok(Start::Print(text)) => {
            print!("{text}");
            return ExitCode::SUCCESS;
        }
        Ok(_) => return ExitCode::FAILURE,
        Err(error) => return failed(&error),
    };
    log::to_stderr(settings.log.as_deref().unwrap_or("warn"));
    match run(&settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

fn run(settings: &Settings) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(|error| {
        Error::new(ErrorKind::Unexpected, "start", "the runtime cannot be made").with_source(error)
    })?;
    let served = runtime.block_on(async {
        // Listened to from the start on, so that no signal is missed.
        let mut stop = std::pin::pin!(stop_signal());
        let env = EnvReader::process();
        let adapter = tokio::select! {
            adapter = Adapter::from_env(&env, settings) => adapter?,
            () = &mut stop => return Ok(()),
        };
        tracing::info!(target: "agentchat_mcp", tools = adapter.tools().len(), "serving");
        adapter.serve_stdio(stop).await
    });
    // A read of stdin that is under way cannot be taken back.
    runtime.shutdown_timeout(Duration::from_millis(100));
    served
}

#[cfg(unix)]
fn stop_signal() -> impl Future<Output = ()> {
    use tokio::signal::unix::{SignalKind, signal};
    let signals = [SignalKind::terminate(), SignalKind::interrupt()].map(|kind| signal(kind).ok());
    async move {
        let [terminate, interrupt] = signals.map(|signal| async move {
            match signal {
                Some(mut signal) => drop(signal.recv().await),
                None => std::future::pending().await,
            }
        });
        tokio::select! {
            () = terminate => {}
            () = interrupt => {}
        }
    }
}

#[cfg(not(unix))]
async fn stop_signal() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}

fn failed(error: &Error) -> ExitCode {
    eprintln!("agentchat-mcp: {error}");
    match error.kind() {
        ErrorKind::Config => ExitCode::from(2),
        _ => ExitCode::FAILURE,
    }
}
