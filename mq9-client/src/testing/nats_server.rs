//! A real `nats-server` for the time of a test.

use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::Instant;

use super::broker::bind;

/// A `nats-server` process on 127.0.0.1 and a free port. Killed when dropped.
///
/// The binary is the one `NATS_SERVER` names in the environment, else the `nats-server` found in `PATH`
/// or where Debian's package puts it.
#[derive(Debug)]
pub struct NatsServer {
    process: Option<Child>,
    /// Keeps the port from being given away while the process is down.
    reserved: Option<TcpSocket>,
    options: NatsServerBuilder,
    directory: ScratchDir,
    port: u16,
}

/// What a [`NatsServer`] asks of its clients.
#[derive(Clone, Default)]
#[must_use = "a builder does nothing before it is started"]
pub struct NatsServerBuilder {
    users: Vec<Value>,
    token: Option<String>,
    certificate: Option<(PathBuf, PathBuf)>,
    client_roots: Option<PathBuf>,
    max_payload: Option<usize>,
    port: Option<u16>,
}

impl NatsServer {
    /// Whether there is a `nats-server` to start.
    #[must_use]
    pub fn available() -> bool {
        binary().is_some()
    }

    /// Starts one that anybody may use.
    ///
    /// # Errors
    ///
    /// As [`NatsServerBuilder::start`].
    pub async fn start() -> io::Result<Self> {
        Self::builder().start().await
    }

    /// Starts one that asks for something.
    pub fn builder() -> NatsServerBuilder {
        NatsServerBuilder::default()
    }

    /// Where NATS clients connect, without credentials: `nats://127.0.0.1:PORT`, with TLS `tls://…`.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = if self.options.certificate.is_some() { "tls" } else { "nats" };
        format!("{scheme}://127.0.0.1:{}", self.port)
    }

    /// The same for mq9 clients: `mq9://…`, with TLS `mq9s://…`.
    #[must_use]
    pub fn mq9_url(&self) -> String {
        let scheme = if self.options.certificate.is_some() { "mq9s" } else { "mq9" };
        format!("{scheme}://127.0.0.1:{}", self.port)
    }

    /// The port; the same for the server's whole life.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Kills the process. Clients are refused until [`NatsServer::up`]; nobody else gets the port.
    ///
    /// # Errors
    ///
    /// If another process took the port in the moment between.
    pub fn down(&mut self) -> io::Result<()> {
        if let Some(process) = self.process.take() {
            end(process);
            self.reserved = Some(bind(self.port)?);
        }
        Ok(())
    }

    /// Starts the process again on the same port. Nothing happens if it is up already.
    ///
    /// # Errors
    ///
    /// As [`NatsServerBuilder::start`].
    pub async fn up(&mut self) -> io::Result<()> {
        if self.process.is_none() {
            let (process, _) = launch(&self.options, &self.directory, Some(self.port)).await?;
            self.process = Some(process);
            self.reserved = None;
        }
        Ok(())
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        if let Some(process) = self.process.take() {
            end(process);
        }
    }
}

impl NatsServerBuilder {
    /// Lets this user in. May be called for several.
    pub fn user(mut self, user: &str, password: &str) -> Self {
        self.users.push(json!({ "user": user, "password": password }));
        self
    }

    /// Lets the holder of this nkey in, given as its public key. May be called for several.
    pub fn nkey_user(mut self, public_key: &str) -> Self {
        self.users.push(json!({ "nkey": public_key }));
        self
    }

    /// Lets in who gives this token. nats-server does not take it together with users.
    pub fn token(mut self, token: &str) -> Self {
        self.token = Some(token.to_owned());
        self
    }

    /// Requires TLS, with this certificate chain and key, both PEM files.
    pub fn tls(mut self, certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.certificate = Some((certificate.into(), key.into()));
        self
    }

    /// Lets in only clients with a certificate of the authorities in this PEM file. Needs
    /// [`NatsServerBuilder::tls`].
    pub fn verify_clients(mut self, authorities: impl Into<PathBuf>) -> Self {
        self.client_roots = Some(authorities.into());
        self
    }

    /// The largest payload in bytes, headers included; 1 MiB by default.
    pub fn max_payload(mut self, bytes: usize) -> Self {
        self.max_payload = Some(bytes);
        self
    }

    /// Listens on this port instead of a free one.
    pub fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// Starts the process and returns once it greets clients.
    ///
    /// # Errors
    ///
    /// If there is no binary ([`io::ErrorKind::NotFound`]), it ends (with the end of its log in the error),
    /// or it greets nobody within 10 s.
    pub async fn start(self) -> io::Result<NatsServer> {
        let directory = ScratchDir::new()?;
        let (process, port) = launch(&self, &directory, self.port).await?;
        Ok(NatsServer { process: Some(process), reserved: None, options: self, directory, port })
    }

