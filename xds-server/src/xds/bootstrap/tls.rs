//! What an Envoy shows the control plane, and what it wants to be shown.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::quoted;

/// Both sides' certificates, as an Envoy sees them; all paths absolute.
#[derive(Clone, Debug)]
pub struct BootstrapTls {
    /// Who signs the control plane's certificate, PEM.
    pub ca: PathBuf,
    /// This Envoy's certificate chain, PEM; one of its alternative names is its node id.
    pub certificate_chain: PathBuf,
    /// Its key, PEM.
    pub private_key: PathBuf,
    /// The name or IP address that the control plane's certificate must have.
    pub server_name: String,
    /// The folder that holds the [`secrets`](Self::secrets). Only what such files name does Envoy read again: without them,
    /// other certificates take a restart.
    pub secrets_folder: Option<PathBuf>,
}

impl BootstrapTls {
    /// The cluster's transport socket, indented as a field of it.
    pub(super) fn transport_socket(&self) -> String {
        let (san_type, sni) = match self.server_name.parse::<IpAddr>() {
            // A server name is never an address (RFC 6066, section 3).
            Ok(_) => ("IP_ADDRESS", String::new()),
            Err(_) => (
                "DNS",
                format!("        sni: {}\n", quoted(&self.server_name)),
            ),
        };
        let name = quoted(&self.server_name);
        let (certificate, ca) = match &self.secrets_folder {
            Some(folder) => {
                let from = |secret: &str| {
                    let file = folder.join(file_name(secret));
                    format!(
                        "name: {secret}, sds_config: {{ path_config_source: {{ path: {} }}, resource_api_version: V3 }}",
                        text(&file)
                    )
                };
                (
                    format!(
                        "tls_certificate_sds_secret_configs:\n          - {{ {} }}",
                        from(CERTIFICATE)
                    ),
                    format!("validation_context_sds_secret_config: {{ {} }}", from(CA)),
                )
            }
            None => (
                format!(
                    "tls_certificates:\n          - certificate_chain: {}\n            private_key: {}",
                    file(&self.certificate_chain),
                    file(&self.private_key)
                ),
                String::new(),
            ),
        };
        let san = format!("- {{ san_type: {san_type}, matcher: {{ exact: {name} }} }}");
        let validation = if ca.is_empty() {
            format!(
                "validation_context:\n            trusted_ca: {}\n            match_typed_subject_alt_names:\n            {san}",
                file(&self.ca)
            )
        } else {
            format!(
                "combined_validation_context:\n            default_validation_context:\n              match_typed_subject_alt_names:\n              {san}\n            {ca}"
            )
        };
        format!(
            r#"    # Both sides show who they are: this Envoy may only be the node that its certificate names.
    transport_socket:
      name: envoy.transport_sockets.tls
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
{sni}        common_tls_context:
          alpn_protocols: [h2]
          tls_params: {{ tls_minimum_protocol_version: TLSv1_2, tls_maximum_protocol_version: TLSv1_3 }}
          {certificate}
          {validation}
"#
        )
    }

    /// The files that Envoy finds its certificate and its CA by: their names, and their text as YAML. It reads the
    /// certificate and the CA again when something is renamed into their folders, as Kubernetes does with a volume. One file
    /// for both it would refuse.
    pub fn secrets(&self) -> [(String, String); 2] {
        let secret = |name: &str, fields: String| {
            let text = format!(
                r#"# Envoy takes another one as soon as something is renamed into the folder that it watches.
resources:
- "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret
  name: {name}
{fields}"#
            );
            (file_name(name), text)
        };
        let watched = |path: &Path| text(path.parent().unwrap_or(path));
        let certificate = format!(
            "  tls_certificate:\n    certificate_chain: {}\n    private_key: {}\n    watched_directory: {{ path: {} }}\n",
            file(&self.certificate_chain),
            file(&self.private_key),
            watched(&self.certificate_chain)
        );
        let ca = format!(
            "  validation_context:\n    trusted_ca: {}\n    watched_directory: {{ path: {} }}\n",
            file(&self.ca),
            watched(&self.ca)
        );
        [secret(CERTIFICATE, certificate), secret(CA, ca)]
    }
}

