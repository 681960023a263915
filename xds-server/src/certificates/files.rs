use std::fmt;
use std::io;
use std::path::PathBuf;

use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

/// Files, and what they have to hold. Pure: somebody else reads them.
pub trait Files {
    /// What was read of them.
    type Content: PartialEq;
    /// What that stands for.
    type Held: Clone + PartialEq;

    /// What they hold.
    ///
    /// # Errors
    /// [`CertificateError`], of the first file that is wrong.
    fn parse(&self, content: &Self::Content) -> Result<Self::Held, CertificateError>;
}

/// What was read of one file, or why nothing.
pub type Content = Result<Vec<u8>, io::ErrorKind>;

/// The files of a certificate and its key; absolute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The chain, leaf first.
    pub certificate_chain: PathBuf,
    /// The leaf's key.
    pub private_key: PathBuf,
}

/// The file of those who sign others' certificates; absolute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthoritiesFile(pub PathBuf);

/// A certificate chain and the key of its leaf, known to belong to each other: Envoy would refuse them too, but only
/// once it is told, in its own log.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyPair {
    chain_pem: String,
    private_key_pem: String,
    not_after: i64,
}

/// The certificates of authorities, PEM; at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authorities(String);

/// Why files do not hold what they should. Each says what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// Certificate and key are strangers.
    #[error(
        "{} is not the key of the first certificate in {}: name the pair that was issued together, leaf certificate first",
        key.display(),
        chain.display()
    )]
    KeyMismatch {
        /// The key's file.
        key: PathBuf,
        /// The chain's file.
        chain: PathBuf,
    },
    /// Nobody to trust in the file.
    #[error(
        "{} has no certificate that can be read: it must hold those of the authorities to trust, in PEM",
        .0.display()
    )]
    NoAuthority(PathBuf),
    /// No certificate in the file.
    #[error(
        "{} has no certificate that can be read: it must hold the chain in PEM, leaf first, in `-----BEGIN CERTIFICATE-----` blocks",
        .0.display()
    )]
    NoCertificate(PathBuf),
    /// No private key in the file.
    #[error(
        "{} has no private key that can be used: it must hold one in PEM, unencrypted, RSA or ECDSA on P-256 or P-384",
        .0.display()
    )]
    NoPrivateKey(PathBuf),
    /// A file cannot be read.
    #[error("cannot read {}: {kind}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        kind: io::ErrorKind,
    },
}

impl Files for CertificateFiles {
    /// Of the chain and of the key.
    type Content = (Content, Content);
    type Held = KeyPair;

    fn parse(&self, (chain, private_key): &Self::Content) -> Result<KeyPair, CertificateError> {
        let chain = text(
            &self.certificate_chain,
            chain,
            CertificateError::NoCertificate,
        )?;
        let private_key = text(
            &self.private_key,
            private_key,
            CertificateError::NoPrivateKey,
        )?;
        let no_certificate = || CertificateError::NoCertificate(self.certificate_chain.clone());
        let no_private_key = || CertificateError::NoPrivateKey(self.private_key.clone());
        let (chain_pem, certificates) = certificates(chain).ok_or_else(no_certificate)?;
        let not_after = not_after(&certificates).ok_or_else(no_certificate)?;
        let key =
            PrivateKeyDer::from_pem_slice(private_key.as_bytes()).map_err(|_| no_private_key())?;
        let key = any_supported_type(&key).map_err(|_| no_private_key())?;
        match CertifiedKey::new(certificates, key).keys_match() {
            Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(KeyPair {
                chain_pem,
                private_key_pem: private_key.to_owned(),
                not_after,
            }),
            Err(Error::InconsistentKeys(_)) => Err(CertificateError::KeyMismatch {
                key: self.private_key.clone(),
                chain: self.certificate_chain.clone(),
            }),
            Err(_) => Err(no_certificate()),
        }
    }
}

impl Files for AuthoritiesFile {
    type Content = Content;
    type Held = Authorities;

