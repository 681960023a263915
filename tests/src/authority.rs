//! A private CA for Berth's own connections: of Envoys to the control plane, of Envoys to instances.

use std::path::{Path, PathBuf};
use std::{fs, io};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType, date_time_ymd,
};

use crate::{Error, Identity};

/// Signs certificates that are good for clients and for servers.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    /// A new one.
    ///
    /// # Errors
    /// [`Error::Crypto`].
    pub fn new() -> Result<Self, Error> {
        let key = KeyPair::generate().map_err(Error::crypto("a key pair"))?;
        let mut params = CertificateParams::default();
        // Who has the name of its issuer passes for one that has signed itself.
        params.distinguished_name = named("Berth test authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let certificate = params.self_signed(&key).map_err(Error::crypto("a CA"))?;
        Ok(Self {
            pem: certificate.pem(),
            issuer: Issuer::new(params, key),
        })
    }

    /// Its own certificate, in PEM.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// A certificate with this DNS name.
    ///
    /// # Errors
    /// [`Error::Crypto`].
    pub fn issue(&self, name: &str) -> Result<Identity, Error> {
        self.signed(name, |_| {})
    }

    /// One that was good once.
    ///
    /// # Errors
    /// [`Error::Crypto`].
    pub fn issue_expired(&self, name: &str) -> Result<Identity, Error> {
        self.signed(name, |params| {
            params.not_before = date_time_ymd(2001, 1, 1);
            params.not_after = date_time_ymd(2002, 1, 1);
        })
    }

    fn signed(
        &self,
        name: &str,
        describe: impl FnOnce(&mut CertificateParams),
    ) -> Result<Identity, Error> {
        let crypto = || Error::crypto("a certificate");
        let key = KeyPair::generate().map_err(Error::crypto("a key pair"))?;
        let mut params = CertificateParams::default();
        params.distinguished_name = named(name);
        params.subject_alt_names = vec![SanType::DnsName(name.try_into().map_err(crypto())?)];
        // Which of two authorities of one name it is.
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ClientAuth,
            ExtendedKeyUsagePurpose::ServerAuth,
        ];
        describe(&mut params);
        let certificate = params.signed_by(&key, &self.issuer).map_err(crypto())?;
        Ok(Identity {
            certificate: certificate.pem(),
            private_key: key.serialize_pem(),
        })
    }
}

fn named(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

/// Where somebody's certificate, its key and the CA that they trust are.
#[derive(Debug, Clone)]
pub struct IdentityFiles {
    /// Whom they trust.
    pub ca: PathBuf,
    /// Their certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub private_key: PathBuf,
}

impl IdentityFiles {
    /// Those in this folder, which is made.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn create(folder: &Path, identity: &Identity, ca: &str) -> Result<Self, Error> {
        fs::create_dir_all(folder).map_err(Error::io(folder.display()))?;
        let files = Self {
            ca: folder.join("ca.pem"),
            certificate: folder.join("cert.pem"),
            private_key: folder.join("key.pem"),
        };
        files.replace(identity, ca)?;
        Ok(files)
    }

    /// Puts others in their places, as a tool does that renews certificates: by renaming, the key first.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn replace(&self, identity: &Identity, ca: &str) -> Result<(), Error> {
        for (path, pem) in [
            (&self.ca, ca),
            (&self.private_key, &identity.private_key),
            (&self.certificate, &identity.certificate),
        ] {
            replace(path, pem).map_err(Error::io(path.display()))?;
        }
        Ok(())
    }
}

fn replace(path: &Path, pem: &str) -> io::Result<()> {
    let new = path.with_extension("new");
    fs::write(&new, pem)?;
    fs::rename(new, path)
}
