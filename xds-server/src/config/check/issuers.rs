use std::{path::Path, time::Duration};

use berth_admission::{IssuerConfig, Json, Policy, PolicyConfig, PolicyError};
use serde_json::{Value, json};

use super::{Check, DurationRule, Unique};
use crate::config::{error::Fault, field::FieldPath, raw::RawIssuer};
use crate::keys::{Audience, KeySet, KeySource, Place, UrlProblem, WebPlace, WebUrl};

impl Check<'_> {
    /// Who may sign tokens, with the keys that are in files; and where all keys come from, in the same order.
    pub(super) fn issuers(
        &mut self,
        raw: Vec<RawIssuer>,
        field: &FieldPath,
        somebody_else: bool,
    ) -> (Vec<IssuerConfig>, Vec<KeySource>) {
        if raw.is_empty() && !somebody_else {
            let remedy = "without an issuer nobody can be admitted; `berth token --new-key ES256` makes a key set for trials";
            self.fault(field.clone(), Fault::Empty { remedy });
        }
        let mut names = Unique::new("give an issuer one entry, with all its keys in one set");
        let issuers = raw.into_iter().enumerate().filter_map(|(index, raw)| {
            let field = field.index(index);
            names.claim(self, &raw.issuer, &field.key("issuer"));
            self.issuer(raw, &field)
        });
        issuers.unzip()
    }

    fn issuer(&mut self, raw: RawIssuer, field: &FieldPath) -> Option<(IssuerConfig, KeySource)> {
        let keys = self.keys(&raw, field);
        let skew = raw.clock_skew.as_deref();
        let skew = self.whole_seconds(skew, &field.key("clock_skew"), &CLOCK_SKEW);
        let lifetime = raw.max_lifetime.as_deref();
        let max_lifetime_seconds = lifetime.and_then(|lifetime| {
            let field = field.key("max_lifetime");
            self.whole_seconds(Some(lifetime), &field, &MAX_LIFETIME)
        });
        let issuer = IssuerConfig {
            issuer: raw.issuer,
            audiences: raw.audiences,
            jwks: json!({"keys": []}).into(),
            clock_skew_seconds: skew?,
            types: raw.types,
            subjects: raw.subjects,
            required_claims: raw.required_claims,
            max_lifetime_seconds,
            close_when_expired: raw.close_when_expired,
        };
        let (place, jwks) = keys?;
        let alone = PolicyConfig::of_issuer(issuer.clone());
        if let Err(PolicyError { field: at, problem }) = Policy::compile(alone) {
            let Ok(below) = at.strip_prefix("issuers[0].").unwrap_or(&at).parse();
            self.fault(field.join(&below), Fault::Policy(problem));
        }
        let source = KeySource {
            issuer: issuer.issuer.clone(),
            place,
        };
        let jwks = jwks.into();
        Some((IssuerConfig { jwks, ..issuer }, source))
    }

    /// Where the keys are, and those that are known without asking anybody.
    fn keys(&mut self, raw: &RawIssuer, field: &FieldPath) -> Option<(Place, Value)> {
        let named = [
            (raw.jwks_file.is_some(), "jwks_file"),
            (raw.jwks_url.is_some(), "jwks_url"),
            (raw.discovery, "discovery"),
        ];
        let mut named = named.iter().filter_map(|(is, name)| is.then_some(*name));
        match (named.next(), named.next()) {
            (None, _) => {
                self.fault(field.clone(), Fault::NoKeySource);
                None
            }
            (Some(first), Some(second)) => {
                self.fault(field.key(second), Fault::TwoKeySources { first });
                None
            }
            _ => match &raw.jwks_file {
                Some(path) => self.key_file(path, raw, field),
                None => {
                    let place = self.web_place(raw, field)?;
                    Some((Place::Web(place), json!({"keys": []})))
                }
            },
        }
    }

    fn key_file(
        &mut self,
        path: &Path,
        raw: &RawIssuer,
        field: &FieldPath,
    ) -> Option<(Place, Value)> {
        for (name, is) in [
            ("refresh", raw.refresh.is_some()),
            ("min_refetch", raw.min_refetch.is_some()),
            ("ca_file", raw.ca_file.is_some()),
            ("allow_plaintext", raw.allow_plaintext),
        ] {
            if is {
                self.fault(field.key(name), Fault::NotForKeyFile);
            }
        }
        let field = field.key("jwks_file");
        let content = self.file(path, &field)?;
        let path = self.absolute(path);
        let jwks = match Json::parse(&content) {
            Ok(jwks) => jwks.into(),
            Err(error) => {
                self.fault(field, Fault::Json { path, error });
                return None;
            }
        };
        match KeySet::read(&jwks, Audience::Operator) {
            Ok(_) => Some((Place::File(path), jwks)),
            Err(error) => {
                self.fault(field, Fault::KeySet { path, error });
                None
            }
        }
    }

    fn web_place(&mut self, raw: &RawIssuer, field: &FieldPath) -> Option<WebPlace> {
        let (text, at, url) = match &raw.jwks_url {
            Some(text) => (text, "jwks_url", WebUrl::parse(text, raw.allow_plaintext)),
            None => {
                let url = WebUrl::discovery(&raw.issuer, raw.allow_plaintext);
                (&raw.issuer, "issuer", url)
            }
        };
        let url = self.web_url(text, &field.key(at), url);
        let refresh = self.duration(raw.refresh.as_deref(), &field.key("refresh"), &REFRESH);
        let min_refetch = self.duration(
            raw.min_refetch.as_deref(),
            &field.key("min_refetch"),
            &MIN_REFETCH,
        );
        let ca_pem = match &raw.ca_file {
            Some(path) => Some(self.ca_file(path, &field.key("ca_file"))?),
            None => None,
        };
        Some(WebPlace {
            url: url?,
            discovery: raw.discovery,
            refresh: refresh?,
            min_refetch: min_refetch?,
            ca_pem,
        })
    }

    fn web_url(
        &mut self,
        text: &str,
        field: &FieldPath,
        url: Result<WebUrl, UrlProblem>,
    ) -> Option<WebUrl> {
        match url {
            Ok(url) => Some(url),
            Err(problem) => {
                let url = text.to_owned();
                self.fault(field.clone(), Fault::KeyUrl { url, problem });
                None
            }
        }
    }

    /// A file with the certificates of whom to trust.
    pub(super) fn ca_file(&mut self, path: &Path, field: &FieldPath) -> Option<String> {
        let authorities = self.authorities(path, field)?;
        Some(authorities.held.pem().to_owned())
    }
}

const CLOCK_SKEW: DurationRule = DurationRule {
    default: Duration::from_secs(60),
    least: Duration::ZERO,
    most: Duration::from_secs(3600),
};

const MAX_LIFETIME: DurationRule = DurationRule {
    default: Duration::from_hours(24),
    least: Duration::from_secs(1),
    most: Duration::from_hours(24 * 366),
};

const REFRESH: DurationRule = DurationRule {
    default: Duration::from_secs(600),
    least: Duration::from_secs(10),
    most: Duration::from_secs(24 * 60 * 60),
};

const MIN_REFETCH: DurationRule = DurationRule {
    default: Duration::from_secs(30),
    least: Duration::from_secs(1),
    most: Duration::from_secs(24 * 60 * 60),
};
