//! TLS by rustls with the ring provider named explicitly, so that no process-wide default decides.

use std::error::Error as StdError;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use agentchat_core::{Error, ErrorKind, Result};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use crate::config::AgentChatConfig;

/// The TLS configuration of both HTTP and WebSocket. There is always one, even where the base is plain:
/// uploads go to other hosts.
pub(crate) fn config(config: &AgentChatConfig) -> Result<Arc<ClientConfig>> {
    if let Some(path) = config.extra_tls_roots() {
        return with_extra(path, config.tls_roots());
    }
    match config.tls_roots() {
        Some(path) => with_roots(given_roots(path)?),
        None => match system() {
            Some(shared) => Ok(Arc::clone(shared)),
            None if config.base.is_tls() => {
                Err(fault("the system has no trusted certificates: give TLS roots"))
            }
            None => with_roots(RootCertStore::empty()),
        },
    }
}

/// What is wrong with the server's certificate, when that is why a connection failed, and whether only other
/// settings can help: a certificate that has expired may be renewed.
pub(crate) fn untrusted(error: &(dyn StdError + 'static)) -> Option<(&'static str, bool)> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(rustls::Error::InvalidCertificate(fault)) = error.downcast_ref() {
            use rustls::CertificateError::{
                Expired, ExpiredContext, NotValidForName, NotValidForNameContext, NotValidYet,
                NotValidYetContext, UnknownIssuer,
            };
            return Some(match fault {
                UnknownIssuer => ("TLS: no trusted root has signed the server's certificate", true),
                NotValidForName | NotValidForNameContext { .. } => {
                    ("TLS: the server's certificate is for another host", true)
                }
                Expired | ExpiredContext { .. } => ("TLS: the server's certificate has expired", false),
                NotValidYet | NotValidYetContext { .. } => {
                    ("TLS: the server's certificate is not valid yet", false)
                }
                _ => ("TLS: the server's certificate is not valid", false),
            });
        }
        // An I/O error leaves out what it is made of when it is asked for its source.
        let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        cause = inner.map_or_else(|| error.source(), |inner| Some(inner as &(dyn StdError + 'static)));
    }
    None
}

fn with_extra(extra: &Path, roots: Option<&Path>) -> Result<Arc<ClientConfig>> {
    let mut store = match roots {
        Some(path) => given_roots(path)?,
        None => {
            let mut store = RootCertStore::empty();
            store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            store
        }
    };
    store.roots.extend(given_roots(extra)?.roots);
    with_roots(store)
}

fn with_roots(roots: RootCertStore) -> Result<Arc<ClientConfig>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| fault("no TLS version is usable").with_source(error))?;
    Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
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
/// `SSL_CERT_FILE` and `SSL_CERT_DIR` take their place where set. All agents share it, and with it the sessions
/// to resume: a set of roots of its own for each is a hundred kilobytes.
fn system() -> Option<&'static Arc<ClientConfig>> {
    static SYSTEM: OnceLock<Option<Arc<ClientConfig>>> = OnceLock::new();
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
            let builder = AgentChatConfig::builder(key);
            for builder in [builder.clone().with_tls_roots(path), builder.with_extra_tls_roots(path)] {
                let error = config(&builder.build().expect("checked later")).expect_err(path);
                assert_eq!(error.kind(), ErrorKind::Config);
                assert!(error.to_string().contains("TLS roots file"), "{error}");
            }
        }
    }
}
