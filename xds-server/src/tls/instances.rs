//! What proxies and instances show each other: read from files, and again when these change.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustls::crypto::ring;
use tokio::time::MissedTickBehavior;
use tracing::warn;

use super::files::{certificates, certified, read_file};
use super::reload::Readings;
use crate::certificates::CertificateError;
use crate::controller::Controller;
use crate::placement::PoolName;
use crate::xds::{Certificate, InstanceTls};

/// The files of a pool whose instances are reached by TLS; absolute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceFiles {
    /// Who signs the instances' certificates, PEM.
    pub ca: PathBuf,
    /// What proxies show the instances, if these ask.
    pub certificate: Option<PairFiles>,
    /// The name that each instance's certificate has; `None`: the instance's own.
    pub server_name: Option<String>,
}

/// The files of a certificate and its key; absolute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PairFiles {
    /// PEM, leaf first.
    pub certificate_chain: PathBuf,
    /// The leaf's key, PEM.
    pub private_key: PathBuf,
}

/// What was read of [`InstanceFiles`].
#[derive(Clone, PartialEq, Eq)]
pub struct InstanceContents {
    /// Of the authorities' file.
    pub ca: Vec<u8>,
    /// Of the chain's and of the key's file.
    pub certificate: Option<(Vec<u8>, Vec<u8>)>,
}

impl InstanceFiles {
    fn read(
        &self,
        read: &dyn Fn(&Path) -> io::Result<Vec<u8>>,
    ) -> Result<InstanceContents, CertificateError> {
        let pair = |files: &PairFiles| -> Result<_, CertificateError> {
            let chain = read_file(&files.certificate_chain, read)?;
            Ok((chain, read_file(&files.private_key, read)?))
        };
        Ok(InstanceContents {
            ca: read_file(&self.ca, read)?,
            certificate: self.certificate.as_ref().map(pair).transpose()?,
        })
    }

    /// What proxies are to be told.
    ///
    /// # Errors
    /// [`CertificateError`], of the first file that is wrong.
    pub fn instance_tls(
        &self,
        contents: &InstanceContents,
    ) -> Result<InstanceTls, CertificateError> {
        let no_ca = || CertificateError::NoAuthority(self.ca.clone());
        certificates(&contents.ca).ok_or_else(no_ca)?;
        let ca_pem = String::from_utf8(contents.ca.clone()).map_err(|_| no_ca())?;
        let pair = self.certificate.as_ref().zip(contents.certificate.as_ref());
        let certificate = pair.map(|(files, (chain, key))| {
            let PairFiles {
                certificate_chain,
                private_key,
            } = files;
            let provider = ring::default_provider();
            certified((certificate_chain, chain), (private_key, key), &provider)?;
            let no_certificate = |_| CertificateError::NoCertificate(certificate_chain.clone());
            let no_private_key = |_| CertificateError::NoPrivateKey(private_key.clone());
            Ok(Certificate {
                chain_pem: String::from_utf8(chain.clone()).map_err(no_certificate)?,
                private_key_pem: String::from_utf8(key.clone()).map_err(no_private_key)?,
            })
        });
        Ok(InstanceTls {
            ca_pem,
            certificate: certificate.transpose()?,
            server_name: self.server_name.clone(),
        })
    }
}

/// Tells the controller what the pools' files hold, whenever that is something else. While they do not hold what they
/// should, it stays as it was.
pub async fn watch_instances(pools: Vec<(PoolName, InstanceFiles)>, controller: Controller) {
    let mut watched: Vec<_> = pools
        .into_iter()
        .map(|(pool, files)| (pool, files, Readings::default()))
        .collect();
    let mut ticks = tokio::time::interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        for (pool, files, readings) in &mut watched {
            let to_read = files.clone();
            // A file system that hangs holds up nothing else.
            let reading =
                tokio::task::spawn_blocking(move || to_read.read(&|path| std::fs::read(path)));
            let Ok(reading) = reading.await else { continue };
            let told = match readings.look(reading, |contents| files.instance_tls(contents)) {
                Some(Ok(tls)) => controller.reach_by_tls(pool.clone(), tls).await,
                Some(Err(error)) => {
                    warn!(
                        %pool,
                        %error,
                        "the files of `instance_tls` cannot be used; proxies go on with what they have"
                    );
                    Ok(())
                }
                None => Ok(()),
            };
            if told.is_err() {
                return;
            }
        }
    }
}

/// From one reading to the next.
const PERIOD: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::files::tests::Authority;

    #[test]
    fn files_that_do_not_fit_are_named() {
        let ca = Authority::new();
        let (chain, key) = ca.server("edge-1");
        let (_, other_key) = ca.server("edge-1");
        let files = InstanceFiles {
            ca: "/tls/ca.pem".into(),
            certificate: Some(PairFiles {
                certificate_chain: "/tls/cert.pem".into(),
                private_key: "/tls/key.pem".into(),
            }),
            server_name: Some("runtime.example".to_owned()),
        };
        let contents = |ca: &str, chain: &str, key: &str| InstanceContents {
            ca: ca.into(),
            certificate: Some((chain.into(), key.into())),
        };
        let good = contents(&ca.pem(), &chain, &key);
        let expected = InstanceTls {
            ca_pem: ca.pem(),
            certificate: Some(Certificate {
                chain_pem: chain.clone(),
                private_key_pem: key.clone(),
            }),
            server_name: Some("runtime.example".to_owned()),
        };
        assert_eq!(files.instance_tls(&good), Ok(expected));
        let mismatch = CertificateError::KeyMismatch {
            key: "/tls/key.pem".into(),
            chain: "/tls/cert.pem".into(),
        };
        for (contents, expected) in [
            (
                contents(&key, &chain, &key),
                CertificateError::NoAuthority("/tls/ca.pem".into()),
            ),
            (
                contents(&ca.pem(), &key, &key),
                CertificateError::NoCertificate("/tls/cert.pem".into()),
            ),
            (
                contents(&ca.pem(), &chain, &chain),
                CertificateError::NoPrivateKey("/tls/key.pem".into()),
            ),
            (contents(&ca.pem(), &chain, &other_key), mismatch),
        ] {
            assert_eq!(files.instance_tls(&contents), Err(expected));
        }
    }
}
