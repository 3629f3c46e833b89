//! The TLS provider is chosen by this crate, never by the process. Alone in its file, since the question
//! is about the whole process.

#![cfg(feature = "test-broker")]

mod support;

use mq9_client::ConnectOptions;
use mq9_client::testing::NatsServer;
use support::certs::Certs;
use support::installed;

#[tokio::test]
async fn a_tls_connection_neither_needs_nor_installs_a_process_wide_provider() {
    if !installed("nats-server", NatsServer::available()) || !installed("openssl", Certs::available()) {
        return;
    }
    let certs = Certs::make();
    let server = NatsServer::builder().tls(certs.pem("server"), certs.key("server")).start().await;
    let server = server.expect("a server");
    let options = ConnectOptions::new().with_tls_roots(certs.pem("ca")).with_probe(false);
    options.connect(&server.mq9_url()).await.expect("connects");
    assert!(async_nats::rustls::crypto::CryptoProvider::get_default().is_none());
}
