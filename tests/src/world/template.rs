//! Bootstraps with blanks, for Envoys that were there before Berth.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::{Certificates, EnvoySpec, Error, programs};

/// `envoy/listeners/envoy.yaml`: an Envoy that was there already, with blanks.
///
/// # Errors
/// [`Error::Io`].
pub fn join_template() -> Result<String, Error> {
    let path = programs::project().join("envoy/listeners/envoy.yaml");
    fs::read_to_string(&path).map_err(Error::io(path.display()))
}

/// An Envoy's bootstrap.
pub(super) fn filled_in(
    template: &str,
    spec: &EnvoySpec,
    xds_port: u16,
    certificates: &Certificates,
) -> String {
    let blanks = [
        ("${NODE_ID}", spec.name.clone()),
        ("${ADMIN_PORT}", spec.admin_port.to_string()),
        ("${HTTPS_PORT}", spec.https.port().to_string()),
        ("${CONTROL_PLANE_PORT}", xds_port.to_string()),
        ("${CERTIFICATE}", certificates.chain.display().to_string()),
        (
            "${ACCESS_LOG}",
            access_log(&spec.bootstrap).display().to_string(),
        ),
        (
            "${PRIVATE_KEY}",
            certificates.private_key.display().to_string(),
        ),
    ];
    blanks
        .iter()
        .fold(template.to_owned(), |text, (blank, value)| {
            text.replace(blank, value)
        })
}

/// Where an Envoy of this bootstrap logs requests, if it does.
pub(super) fn access_log(bootstrap: &Path) -> PathBuf {
    bootstrap.with_extension("access.jsonl")
}

/// The template with an access log of these members.
pub(super) fn with_access_log(template: &str, members: &[(&str, &str)]) -> String {
    let members = members.iter();
    let format: Map<String, Value> = members
        .map(|(name, operator)| ((*name).to_owned(), (*operator).into()))
        .collect();
    // JSON is YAML.
    let format = Value::Object(format);
    let logger = format!(
        "{LOGGED}
          access_log:
          - name: envoy.access_loggers.file
            typed_config:
              \"@type\": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog
              path: ${{ACCESS_LOG}}
              log_format: {{ json_format: {format} }}"
    );
    template.replace(LOGGED, &logger)
}

/// After this line of the template.
const LOGGED: &str = "          stat_prefix: https";
