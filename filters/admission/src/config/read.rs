//! Reads a policy as the filter gets it. What serde derives for the same types reads the same, but the module has no room
//! for that.

use crate::json::{Json, Members, Mismatch, flag, number, text, variant};
use crate::matcher::Matcher;

use super::{
    AllowConfig, ApiKeyConfig, AttemptsConfig, CarrierConfig, CertificateName, ClaimConfig,
    ClientCertificateConfig, DefaultPools, Family, HeaderCarrierConfig, IssuerConfig, LabelConfig,
    PolicyConfig, PoolConfig, PoolSource, Tag, TagHeaderConfig, TagsConfig, TokenCacheConfig,
    default_clock_skew_seconds,
};

type Read<T> = Result<T, Mismatch>;

impl PolicyConfig {
    /// Reads a policy.
    ///
    /// # Errors
    /// The first member that is missing, of another form, or not known.
    pub fn read(json: &Json) -> Result<Self, Mismatch> {
        let mut members = Members::of(json);
        let config = Self {
            issuers: members.list("issuers", issuer),
            api_keys: members.list("api_keys", api_key),
            client_certificates: members.list("client_certificates", client_certificate),
            carriers: members.list("carriers", carrier),
            pools: members.needed_list("pools", pool),
            pool_from: members.list("pool_from", pool_source),
            default_pools: members
                .one("default_pools", default_pools)
                .unwrap_or_default(),
            pools_claim: members.optional_text("pools_claim"),
            tenant_claim: members.optional_text("tenant_claim"),
            priority_claim: members.optional_text("priority_claim"),
            labels: members.list("labels", label),
            origins: members.optional_texts("origins"),
            tags: members.one("tags", tags).unwrap_or_default(),
            attempts: members.one("attempts", attempts).unwrap_or_default(),
            token_cache: members.one("token_cache", token_cache).unwrap_or_default(),
        };
        members.end(config)
    }
}

fn issuer(json: &Json) -> Read<IssuerConfig> {
    let mut members = Members::of(json);
    let config = IssuerConfig {
        issuer: members.text("issuer"),
        audiences: members.texts("audiences"),
        jwks: members.needed("jwks", as_it_is).unwrap_or(Json::Null),
        clock_skew_seconds: members
            .one("clock_skew_seconds", number)
            .unwrap_or_else(default_clock_skew_seconds),
        types: members.texts("types"),
        subjects: members.list("subjects", matcher),
        required_claims: members.list("required_claims", claim),
        max_lifetime_seconds: members.optional_number("max_lifetime_seconds"),
        close_when_expired: members.one("close_when_expired", flag).unwrap_or_default(),
    };
    members.end(config)
}

fn api_key(json: &Json) -> Read<ApiKeyConfig> {
    let mut members = Members::of(json);
    let config = ApiKeyConfig {
        subject: members.text("subject"),
        sha256: members.text("sha256"),
        tenant: members.text_or_empty("tenant"),
        pools: members.texts("pools"),
        priority: members.one("priority", byte).unwrap_or_default(),
    };
    members.end(config)
}

fn client_certificate(json: &Json) -> Read<ClientCertificateConfig> {
    let mut members = Members::of(json);
    let config = ClientCertificateConfig {
        name: members
            .needed("name", certificate_name)
            .unwrap_or(CertificateName::Subject),
        matches: needed_matcher(&mut members),
        tenant: members.text_or_empty("tenant"),
        pools: members.texts("pools"),
    };
    members.end(config)
}

fn certificate_name(json: &Json) -> Read<CertificateName> {
    match json.as_text() {
        Some("dns_san") => Ok(CertificateName::DnsSan),
        Some("subject") => Ok(CertificateName::Subject),
        Some("uri_san") => Ok(CertificateName::UriSan),
        _ => Err(Mismatch::new("must be dns_san, subject or uri_san")),
    }
}

fn carrier(json: &Json) -> Read<CarrierConfig> {
    match variant(json) {
        Some(("authorization", None)) => Ok(CarrierConfig::Authorization),
        Some((name @ "header", Some(value))) => {
            let header = header_carrier(value).map(CarrierConfig::Header);
            header.map_err(|wrong| wrong.at(name))
        }
        Some((name @ "query", Some(value))) => named(name, value).map(CarrierConfig::Query),
        Some((name @ "cookie", Some(value))) => named(name, value).map(CarrierConfig::Cookie),
        Some((name @ "subprotocol", Some(value))) => {
            named(name, value).map(CarrierConfig::Subprotocol)
        }
        Some((name @ "subprotocol_base64url", Some(value))) => {
            named(name, value).map(CarrierConfig::SubprotocolBase64url)
        }
        _ => Err(Mismatch::new(
            "must be authorization, or an object with header, query, cookie, subprotocol or subprotocol_base64url",
        )),
    }
}

fn header_carrier(json: &Json) -> Read<HeaderCarrierConfig> {
    let mut members = Members::of(json);
    let config = HeaderCarrierConfig {
        name: members.text("name"),
        prefix: members.text_or_empty("prefix"),
    };
    members.end(config)
}

