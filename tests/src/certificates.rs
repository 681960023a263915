//! A development CA, and the certificate Envoy serves with it.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};

use crate::Error;

/// Files of one CA and of one leaf for `localhost`.
#[derive(Debug, Clone)]
pub struct Certificates {
    /// What a client trusts.
    pub ca: PathBuf,
    /// What Envoy serves.
    pub chain: PathBuf,
    /// Its key.
    pub private_key: PathBuf,
}

impl Certificates {
    /// The certificates kept in `folder`, made first where there are none. The leaf names `localhost`, 127.0.0.1
    /// and ::1, and is good for as long as rcgen's default (decades): a demo run next year still works.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::Crypto`].
    pub fn load_or_create(folder: &Path) -> Result<Self, Error> {
        let files = Self {
            ca: folder.join("ca.pem"),
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

    fn create(&self) -> Result<(), Error> {
        let key = || KeyPair::generate().map_err(Error::crypto("a key pair"));
        let (ca_key, leaf_key) = (key()?, key()?);
        let ca = authority("Berth development CA");
        let ca_certificate = ca
            .self_signed(&ca_key)
            .map_err(Error::crypto("the development CA"))?;
        let leaf = leaf()?
            .signed_by(&leaf_key, &Issuer::new(ca, ca_key))
            .map_err(Error::crypto("the certificate"))?;
        write(&self.ca, &ca_certificate.pem())?;
        write(&self.chain, &leaf.pem())?;
        write(&self.private_key, &leaf_key.serialize_pem())
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

fn leaf() -> Result<CertificateParams, Error> {
    let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let mut params =
        CertificateParams::new(names).map_err(Error::crypto("the certificate's names"))?;
    params
        .distinguished_name
        .push(DnType::CommonName, "localhost");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn write(path: &Path, pem: &str) -> Result<(), Error> {
    fs::write(path, pem).map_err(Error::io(path.display()))?;
    fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(Error::io(path.display()))
}
