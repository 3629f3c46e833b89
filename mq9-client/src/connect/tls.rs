//! TLS by rustls with the ring provider named explicitly, so that no process-wide default decides.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use async_nats::rustls;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use crate::connect::ConnectOptions;
use crate::error::{Error, ErrorKind, Result};

/// The TLS configuration. There is always one, even for plain connections: the server may demand TLS, and
/// then NATS would otherwise fall back to the process's default provider.
pub(crate) fn config(options: &ConnectOptions, required: bool) -> Result<ClientConfig> {
    let roots = match &options.tls_roots {
        Some(path) => given_roots(path)?,
        None => match system_roots() {
            Some(roots) => roots.clone(),
            None if required => {
                return Err(fault("the system has no trusted certificates: give TLS roots"));
            }
            None => RootCertStore::empty(),
        },
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| fault("no TLS version is usable").with_source(error))?
        .with_root_certificates(roots);
    let Some((chain, key)) = &options.client_certificate else {
        return Ok(builder.with_no_client_auth());
    };
    let key = PrivateKeyDer::from_pem_file(key)
        .map_err(|error| fault("the client key file cannot be read").with_source(error.to_string()))?;
    builder
        .with_client_auth_cert(certificates(chain, "the client certificate file")?, key)
        .map_err(|error| fault("client certificate and key cannot be used").with_source(error))
}

fn given_roots(path: &Path) -> Result<RootCertStore> {
    let mut store = RootCertStore::empty();
    for certificate in certificates(path, "the TLS roots file")? {
        store
            .add(certificate)
            .map_err(|error| fault("the TLS roots file holds no usable root").with_source(error))?;
    }
    Ok(store)
}

/// The system's roots, read once for the life of the process. `SSL_CERT_FILE` and `SSL_CERT_DIR` take
/// their place where set.
fn system_roots() -> Option<&'static RootCertStore> {
    static ROOTS: OnceLock<Option<RootCertStore>> = OnceLock::new();
    ROOTS
        .get_or_init(|| {
            let mut store = RootCertStore::empty();
            // One odd certificate in the system's bundle must not cost all the others.
            store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            (!store.is_empty()).then_some(store)
        })
        .as_ref()
}

fn certificates(path: &Path, what: &str) -> Result<Vec<CertificateDer<'static>>> {
    let unreadable = |error: rustls::pki_types::pem::Error| {
        fault(&format!("{what} cannot be read")).with_source(error.to_string())
    };
    let found = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<std::result::Result<Vec<_>, _>>)
        .map_err(unreadable)?;
    if found.is_empty() { Err(fault(&format!("{what} holds no certificate"))) } else { Ok(found) }
}

fn fault(what: &str) -> Error {
    Error::new(ErrorKind::Config, "tls", what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unreadable_material_is_named() {
        let missing = "/nonexistent/material.pem";
        for (options, reason) in [
            (ConnectOptions::new().with_tls_roots(missing), "TLS roots file"),
            (ConnectOptions::new().with_tls_roots(file!()), "TLS roots file"),
        ] {
            let error = config(&options, false).expect_err(reason);
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.to_string().contains(reason), "{error}");
        }
    }
}
