//! What answers a check that would have been let in.

use berth_admission::{Family, UnixSeconds};
use serde::Serialize;

use crate::session::Admitted;

/// JSON that says as whom, and to what. The same whoever checked the credential.
pub(crate) fn admitted(family: Family, admitted: &Admitted) -> String {
    let owner = &admitted.owner;
    let body = Body {
        verdict: "admitted",
        family,
        pool: &admitted.pool,
        issuer: &owner.issuer,
        subject: &owner.subject,
        tenant: Some(owner.tenant.as_str()).filter(|tenant| !tenant.is_empty()),
        expires_at: admitted.expires_at.map(|UnixSeconds(seconds)| seconds),
    };
    // Strings and numbers under fixed names always have a JSON form: the default is never taken.
    serde_json::to_string(&body).unwrap_or_default()
}

#[derive(Serialize)]
struct Body<'a> {
    verdict: &'a str,
    family: Family,
    pool: &'a str,
    issuer: &'a str,
    subject: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<u64>,
}
