//! A `nats-server` with a configuration of the test's own.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Killed when dropped.
pub struct Configured {
    process: Child,
    dir: PathBuf,
    port: u16,
}

impl Configured {
    /// Starts one on a free port with these lines besides.
    pub async fn start(lines: &str) -> Self {
        let dir = super::scratch_dir("nats");
        let config = dir.join("nats.conf");
        let text = format!("listen: \"127.0.0.1:-1\"\nports_file_dir: {dir:?}\n{lines}\n");
        std::fs::write(&config, text).expect("the configuration is written");
        let binary = std::env::var_os("NATS_SERVER").unwrap_or_else(|| {
            let debian = PathBuf::from("/usr/sbin/nats-server");
            if debian.is_file() { debian.into() } else { "nats-server".into() }
        });
        let log = std::fs::File::create(dir.join("log")).expect("a log");
        let process = Command::new(binary)
            .arg("--config")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("nats-server starts");
        let mut server = Self { process, dir, port: 0 };
        server.port = super::within(10, "nats-server", async {
            loop {
                if let Some(port) = server.announced() {
                    return port;
                }
                let log = || std::fs::read_to_string(server.dir.join("log")).unwrap_or_default();
                assert!(
                    server.process.try_wait().expect("a child").is_none(),
                    "nats-server ended: {}",
                    log()
                );
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
        server
    }

    pub fn authority(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The port from the file nats-server writes once it listens.
    fn announced(&self) -> Option<u16> {
        let entries = std::fs::read_dir(&self.dir).ok()?;
        let file =
            entries.flatten().find(|entry| entry.path().extension().is_some_and(|end| end == "ports"))?;
        let ports: serde_json::Value = serde_json::from_slice(&std::fs::read(file.path()).ok()?).ok()?;
        ports["nats"][0].as_str()?.rsplit_once(':')?.1.parse().ok()
    }
}

impl Drop for Configured {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}
