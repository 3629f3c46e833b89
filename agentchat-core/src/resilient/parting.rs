//! Leaving the last attachment of a session.

use std::time::Duration;

use tokio::time::timeout;

use super::driver::{SILENT, of_attachment};
use crate::error::{Error, ErrorKind, Result};
use crate::options::CloseMode;
use crate::transport::Transport;

/// Closes it, within `limit`. One that somebody else has closed is where it should be, unless it was to
/// unregister.
pub(super) async fn part(transport: &dyn Transport, mode: CloseMode, limit: Duration) -> Result<()> {
    let closed = timeout(limit, transport.close(mode)).await;
    match closed.unwrap_or_else(|_| Err(Error::new(ErrorKind::Timeout, "close", SILENT))) {
        Err(error) if error.kind() == ErrorKind::Closed && mode == CloseMode::Detach => Ok(()),
        closed => closed.map_err(of_attachment),
    }
}