    fn parse(&self, content: &Content) -> Result<Authorities, CertificateError> {
        let pem = text(&self.0, content, CertificateError::NoAuthority)?;
        let (pem, _) =
            certificates(pem).ok_or_else(|| CertificateError::NoAuthority(self.0.clone()))?;
        Ok(Authorities(pem))
    }
}

impl KeyPair {
    /// The chain, leaf first: the certificates of its file and nothing else that is there.
    pub fn chain_pem(&self) -> &str {
        &self.chain_pem
    }

    /// The key, as it is in its file. Not in `Debug`.
    pub fn private_key_pem(&self) -> &str {
        &self.private_key_pem
    }

    /// Seconds since 1970 after which the leaf is not valid (RFC 5280, section 4.1.2.5). The rest of the chain does not
    /// count: there are roots in chains that ended long ago and do no harm.
    pub fn not_after(&self) -> i64 {
        self.not_after
    }
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyPair")
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

impl Authorities {
    /// The certificates of their file, and nothing else that is there.
    pub fn pem(&self) -> &str {
        &self.0
    }
}

fn text<'a>(
    path: &std::path::Path,
    content: &'a Content,
    not_text: fn(PathBuf) -> CertificateError,
) -> Result<&'a str, CertificateError> {
    let path = || path.to_owned();
    match content {
        Ok(content) => str::from_utf8(content).map_err(|_| not_text(path())),
        Err(kind) => Err(CertificateError::Unreadable {
            path: path(),
            kind: *kind,
        }),
    }
}

/// The certificates that are there, at least one, and none of them cut off. Their PEM is without what else there may be:
/// Envoy's admin interface shows it, and in some files there is the key too.
fn certificates(text: &str) -> Option<(String, Vec<CertificateDer<'static>>)> {
    let blocks = text.split(BEGIN).skip(1);
    let blocks = blocks.map(|block| {
        let (base64, _) = block.split_once(END)?;
        Some(format!("{BEGIN}{base64}{END}\n"))
    });
    let pem: String = blocks.collect::<Option<_>>()?;
    let certificates = CertificateDer::pem_slice_iter(pem.as_bytes());
    let certificates: Vec<_> = certificates.collect::<Result<_, _>>().ok()?;
    (!certificates.is_empty()).then_some((pem, certificates))
}

