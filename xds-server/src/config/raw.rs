//! The file's shape and nothing else: what may be written where, and what may be left out.
//! Values that have rules are still text or wide numbers here, so that every broken rule of a
//! file can be reported, not only the first. A section all of whose fields have defaults may be
//! left empty too, as it is once its last line has been commented out.

use std::collections::BTreeMap;
use std::path::PathBuf;

use berth_admission::{
    AllowConfig, ApiKeyConfig, AttemptsConfig, CarrierConfig, ClaimConfig, ClientCertificateConfig,
    LabelConfig, Matcher, PoolSource, TagsConfig,
};
use serde::Deserialize;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawConfig {
    pub(super) xds: Option<RawXds>,
    pub(super) admin: Option<RawEndpoint>,
    pub(super) listeners: Vec<RawListener>,
    pub(super) tls: RawTls,
    pub(super) filter: RawFilter,
    #[serde(default)]
    pub(super) static_proxies: Vec<RawStaticProxy>,
    pub(super) admission: RawAdmission,
    pub(super) pools: Vec<RawPool>,
    pub(super) timing: Option<RawTiming>,
    pub(super) store: Option<RawStore>,
    pub(super) profiles: Option<Vec<RawProfile>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawXds {
    pub(super) listen: Option<String>,
    #[serde(default)]
    pub(super) allow_plaintext: bool,
    pub(super) tls: Option<RawXdsTls>,
    pub(super) max_streams: Option<i64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawXdsTls {
    pub(super) certificate_chain: PathBuf,
    pub(super) private_key: PathBuf,
    pub(super) client_ca: PathBuf,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawEndpoint {
    pub(super) listen: Option<String>,
    #[serde(default)]
    pub(super) allow_plaintext: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawListener {
    pub(super) name: String,
    pub(super) address: String,
    pub(super) port: i64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTls {
    pub(super) certificate_chain: PathBuf,
    pub(super) private_key: PathBuf,
    #[serde(default)]
    pub(super) by_sni: Vec<RawSniCertificate>,
    pub(super) client_ca: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSniCertificate {
    pub(super) name: String,
    pub(super) certificate_chain: PathBuf,
    pub(super) private_key: PathBuf,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawFilter {
    pub(super) module: PathBuf,
    pub(super) delivery: Option<String>,
    pub(super) when_control_plane_away: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawStaticProxy {
    pub(super) node: String,
    pub(super) pools: Option<Vec<String>>,
    pub(super) zone: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawAdmission {
    #[serde(default)]
    pub(super) issuers: Vec<RawIssuer>,
    #[serde(default)]
    pub(super) api_keys: Vec<ApiKeyConfig>,
    #[serde(default)]
    pub(super) client_certificates: Vec<ClientCertificateConfig>,
    #[serde(default)]
    pub(super) carriers: Vec<CarrierConfig>,
    #[serde(default)]
    pub(super) pool_from: Vec<PoolSource>,
    pub(super) pools_claim: Option<String>,
    pub(super) tenant_claim: Option<String>,
    pub(super) priority_claim: Option<String>,
    #[serde(default)]
    pub(super) labels: Vec<LabelConfig>,
    pub(super) default_pools: Option<RawDefaultPools>,
    pub(super) origins: Option<Vec<String>>,
    pub(super) tags: Option<TagsConfig>,
    pub(super) attempts: Option<AttemptsConfig>,
    pub(super) token_cache: Option<RawTokenCache>,
}

impl RawAdmission {
    /// Whether anybody may be of a tenant.
    pub(super) fn has_tenants(&self) -> bool {
        let keys = self.api_keys.iter().map(|key| &key.tenant);
        let certificates = self.client_certificates.iter().map(|one| &one.tenant);
        self.tenant_claim.is_some() || keys.chain(certificates).any(|tenant| !tenant.is_empty())
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTokenCache {
    pub(super) entries: Option<i64>,
    pub(super) max_age: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawIssuer {
    pub(super) issuer: String,
    #[serde(default)]
    pub(super) audiences: Vec<String>,
    pub(super) jwks_file: Option<PathBuf>,
    pub(super) jwks_url: Option<String>,
    #[serde(default)]
    pub(super) discovery: bool,
    pub(super) refresh: Option<String>,
    pub(super) min_refetch: Option<String>,
    pub(super) ca_file: Option<PathBuf>,
    #[serde(default)]
    pub(super) allow_plaintext: bool,
    pub(super) clock_skew: Option<String>,
    #[serde(default)]
    pub(super) types: Vec<String>,
    #[serde(default)]
    pub(super) subjects: Vec<Matcher>,
    #[serde(default)]
    pub(super) required_claims: Vec<ClaimConfig>,
    pub(super) max_lifetime: Option<String>,
    #[serde(default)]
    pub(super) close_when_expired: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawDefaultPools {
    pub(super) native: Option<String>,
    pub(super) web: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawPool {
    pub(super) name: String,
    pub(super) family: String,
    pub(super) instances: Vec<RawInstance>,
    pub(super) probe: Option<RawProbe>,
    pub(super) instance_tls: Option<RawInstanceTls>,
    pub(super) choice: Option<String>,
    pub(super) second_device: Option<String>,
    pub(super) resume_window: Option<String>,
    pub(super) settle: Option<String>,
    pub(super) warm_up: Option<String>,
    pub(super) hold: Option<String>,
    pub(super) queue: Option<i64>,
    pub(super) orphan_after: Option<String>,
    pub(super) max_sessions: Option<i64>,
    pub(super) max_sessions_per_user: Option<i64>,
    pub(super) max_sessions_per_tenant: Option<i64>,
    pub(super) max_session_age: Option<String>,
    #[serde(default)]
    pub(super) tenants: Vec<RawTenant>,
    #[serde(default)]
    pub(super) audiences: Vec<String>,
    #[serde(default)]
    pub(super) allow: Vec<AllowConfig>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawInstanceTls {
    pub(super) ca: PathBuf,
    pub(super) server_name: Option<String>,
    pub(super) certificate_chain: Option<PathBuf>,
    pub(super) private_key: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTenant {
    pub(super) name: String,
    pub(super) reserved: Option<i64>,
    pub(super) max_sessions: Option<i64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawInstance {
    pub(super) name: String,
    pub(super) address: String,
    pub(super) zone: Option<String>,
    #[serde(default)]
    pub(super) labels: BTreeMap<String, String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawProbe {
    pub(super) tcp: Option<RawTcpProbe>,
    pub(super) http: Option<RawHttpProbe>,
    pub(super) interval: Option<String>,
    pub(super) timeout: Option<String>,
    pub(super) rise: Option<i64>,
    pub(super) fall: Option<i64>,
}

/// `tcp: {}`: there is nothing to set.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTcpProbe {}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawHttpProbe {
    pub(super) port: i64,
    pub(super) path: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTiming {
    pub(super) tick: Option<String>,
    pub(super) handshake_timeout: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawStore {
    pub(super) path: Option<String>,
    pub(super) history: Option<RawHistory>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawHistory {
    pub(super) max_age: Option<String>,
    pub(super) max_sessions: Option<i64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawProfile {
    pub(super) name: String,
    pub(super) r#match: Option<RawNodeMatch>,
    pub(super) listeners: Option<Vec<String>>,
    pub(super) pools: Option<Vec<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawNodeMatch {
    pub(super) cluster: Option<String>,
    pub(super) region: Option<String>,
    pub(super) zone: Option<String>,
    pub(super) sub_zone: Option<String>,
    #[serde(default)]
    pub(super) metadata: BTreeMap<String, String>,
}