fn file_name(secret: &str) -> String {
    format!("{secret}.yaml")
}

fn file(path: &Path) -> String {
    format!("{{ filename: {} }}", text(path))
}

/// Paths come from the command line, and YAML is text.
fn text(path: &Path) -> String {
    quoted(&path.to_string_lossy())
}

const CERTIFICATE: &str = "berth_xds_certificate";
const CA: &str = "berth_xds_ca";

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn tls() -> BootstrapTls {
        BootstrapTls {
            ca: "/etc/envoy/ca.pem".into(),
            certificate_chain: "/etc/envoy/pair/cert.pem".into(),
            private_key: "/etc/envoy/pair/key.pem".into(),
            server_name: "berth.example".to_owned(),
            secrets_folder: None,
        }
    }

    fn context(tls: &BootstrapTls) -> Value {
        let cluster = format!("cluster:\n{}", tls.transport_socket());
        let parsed: Value = serde_saphyr::from_str(&cluster).unwrap();
        let context = parsed.pointer("/cluster/transport_socket/typed_config");
        context.unwrap().clone()
    }

    #[test]
    fn a_file_of_secrets_takes_the_place_of_the_files() {
        let inline = context(&tls());
        let watched = context(&BootstrapTls {
            secrets_folder: Some("/etc/envoy/\"x\"".into()),
            ..tls()
        });
        let common = "/common_tls_context";
        for (context, pointer, expected) in [
            (&inline, "/sni", "berth.example"),
            (
                &inline,
                "/common_tls_context/tls_certificates/0/private_key/filename",
                "/etc/envoy/pair/key.pem",
            ),
            (
                &inline,
                "/common_tls_context/validation_context/trusted_ca/filename",
                "/etc/envoy/ca.pem",
            ),
            (
                &inline,
                "/common_tls_context/validation_context/match_typed_subject_alt_names/0/matcher/exact",
                "berth.example",
            ),
            (
                &watched,
                "/common_tls_context/tls_certificate_sds_secret_configs/0/sds_config/path_config_source/path",
                "/etc/envoy/\"x\"/berth_xds_certificate.yaml",
            ),
            (
                &watched,
                "/common_tls_context/combined_validation_context/validation_context_sds_secret_config/name",
                CA,
            ),
            (
                &watched,
                "/common_tls_context/combined_validation_context/default_validation_context/match_typed_subject_alt_names/0/san_type",
                "DNS",
            ),
        ] {
            let found = context.pointer(pointer).and_then(Value::as_str);
            assert_eq!(found, Some(expected), "{pointer}");
        }
        let inline_in_watched = watched.pointer(&format!("{common}/tls_certificates"));
        assert_eq!(inline_in_watched, None);
    }

    #[test]
    fn an_address_is_no_server_name() {
        let context = context(&BootstrapTls {
            server_name: "fd00::1".to_owned(),
            ..tls()
        });
        assert_eq!(context.get("sni"), None);
        let san = context
            .pointer("/common_tls_context/validation_context/match_typed_subject_alt_names/0")
            .unwrap();
        assert_eq!(san.get("san_type"), Some(&"IP_ADDRESS".into()));
        assert_eq!(san.pointer("/matcher/exact"), Some(&"fd00::1".into()));
    }

    #[test]
    fn secrets_say_what_to_watch() {
        let [certificate, ca] = tls().secrets();
        for ((file, text), name, pointer, expected) in [
            (
                certificate,
                CERTIFICATE,
                "/resources/0/tls_certificate/watched_directory/path",
                "/etc/envoy/pair",
            ),
            (
                ca,
                CA,
                "/resources/0/validation_context/watched_directory/path",
                "/etc/envoy",
            ),
        ] {
            assert_eq!(file, format!("{name}.yaml"));
            let secret: Value = serde_saphyr::from_str(&text).unwrap();
            let at = |pointer| secret.pointer(pointer).and_then(Value::as_str);
            assert_eq!(
                (at("/resources/0/name"), at(pointer)),
                (Some(name), Some(expected))
            );
            assert_eq!(
                secret.pointer("/resources/1"),
                None,
                "Envoy takes one a file"
            );
        }
    }
}
