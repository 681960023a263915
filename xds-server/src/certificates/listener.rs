use std::fmt;
use std::time::{Duration, UNIX_EPOCH};

use humantime::format_rfc3339_seconds;

use super::{Authorities, AuthoritiesFile, CertificateFiles, KeyPair, Loaded};
use crate::xds;

/// What the listeners and their clients present to each other, and in which files it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerTls {
    /// What a client is shown that asks for no name, or for one that no certificate has.
    pub default: Loaded<CertificateFiles>,
    /// More of them, in the order in which they are tried after the default one.
    pub by_sni: Vec<SniCertificate>,
    /// Who signs clients' certificates; clients are not asked for one otherwise.
    pub client_ca: Option<Loaded<AuthoritiesFile>>,
}

/// A certificate for clients that ask for one of its names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SniCertificate {
    /// Unique among them.
    pub name: String,
    /// The certificate.
    pub loaded: Loaded<CertificateFiles>,
}

/// A certificate that has ended, or will soon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// Which of the certificates beside the default one; counted from 0.
    pub by_sni: Option<usize>,
    /// Seconds since 1970 after which it is not valid.
    pub not_after: i64,
    /// That was before now.
    pub ended: bool,
}

impl ListenerTls {
    /// What proxies are told.
    pub fn presented(&self) -> xds::Certificates {
        presented(
            &self.default.held,
            self.by_sni.iter().map(|sni| (&*sni.name, &sni.loaded.held)),
            self.client_ca.as_ref().map(|ca| &ca.held),
        )
    }

    /// The certificates that have ended `now`, in seconds since 1970, or end within 14 days.
    pub fn ending(&self, now: u64) -> impl Iterator<Item = Ending> {
        let now = i64::try_from(now).unwrap_or(i64::MAX);
        let by_sni = self.by_sni.iter().map(|sni| &sni.loaded.held).enumerate();
        let by_sni = by_sni.map(|(index, pair)| (Some(index), pair));
        let all = std::iter::once((None, &self.default.held)).chain(by_sni);
        let ends = all.map(|(by_sni, pair)| (by_sni, pair.not_after()));
        ends.filter(move |(_, not_after)| not_after.saturating_sub(now) < SOON)
            .map(move |(by_sni, not_after)| Ending {
                by_sni,
                not_after,
                ended: not_after < now,
            })
    }
}

/// The field, what is with its certificate, and what to do.
impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.by_sni {
            Some(index) => write!(f, "tls.by_sni[{index}].certificate_chain: ")?,
            None => f.write_str("tls.certificate_chain: ")?,
        }
        let since_1970 = Duration::from_secs(u64::try_from(self.not_after).unwrap_or_default());
        let end = format_rfc3339_seconds(UNIX_EPOCH + since_1970);
        let what = if self.ended { "ended" } else { "ends" };
        write!(
            f,
            "the certificate {what} at {end}; put a newer one in its place, and its key: they are read without a restart"
        )
    }
}

pub(super) fn presented<'a>(
    default: &KeyPair,
    by_sni: impl Iterator<Item = (&'a str, &'a KeyPair)>,
    client_ca: Option<&Authorities>,
) -> xds::Certificates {
    let certificate = |pair: &KeyPair| xds::Certificate {
        chain_pem: pair.chain_pem().to_owned(),
        private_key_pem: pair.private_key_pem().to_owned(),
    };
    let by_sni = by_sni.map(|(name, pair)| xds::SniCertificate {
        name: name.to_owned(),
        certificate: certificate(pair),
    });
    xds::Certificates {
        default: certificate(default),
        by_sni: by_sni.collect(),
        client_ca_pem: client_ca.map(|ca| ca.pem().to_owned()),
    }
}

/// Two weeks, in seconds.
const SOON: i64 = 14 * 24 * 60 * 60;

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, date_time_ymd};

    use super::*;
    use crate::certificates::Files;

    #[test]
    fn who_ends_within_two_weeks_is_named() {
        let tls = ListenerTls {
            default: until(2026, 3, 1),
            by_sni: vec![SniCertificate {
                name: "b".to_owned(),
                loaded: until(2026, 3, 10),
            }],
            client_ca: None,
        };
        let first = "tls.certificate_chain: the certificate ends at 2026-03-01T00:00:00Z; put";
        let first_over =
            "tls.certificate_chain: the certificate ended at 2026-03-01T00:00:00Z; put";
        let second =
            "tls.by_sni[0].certificate_chain: the certificate ends at 2026-03-10T00:00:00Z; put";
        for (day, expected) in [
            ((2026, 2, 14), &[][..]),
            ((2026, 2, 16), &[first]),
            ((2026, 3, 2), &[first_over, second]),
        ] {
            let now = date_time_ymd(day.0, day.1, day.2).unix_timestamp();
            let ending = tls.ending(now.try_into().unwrap());
            let ending: Vec<_> = ending.map(|ending| ending.to_string()).collect();
            assert_eq!(ending.len(), expected.len(), "{day:?}: {ending:?}");
            for (found, start) in ending.iter().zip(expected) {
                assert!(found.starts_with(start), "{day:?}: {found}");
            }
        }
    }

    fn until(year: i32, month: u8, day: u8) -> Loaded<CertificateFiles> {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(["example.com".to_owned()]).unwrap();
        params.not_after = date_time_ymd(year, month, day);
        let certificate = params.self_signed(&key).unwrap();
        let files = CertificateFiles {
            certificate_chain: "cert.pem".into(),
            private_key: "key.pem".into(),
        };
        let content = (
            Ok(certificate.pem().into_bytes()),
            Ok(key.serialize_pem().into_bytes()),
        );
        let held = files.parse(&content).unwrap();
        Loaded { files, held }
    }
}