/// When the first one ends, if all of them can be read.
fn not_after(certificates: &[CertificateDer<'_>]) -> Option<i64> {
    let ends = certificates.iter().map(|certificate| {
        let (rest, certificate) = X509Certificate::from_der(certificate).ok()?;
        rest.is_empty()
            .then(|| certificate.validity().not_after.timestamp())
    });
    let ends: Vec<_> = ends.collect::<Option<_>>()?;
    ends.first().copied()
}

/// RFC 7468, section 5.
const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair as Key, PKCS_ECDSA_P384_SHA384, date_time_ymd};

    use super::CertificateError::{
        KeyMismatch, NoAuthority, NoCertificate, NoPrivateKey, Unreadable,
    };
    use super::*;

    #[test]
    fn a_pair_is_what_envoy_can_use() {
        let (ours, other) = (
            pem(&Key::generate().unwrap(), 2031),
            pem(&Key::generate().unwrap(), 2032),
        );
        let p384 = pem(&Key::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap(), 2033);
        let no_certificate = || Err(NoCertificate("cert.pem".into()));
        let no_private_key = || Err(NoPrivateKey("key.pem".into()));
        let mismatch = || {
            Err(KeyMismatch {
                key: "key.pem".into(),
                chain: "cert.pem".into(),
            })
        };
        let unreadable = |path: &str, kind| {
            let path = path.into();
            Err(Unreadable { path, kind })
        };
        let chain = format!("{}{}", ours.0, other.0);
        let garbage = ours.0.replace("MII", "AAA");
        let cut = |text: &str| text.split_at(text.len() - 40).0.to_owned();
        let ok = |text: &str| Ok(text.as_bytes().to_vec());
        let missing = io::ErrorKind::NotFound;
        // The chain's file, the key's, and in which year the pair ends.
        let cases: &[(&str, Content, Content, Result<i32, CertificateError>)] = &[
            ("a pair", ok(&ours.0), ok(&ours.1), Ok(2031)),
            ("another", ok(&other.0), ok(&other.1), Ok(2032)),
            ("P-384", ok(&p384.0), ok(&p384.1), Ok(2033)),
            ("a chain", ok(&chain), ok(&ours.1), Ok(2031)),
            (
                "one file",
                ok(&format!("{}{}", ours.1, ours.0)),
                ok(&format!("{}{}", ours.1, ours.0)),
                Ok(2031),
            ),
            ("the other's key", ok(&ours.0), ok(&other.1), mismatch()),
            (
                "the root first",
                ok(&format!("{}{}", other.0, ours.0)),
                ok(&ours.1),
                mismatch(),
            ),
            ("another kind of key", ok(&p384.0), ok(&ours.1), mismatch()),
            (
                "no chain",
                Err(missing),
                ok(&ours.1),
                unreadable("cert.pem", missing),
            ),
            (
                "no key",
                ok(&ours.0),
                Err(missing),
                unreadable("key.pem", missing),
            ),
            ("an empty chain", ok(""), ok(&ours.1), no_certificate()),
            (
                "half a chain",
                ok(&cut(&chain)),
                ok(&ours.1),
                no_certificate(),
            ),
            (
                "a chain with garbage",
                ok(&format!("{}{garbage}", ours.0)),
                ok(&ours.1),
                no_certificate(),
            ),
            ("bytes", Ok(vec![0xff, 0xfe]), ok(&ours.1), no_certificate()),
            (
                "a key for a chain",
                ok(&ours.1),
                ok(&ours.1),
                no_certificate(),
            ),
            ("an empty key", ok(&ours.0), ok(""), no_private_key()),
            (
                "half a key",
                ok(&ours.0),
                ok(&cut(&ours.1)),
                no_private_key(),
            ),
            (
                "a chain for a key",
                ok(&ours.0),
                ok(&ours.0),
                no_private_key(),
            ),
        ];
        let files = CertificateFiles {
            certificate_chain: "cert.pem".into(),
            private_key: "key.pem".into(),
        };
        for (title, chain, key, expected) in cases {
            let found = files.parse(&(chain.clone(), key.clone()));
            let shown = format!("{found:?}");
            assert!(!shown.contains("PRIVATE"), "{title}: {shown}");
            let end = found.map(|pair| {
                assert!(!pair.chain_pem().contains("PRIVATE"), "{title}");
                pair.not_after()
            });
            let expected = expected
                .clone()
                .map(|year| date_time_ymd(year, 1, 1).unix_timestamp());
            assert_eq!(end, expected, "{title}");
        }
    }

    #[test]
    fn an_authority_is_needed_at_least() {
        let (certificate, key) = pem(&Key::generate().unwrap(), 2031);
        let none = || Err(NoAuthority("ca.pem".into()));
        let missing = io::ErrorKind::NotFound;
        let unreadable = || {
            Err(Unreadable {
                path: "ca.pem".into(),
                kind: missing,
            })
        };
        for (content, expected) in [
            (Ok(certificate.clone()), Ok(certificate.clone())),
            (Ok(certificate.repeat(2)), Ok(certificate.repeat(2))),
            (Ok(key), none()),
            (Ok(String::new()), none()),
            (Err(missing), unreadable()),
        ] {
            let content = content.map(String::into_bytes);
            let found = AuthoritiesFile("ca.pem".into()).parse(&content);
            assert_eq!(found.map(|found| found.pem().to_owned()), expected);
        }
    }

    /// A certificate that ends with the year before, and its key.
    fn pem(key: &Key, year: i32) -> (String, String) {
        let mut params = CertificateParams::new(["example.com".to_owned()]).unwrap();
        params.not_after = date_time_ymd(year, 1, 1);
        let certificate = params.self_signed(key).unwrap();
        (certificate.pem(), key.serialize_pem())
    }
}
