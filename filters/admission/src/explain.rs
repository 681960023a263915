//! What a [`Trace`](crate::Trace) hears: in words, what is compared with what.

use std::net::IpAddr;

use crate::carrier::Credential;
use crate::claims::Claims;
use crate::config::{CarrierConfig, PoolSource};
use crate::cors::{Cors, ORIGIN};
use crate::credential::Agreed;
use crate::jwt::Token;
use crate::policy::Issuer;
use crate::{Policy, Request, UnixSeconds};

impl Token<'_> {
    pub(crate) fn type_facts(&self, issuer: &Issuer) -> String {
        let typ = quoted(self.typ.as_deref().unwrap_or_default());
        match issuer.types.as_slice() {
            [] => format!("{typ}, and any will do"),
            types => format!("{typ}, to be one of {types:?}"),
        }
    }

    pub(crate) fn key_facts(&self, issuer: &Issuer) -> String {
        let algorithm = self.algorithm.name();
        let known = issuer.keys.len();
        match &self.key_id {
            Some(id) => format!("{algorithm} by the key {}, of {known} known", quoted(id)),
            None => format!("{algorithm} by any key that is for it, of {known} known"),
        }
    }
}

impl Claims {
    pub(crate) fn time_facts(&self, issuer: &Issuer, now: UnixSeconds) -> String {
        let dates = ["exp", "nbf", "iat"].map(|name| format!("{name} {}", self.facts(name)));
        let dates = dates.join(", ");
        let (now, skew) = (now.0, issuer.clock_skew_seconds);
        let lifetime = issuer.max_lifetime_seconds;
        let lifetime = lifetime.map(|most| format!(", at most {most} s of lifetime"));
        let lifetime = lifetime.unwrap_or_default();
        format!("{dates}; now {now}, {skew} s of skew{lifetime}")
    }

    pub(crate) fn audience_facts(&self, ours: &[String]) -> String {
        let audience = self.facts("aud");
        match ours {
            [] => format!("{audience}, and any will do"),
            ours => format!("{audience}, to be one of {ours:?}"),
        }
    }

    /// Who the token is for.
    pub(crate) fn user_facts(&self) -> String {
        self.facts("sub")
    }

    /// The claims that say what the user may have, and the token's id.
    pub(crate) fn entitlement_facts(&self, policy: &Policy) -> String {
        let named = [
            ("tenant", policy.tenant_claim()),
            ("priority", policy.priority_claim()),
            ("pools", policy.pools_claim()),
            ("token id", Some("jti")),
        ];
        let named = named
            .into_iter()
            .filter_map(|(name, claim)| Some(format!("{name} {}", self.facts(claim?))));
        named.collect::<Vec<_>>().join(", ")
    }

    fn facts(&self, claim: &str) -> String {
        match self.text(claim) {
            Some(text) => quoted(&text),
            None => "none, or nothing that can be one".to_owned(),
        }
    }
}

impl Issuer {
    pub(crate) fn rules_facts(&self) -> String {
        format!(
            "subjects {:?}, required claims {:?}",
            self.subjects, self.required_claims
        )
    }
}

/// What somebody else wrote, without what a terminal would obey.
pub(crate) fn quoted(text: &str) -> String {
    format!("`{}`", text.escape_debug())
}

pub(crate) fn escaped(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

pub(crate) fn origin_facts(request: &Request<'_>, cors: &Cors) -> String {
    match request.header(ORIGIN) {
        None => "none: no web page asks".to_owned(),
        Some(origin) if cors.forbidden => format!("`{}` is not in `origins`", escaped(&origin)),
        Some(origin) => format!("`{}` may ask", escaped(&origin)),
    }
}

pub(crate) fn credential_facts(credential: &Credential<'_, '_>) -> String {
    match credential {
        Credential::Nothing => "in none of the carriers".to_owned(),
        Credential::One(carrier, _) => format!("in {}", carrier_name(carrier)),
        Credential::Disagreed => "two that differ".to_owned(),
    }
}

/// Says of the key that it is there: with the user's token, it takes over their session.
pub(crate) fn resume_key_facts(said: &Agreed<'_>) -> String {
    match said {
        Agreed::Nothing => "none".to_owned(),
        Agreed::One(key) => format!("one of {} bytes", key.len()),
        Agreed::Disagreed => "two that differ".to_owned(),
    }
}

pub(crate) fn attempts_facts(client: Option<IpAddr>, may_try: bool) -> String {
    match (client, may_try) {
        (None, _) => "the client's address is not known".to_owned(),
        (Some(client), true) => format!("{client} has not failed too often"),
        (Some(client), false) => format!("{client} has failed too often"),
    }
}

fn carrier_name(carrier: &CarrierConfig) -> String {
    match carrier {
        CarrierConfig::Authorization => "the header `authorization`".to_owned(),
        CarrierConfig::Header(header) => format!("the header `{}`", header.name),
        CarrierConfig::Query(name) => format!("the query parameter `{name}`"),
        CarrierConfig::Cookie(name) => format!("the cookie `{name}`"),
        CarrierConfig::Subprotocol(prefix) | CarrierConfig::SubprotocolBase64url(prefix) => {
            format!("the subprotocol `{prefix}…`")
        }
    }
}

pub(crate) fn source_name(source: &PoolSource) -> String {
    match source {
        PoolSource::Path => "path".to_owned(),
        PoolSource::Header(name) => format!("header `{name}`"),
        PoolSource::Claim(claim) => format!("claim `{claim}`"),
    }
}
