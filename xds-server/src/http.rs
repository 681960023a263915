//! How HTTP clients are made here: with ring below their TLS.

use reqwest::ClientBuilder;
use rustls::crypto::ring;

/// A client that speaks TLS with whom this machine trusts.
pub(crate) fn client() -> ClientBuilder {
    // Only the first time has an effect, and whichever provider came first is there then.
    let _ = ring::default_provider().install_default();
    ClientBuilder::new()
}

/// A client for plain HTTP within one network, past any proxy. It trusts nobody, so that it neither reads the machine's
/// certificates nor needs there to be any.
pub(crate) fn plain_client() -> ClientBuilder {
    client().tls_certs_only([]).no_proxy()
}
