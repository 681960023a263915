//! A development CA, and the certificate Envoy serves with it.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};

use crate::{Error, SigningKeys};

/// Files of one CA and of one leaf for `localhost`.
#[derive(Debug, Clone)]
pub struct Certificates {
    /// What a client trusts.
    pub ca: PathBuf,
    /// The CA itself, if it was made here: its key is in no file, for there are browsers that trust it.
    authority: Option<Arc<Issuer<'static, KeyPair>>>,
    /// What Envoy serves.
    pub chain: PathBuf,
    /// Its key.
    pub private_key: PathBuf,
}

/// A certificate and its key, in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    /// The certificate.
    pub chain: String,
    /// Its key.
    pub private_key: String,
}

/// What kind of key a certificate has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// Another one each time.
    EcdsaP256,
    /// The test issuer's, as it takes seconds to find one.
    Rsa,
}

impl Certificates {
    /// The certificates kept in `folder`, made first where there are none. The leaf names `localhost`, 127.0.0.1
    /// and ::1, and is good for as long as rcgen's default (decades): a demo run next year still works.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::Crypto`].
    pub fn load_or_create(folder: &Path) -> Result<Self, Error> {
        let mut files = Self {
            ca: folder.join("ca.pem"),
            authority: None,
            chain: folder.join("cert.pem"),
            private_key: folder.join("key.pem"),
        };
        // The key is written last, so that what is there is there whole.
        if !files.private_key.exists() {
            fs::create_dir_all(folder).map_err(Error::io(folder.display()))?;
            files.create()?;
        }
        Ok(files)
    }

    /// A new certificate for a server of these names, by the same CA.
    ///
    /// # Errors
    /// [`Error::Impossible`] when the CA was there before, [`Error::Io`], [`Error::Crypto`].
    pub fn issue(&self, kind: KeyKind, names: &[&str]) -> Result<Issued, Error> {
        let gone = || Error::Impossible("nobody has the CA's key any more".to_owned());
        let authority = self.authority.as_ref().ok_or_else(gone)?;
        let crypto = || Error::crypto("the certificate");
        let key = match kind {
            KeyKind::EcdsaP256 => KeyPair::generate(),
            KeyKind::Rsa => KeyPair::from_pem(&SigningKeys::rsa_of_tests()?),
        };
        let key = key.map_err(crypto())?;
        let leaf = leaf(names)?.signed_by(&key, authority).map_err(crypto())?;
        Ok(Issued {
            chain: leaf.pem(),
            private_key: key.serialize_pem(),
        })
    }

    fn create(&mut self) -> Result<(), Error> {
        let key = KeyPair::generate().map_err(Error::crypto("a key pair"))?;
        let params = authority("Berth development CA");
        let ca = params
            .self_signed(&key)
            .map_err(Error::crypto("the development CA"))?;
        write(&self.ca, &ca.pem())?;
        self.authority = Some(Arc::new(Issuer::new(params, key)));
        let leaf = self.issue(KeyKind::EcdsaP256, &["localhost", "127.0.0.1", "::1"])?;
        write(&self.chain, &leaf.chain)?;
        write(&self.private_key, &leaf.private_key)
    }
}

/// A CA that gives clients certificates.
pub struct ClientAuthority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// A client's certificate and its key, in PEM.
#[derive(Debug, Clone)]
pub struct Identity {
    pub(crate) certificate: String,
    pub(crate) private_key: String,
}

impl ClientAuthority {
    /// A new one. All of them have the same name, as somebody would choose it who wants to be taken for another.
    ///
    /// # Errors
    /// [`Error::Crypto`].
    pub fn new() -> Result<Self, Error> {
        let key = KeyPair::generate().map_err(Error::crypto("a key pair"))?;
        let params = authority("Berth test clients");
        let certificate = params
            .self_signed(&key)
            .map_err(Error::crypto("a CA of clients"))?;
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

    /// A certificate for a client of this common name, and of these other names (URIs and DNS names).
    ///
    /// # Errors
    /// [`Error::Crypto`].
    pub fn identity(&self, common_name: &str, uri: &str, dns: &str) -> Result<Identity, Error> {
        let crypto = || Error::crypto("a client's certificate");
        let key = KeyPair::generate().map_err(Error::crypto("a key pair"))?;
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, common_name);
        params.subject_alt_names = vec![
            SanType::URI(uri.try_into().map_err(crypto())?),
            SanType::DnsName(dns.try_into().map_err(crypto())?),
        ];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = params.signed_by(&key, &self.issuer).map_err(crypto())?;
        Ok(Identity {
            certificate: certificate.pem(),
            private_key: key.serialize_pem(),
        })
    }
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn leaf(names: &[&str]) -> Result<CertificateParams, Error> {
    let all: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params =
        CertificateParams::new(all).map_err(Error::crypto("the certificate's names"))?;
    let common_name = names.first().copied().unwrap_or_default();
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn write(path: &Path, pem: &str) -> Result<(), Error> {
    fs::write(path, pem).map_err(Error::io(path.display()))?;
    fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(Error::io(path.display()))
}
