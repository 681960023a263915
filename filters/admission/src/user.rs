//! Who a credential stands for.

use std::borrow::Cow;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use crate::claims::is_name;
use crate::config::CertificateName;
use crate::matcher::Matcher;
use crate::memory::VerifiedToken;
use crate::request::Certificate;
use crate::{Owner, Reason, UnixSeconds};

/// Who asks, by whichever credential, and what it lets them do.
pub(crate) struct User<'p> {
    pub(crate) issuer: &'p str,
    pub(crate) subject: String,
    pub(crate) tenant: String,
    pub(crate) priority: u8,
    pub(crate) permitted: Permitted<'p>,
    /// Empty if there is none.
    pub(crate) token_id: String,
    pub(crate) expires_at: Option<UnixSeconds>,
    pub(crate) closes_at: Option<UnixSeconds>,
    pub(crate) token: Option<Arc<VerifiedToken>>,
}

/// The pools that a credential permits.
pub(crate) enum Permitted<'p> {
    All,
    These(Cow<'p, [String]>),
}

impl Permitted<'_> {
    pub(crate) fn of(pools: &[String]) -> Permitted<'_> {
        if pools.is_empty() {
            Permitted::All
        } else {
            Permitted::These(pools.into())
        }
    }

    pub(crate) fn names(&self) -> &[String] {
        match self {
            Self::All => &[],
            Self::These(names) => names,
        }
    }

    pub(crate) fn permits(&self, pool: &str) -> bool {
        match self {
            Self::All => true,
            Self::These(names) => names.iter().any(|name| name == pool),
        }
    }
}

impl User<'_> {
    pub(crate) fn owner(&self, resume_key: String) -> Owner {
        Owner {
            issuer: self.issuer.to_owned(),
            subject: self.subject.clone(),
            tenant: self.tenant.clone(),
            resume_key,
        }
    }
}

/// A key that stands for a user by itself.
#[derive(Clone, Debug)]
pub(crate) struct ApiKey {
    pub(crate) sha256: [u8; 32],
    pub(crate) subject: String,
    pub(crate) tenant: String,
    pub(crate) priority: u8,
    pub(crate) pools: Vec<String>,
}

impl ApiKey {
    /// The one of `keys` that this is. Every one is compared, and whole: how long that takes says nothing of any.
    pub(crate) fn find<'p>(keys: &'p [Self], presented: &[u8]) -> Option<&'p Self> {
        let hash: [u8; 32] = Sha256::digest(presented).into();
        let mut found = None;
        for key in keys {
            let same: Choice = key.sha256.ct_eq(&hash);
            if bool::from(same) {
                found = Some(key);
            }
        }
        found
    }

    pub(crate) fn user(&self) -> User<'_> {
        User {
            issuer: API_KEY,
            subject: self.subject.clone(),
            tenant: self.tenant.clone(),
            priority: self.priority,
            permitted: Permitted::of(&self.pools),
            token_id: String::new(),
            expires_at: None,
            closes_at: None,
            token: None,
        }
    }
}

/// Certificates that stand for users.
#[derive(Clone, Debug)]
pub(crate) struct ClientCertificate {
    pub(crate) name: CertificateName,
    pub(crate) matches: Matcher,
    pub(crate) tenant: String,
    pub(crate) pools: Vec<String>,
}

impl ClientCertificate {
    /// Who a certificate is, if it is one of these.
    pub(crate) fn user(&self, certificate: &Certificate<'_>) -> Option<Result<User<'_>, Reason>> {
        let name = match self.name {
            CertificateName::DnsSan => certificate.dns_san,
            CertificateName::Subject => certificate.subject,
            CertificateName::UriSan => certificate.uri_san,
        };
        let subject = name.filter(|name| !name.is_empty() && self.matches.matches(name))?;
        if !is_name(subject) {
            return Some(Err(Reason::UserForbidden));
        }
        Some(Ok(User {
            issuer: CLIENT_CERTIFICATE,
            subject: subject.to_owned(),
            tenant: self.tenant.clone(),
            priority: 0,
            permitted: Permitted::of(&self.pools),
            token_id: String::new(),
            expires_at: None,
            closes_at: None,
            token: None,
        }))
    }
}

/// The issuer of those who come with an API key.
pub(crate) const API_KEY: &str = "api_key";
/// The issuer of those who come with a certificate.
pub(crate) const CLIENT_CERTIFICATE: &str = "client_certificate";
