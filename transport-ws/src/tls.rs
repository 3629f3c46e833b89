//! TLS by rustls with the ring provider named explicitly, so that no process-wide default decides.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use agentchat_core::{Error, ErrorKind, Result};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use crate::config::AgentChatConfig;

/// The TLS configuration of both HTTP and WebSocket. There is always one, even where the base is plain:
/// uploads go to other hosts.
pub(crate) fn config(config: &AgentChatConfig) -> Result<ClientConfig> {
    match config.tls_roots() {
        Some(path) => with_roots(given_roots(path)?),
        None => match system() {
            Some(shared) => Ok(shared.clone()),
            None if config.base.is_tls() => {
                Err(fault("the system has no trusted certificates: give TLS roots"))
            }
            None => with_roots(RootCertStore::empty()),
        },
    }
}

fn with_roots(roots: RootCertStore) -> Result<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| fault("no TLS version is usable").with_source(error))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

fn given_roots(path: &Path) -> Result<RootCertStore> {
    let unreadable = |error: rustls::pki_types::pem::Error| {
        fault("the TLS roots file cannot be read").with_source(error.to_string())
    };
    let found = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<std::result::Result<Vec<_>, _>>)
        .map_err(unreadable)?;
    if found.is_empty() {
        return Err(fault("the TLS roots file holds no certificate"));
    }
    let mut store = RootCertStore::empty();
    for certificate in found {
        store
            .add(certificate)
            .map_err(|error| fault("the TLS roots file holds no usable root").with_source(error))?;
    }
    Ok(store)
}

/// The configuration with the system's roots, which are read once for the life of the process.
/// `SSL_CERT_FILE` and `SSL_CERT_DIR` take their place where set. Clones share the roots and the sessions to
/// resume: a set of its own for each agent is a hundred kilobytes.
fn system() -> Option<&'static ClientConfig> {
    static SYSTEM: OnceLock<Option<ClientConfig>> = OnceLock::new();
    SYSTEM
        .get_or_init(|| {
            let mut store = RootCertStore::empty();
            // One odd certificate in the system's bundle must not cost all the others.
            store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if store.is_empty() { None } else { with_roots(store).ok() }
        })
        .as_ref()
}

fn fault(what: &str) -> Error {
    Error::new(ErrorKind::Config, "tls", what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::ApiKey;

    #[test]
    fn unreadable_roots_are_named() {
        for path in ["/nonexistent/roots.pem", file!()] {
            let key = ApiKey::new("ac_0123456789abcdefghij").expect("valid");
            let settings = AgentChatConfig::builder(key).with_tls_roots(path).build().expect("checked later");
            let error = config(&settings).expect_err(path);
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.to_string().contains("TLS roots file"), "{error}");
        }
    }
}
