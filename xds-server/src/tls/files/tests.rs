use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType,
    date_time_ymd,
};

use super::*;

/// Signs certificates.
pub(in crate::tls) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// A chain and its key, PEM.
pub(in crate::tls) type Pair = (String, String);

impl Authority {
    pub(in crate::tls) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        let issuer = Issuer::new(params, key);
        Self { issuer, pem }
    }

    pub(in crate::tls) fn pem(&self) -> String {
        self.pem.clone()
    }

    pub(in crate::tls) fn server(&self, name: &str) -> Pair {
        self.signed(|params| {
            params.subject_alt_names = vec![SanType::DnsName(name.try_into().unwrap())];
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        })
    }

    pub(in crate::tls) fn client(&self, names: &[SanType]) -> Pair {
        self.signed(|params| client(params, names))
    }

    /// One that was good once.
    pub(in crate::tls) fn expired_client(&self, names: &[SanType]) -> Pair {
        self.signed(|params| {
            client(params, names);
            params.not_before = date_time_ymd(2001, 1, 1);
            params.not_after = date_time_ymd(2002, 1, 1);
        })
    }

    fn signed(&self, describe: impl FnOnce(&mut CertificateParams)) -> Pair {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        describe(&mut params);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }
}

fn client(params: &mut CertificateParams, names: &[SanType]) {
    params.subject_alt_names = names.to_vec();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
}

pub(in crate::tls) fn files() -> TlsFiles {
    TlsFiles {
        certificate_chain: "/tls/cert.pem".into(),
        private_key: "/tls/key.pem".into(),
        client_ca: "/tls/ca.pem".into(),
    }
}

pub(in crate::tls) fn contents((chain, key): &Pair, ca: &str) -> Contents {
    Contents {
        certificate_chain: chain.clone().into(),
        private_key: key.clone().into(),
        client_ca: ca.to_owned().into(),
    }
}

#[test]
fn files_that_do_not_fit_are_named() {
    let ca = Authority::new();
    let pair = ca.server("berth.example");
    let other = ca.server("berth.example");
    let cut = |pem: &str| pem.split_at(pem.len() / 2).0.to_owned();
    let files = files();
    let chain = || CertificateError::NoCertificate(files.certificate_chain.clone());
    let key = || CertificateError::NoPrivateKey(files.private_key.clone());
    let authorities = || CertificateError::NoAuthority(files.client_ca.clone());
    let mismatch = CertificateError::KeyMismatch {
        key: files.private_key.clone(),
        chain: files.certificate_chain.clone(),
    };
    let with_chain = |chain: String| contents(&(chain, pair.1.clone()), &ca.pem());
    let with_key = |key: &str| contents(&(pair.0.clone(), key.to_owned()), &ca.pem());
    let cases = [
        (contents(&pair, &ca.pem()), Ok(())),
        (
            contents(&pair, &(ca.pem() + &Authority::new().pem())),
            Ok(()),
        ),
        (with_chain(pair.0.clone() + &ca.pem()), Ok(())),
        (with_chain(String::new()), Err(chain())),
        (with_chain(pair.1.clone()), Err(chain())),
        (with_chain(pair.0.clone() + &cut(&ca.pem())), Err(chain())),
        (with_key(""), Err(key())),
        (with_key(&pair.0), Err(key())),
        (with_key(&cut(&pair.1)), Err(key())),
        (with_key(&other.1), Err(mismatch)),
        (contents(&pair, ""), Err(authorities())),
        (contents(&pair, &pair.1), Err(authorities())),
        (
            contents(&pair, &(ca.pem() + &cut(&ca.pem()))),
            Err(authorities()),
        ),
    ];
    for (index, (contents, expected)) in cases.into_iter().enumerate() {
        let found = files.server_config(&contents).map(drop);
        assert_eq!(found, expected, "case {index}");
    }
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let files = files();
    for missing in [
        &files.certificate_chain,
        &files.private_key,
        &files.client_ca,
    ] {
        let read = |path: &Path| match path == missing {
            true => Err(io::ErrorKind::NotFound.into()),
            false => Ok(Vec::new()),
        };
        let expected = CertificateError::Unreadable {
            path: missing.clone(),
            kind: io::ErrorKind::NotFound,
        };
        assert_eq!(files.read(&read).unwrap_err(), expected);
    }
}

#[test]
fn keys_are_not_in_debug() {
    let ca = Authority::new();
    let contents = contents(&ca.server("berth.example"), &ca.pem());
    assert_eq!(format!("{contents:?}"), "Contents { .. }");
}