    fn config(&self, directory: &Path, port: Option<u16>) -> Value {
        let mut config = Map::new();
        config.insert("host".into(), json!(Ipv4Addr::LOCALHOST));
        config.insert("port".into(), port.map_or(json!(-1), |port| json!(port)));
        config.insert("ports_file_dir".into(), json!(directory));
        if let Some(bytes) = self.max_payload {
            config.insert("max_payload".into(), json!(bytes));
        }
        let mut authorization = Map::new();
        if !self.users.is_empty() {
            authorization.insert("users".into(), json!(self.users));
        }
        if let Some(token) = &self.token {
            authorization.insert("token".into(), json!(token));
        }
        if !authorization.is_empty() {
            config.insert("authorization".into(), authorization.into());
        }
        if let Some((certificate, key)) = &self.certificate {
            let mut tls = json!({ "cert_file": certificate, "key_file": key });
            if let Some(roots) = &self.client_roots {
                tls["ca_file"] = json!(roots);
                tls["verify"] = json!(true);
            }
            config.insert("tls".into(), tls);
        }
        config.into()
    }
}

impl std::fmt::Debug for NatsServerBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NatsServerBuilder")
            .field("users", &self.users.len())
            .field("token", &self.token.is_some())
            .field("tls", &self.certificate.is_some())
            .field("max_payload", &self.max_payload)
            .finish_non_exhaustive()
    }
}

async fn launch(
    options: &NatsServerBuilder,
    directory: &ScratchDir,
    port: Option<u16>,
) -> io::Result<(Child, u16)> {
    let binary =
        binary().ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "there is no nats-server"))?;
    let directory = directory.0.as_path();
    // Its syntax is a superset of JSON.
    let config_file = directory.join("server.conf");
    fs::write(&config_file, options.config(directory, port).to_string())?;
    let log_file = directory.join("log");
    let log = fs::File::create(&log_file)?;
    let child = Command::new(&binary)
        .arg("--config")
        .arg(&config_file)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()?;
    let name = binary.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let ports_file = directory.join(format!("{name}_{}.ports", child.id()));
    let mut guard = KillOnDrop(Some(child));
    let port = guard.wait_ready(&ports_file, &log_file).await?;
    guard.0.take().map(|child| (child, port)).ok_or_else(|| io::ErrorKind::Other.into())
}

/// Ends a process whose start was given up.
struct KillOnDrop(Option<Child>);

impl KillOnDrop {
    async fn wait_ready(&mut self, ports_file: &Path, log_file: &Path) -> io::Result<u16> {
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            if let Some(status) = self.0.as_mut().map(Child::try_wait).transpose()?.flatten() {
                return Err(failure(&format!("nats-server ended with {status}"), log_file));
            }
            if let Some(port) = listening_port(ports_file)
                && greets(port).await
            {
                return Ok(port);
            }
            if Instant::now() >= deadline {
                return Err(failure("nats-server greets nobody", log_file));
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        if let Some(child) = self.0.take() {
            end(child);
        }
    }
}

/// The port from the file nats-server writes once it listens. `None`: not written, or not all of it.
fn listening_port(ports_file: &Path) -> Option<u16> {
    let ports: Value = serde_json::from_slice(&fs::read(ports_file).ok()?).ok()?;
    let (_, port) = ports["nats"][0].as_str()?.rsplit_once(':')?;
    port.parse().ok()
}

async fn greets(port: u16) -> bool {
    let greeting = async {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
        let mut first = [0; 4];
        stream.read_exact(&mut first).await.map(|_| first)
    };
    matches!(tokio::time::timeout(GREETING_TIMEOUT, greeting).await, Ok(Ok(first)) if &first == b"INFO")
}

fn failure(what: &str, log_file: &Path) -> io::Error {
    let log = fs::read_to_string(log_file).unwrap_or_default();
    let end: Vec<&str> = log.lines().rev().take(3).collect();
    io::Error::other(format!("{what}: {}", end.into_iter().rev().collect::<Vec<_>>().join("; ")))
}

fn end(mut process: Child) {
    // Both fail only if it has ended already.
    let _ = process.kill();
    let _ = process.wait();
}

fn binary() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("NATS_SERVER") {
        return Some(PathBuf::from(named)).filter(|path| path.is_file());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Debian installs to a directory that is not in every user's PATH.
    let places = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    places.map(|place| place.join("nats-server")).find(|file| file.is_file())
}

/// A directory of this server's own, readable by this user only, since the configuration holds passwords.
#[derive(Debug)]
struct ScratchDir(PathBuf);

impl ScratchDir {
    fn new() -> io::Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("mq9-nats-{}-{count}-{:08x}", std::process::id(), fastrand::u32(..));
        let path = std::env::temp_dir().join(name);
        let mut builder = fs::DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(&path)?;
        Ok(ScratchDir(path))
    }
}

impl Drop for ScratchDir {
    fn drop(&mut self) {
        // What remains is a few hundred bytes in the system's temporary directory.
        let _ = fs::remove_dir_all(&self.0);
    }
}

const START_TIMEOUT: Duration = Duration::from_secs(10);
const GREETING_TIMEOUT: Duration = Duration::from_secs(1);
const POLL: Duration = Duration::from_millis(5);