fn pool_source(json: &Json) -> Read<PoolSource> {
    match variant(json) {
        Some(("path", None)) => Ok(PoolSource::Path),
        Some((name @ "header", Some(value))) => named(name, value).map(PoolSource::Header),
        Some((name @ "claim", Some(value))) => named(name, value).map(PoolSource::Claim),
        _ => Err(Mismatch::new(
            "must be path, or an object with header or claim",
        )),
    }
}

fn pool(json: &Json) -> Read<PoolConfig> {
    let mut members = Members::of(json);
    let config = PoolConfig {
        name: members.text("name"),
        family: members.needed("family", family).unwrap_or(Family::Web),
        audiences: members.texts("audiences"),
        allow: members.list("allow", allow),
    };
    members.end(config)
}

fn family(json: &Json) -> Read<Family> {
    let family = json.as_text().and_then(|name| name.parse().ok());
    family.ok_or(Mismatch::new("must be native or web"))
}

fn allow(json: &Json) -> Read<AllowConfig> {
    let mut members = Members::of(json);
    let config = AllowConfig {
        issuer: members.optional_text("issuer"),
        subject: members.one("subject", optional_matcher).flatten(),
        tenant: members.one("tenant", optional_matcher).flatten(),
        claims: members.list("claims", claim),
    };
    members.end(config)
}

fn claim(json: &Json) -> Read<ClaimConfig> {
    let mut members = Members::of(json);
    let config = ClaimConfig {
        claim: members.text("claim"),
        matches: needed_matcher(&mut members),
    };
    members.end(config)
}

fn needed_matcher(members: &mut Members<'_>) -> Matcher {
    let matches = members.needed("matches", matcher);
    matches.unwrap_or_else(|| Matcher::Exact(String::new()))
}

fn optional_matcher(json: &Json) -> Read<Option<Matcher>> {
    match json {
        Json::Null => Ok(None),
        json => matcher(json).map(Some),
    }
}

fn matcher(json: &Json) -> Read<Matcher> {
    match variant(json) {
        Some((name @ "exact", Some(value))) => named(name, value).map(Matcher::Exact),
        Some((name @ "prefix", Some(value))) => named(name, value).map(Matcher::Prefix),
        Some((name @ "suffix", Some(value))) => named(name, value).map(Matcher::Suffix),
        _ => Err(Mismatch::new(
            "must be an object with exact, prefix or suffix",
        )),
    }
}

fn default_pools(json: &Json) -> Read<DefaultPools> {
    let mut members = Members::of(json);
    let config = DefaultPools {
        native: members.optional_text("native"),
        web: members.optional_text("web"),
    };
    members.end(config)
}

fn label(json: &Json) -> Read<LabelConfig> {
    let mut members = Members::of(json);
    let config = LabelConfig {
        label: members.text("label"),
        query_parameter: members.optional_text("query_parameter"),
        header: members.optional_text("header"),
    };
    members.end(config)
}

fn tags(json: &Json) -> Read<TagsConfig> {
    let mut members = Members::of(json);
    let config = TagsConfig {
        claims: members.texts("claims"),
        headers: members.list("headers", tag_header),
    };
    members.end(config)
}

fn tag_header(json: &Json) -> Read<TagHeaderConfig> {
    let mut members = Members::of(json);
    let config = TagHeaderConfig {
        name: members.text("name"),
        value: members.needed("value", tag).unwrap_or(Tag::Session),
    };
    members.end(config)
}

fn tag(json: &Json) -> Read<Tag> {
    match variant(json) {
        Some(("session", None)) => Ok(Tag::Session),
        Some(("issuer", None)) => Ok(Tag::Issuer),
        Some(("subject", None)) => Ok(Tag::Subject),
        Some(("tenant", None)) => Ok(Tag::Tenant),
        Some(("pool", None)) => Ok(Tag::Pool),
        Some((name @ "claim", Some(value))) => named(name, value).map(Tag::Claim),
        _ => Err(Mismatch::new(
            "must be session, issuer, subject, tenant or pool, or an object with claim",
        )),
    }
}

fn attempts(json: &Json) -> Read<AttemptsConfig> {
    let mut members = Members::of(json);
    let config = AttemptsConfig {
        burst: members.needed("burst", u32_number).unwrap_or_default(),
        per_minute: members.needed("per_minute", u32_number).unwrap_or_default(),
    };
    members.end(config)
}

fn token_cache(json: &Json) -> Read<TokenCacheConfig> {
    let mut members = Members::of(json);
    let config = TokenCacheConfig {
        entries: members.needed("entries", u32_number).unwrap_or_default(),
        seconds: members.needed("seconds", u32_number).unwrap_or_default(),
    };
    members.end(config)
}

/// The text that the member of this name is.
fn named(name: &str, value: &Json) -> Read<String> {
    text(value).map_err(|wrong| wrong.at(name))
}

fn as_it_is(json: &Json) -> Read<Json> {
    Ok(json.clone())
}

fn byte(json: &Json) -> Read<u8> {
    let byte = number(json)?.try_into();
    byte.map_err(|_| Mismatch::new("must be at most 255"))
}

fn u32_number(json: &Json) -> Read<u32> {
    let number = number(json)?.try_into();
    number.map_err(|_| Mismatch::new("must be at most 4294967295"))
}
