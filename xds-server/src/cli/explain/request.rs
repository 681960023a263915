//! The request that is asked about.

use std::net::IpAddr;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use berth_admission::{CarrierConfig, Certificate, Request};

/// A request as a client would send it.
pub(super) struct Asked {
    pub(super) method: String,
    pub(super) path: String,
    /// Names in lower case.
    pub(super) headers: Vec<(String, Vec<u8>)>,
    pub(super) client: Option<IpAddr>,
    pub(super) certificate: CertificateNames,
}

/// What a client's certificate says.
#[derive(Debug, Default)]
pub(super) struct CertificateNames {
    pub(super) dns_san: Option<String>,
    pub(super) subject: Option<String>,
    pub(super) uri_san: Option<String>,
}

impl Asked {
    pub(super) fn request(&self) -> Request<'_> {
        Request {
            method: self.method.as_bytes(),
            path: self.path.as_bytes(),
            headers: &self.headers,
            client: self.client,
            certificate: Certificate {
                dns_san: self.certificate.dns_san.as_deref(),
                subject: self.certificate.subject.as_deref(),
                uri_san: self.certificate.uri_san.as_deref(),
            },
        }
    }

    pub(super) fn header(&mut self, name: &str, value: impl Into<Vec<u8>>) {
        self.headers.push((name.to_owned(), value.into()));
    }

    /// Puts a credential where the policy looks for one: into `Authorization` if that is such a place.
    pub(super) fn carry(&mut self, carriers: &[CarrierConfig], credential: &str) {
        let usual = CarrierConfig::Authorization;
        // Without any, they are the usual ones.
        let first = carriers.first().unwrap_or(&usual);
        match carriers.iter().find(|one| **one == usual).unwrap_or(first) {
            CarrierConfig::Authorization => {
                self.header("authorization", format!("Bearer {credential}"));
            }
            CarrierConfig::Header(header) => {
                self.header(&header.name, format!("{}{credential}", header.prefix));
            }
            CarrierConfig::Query(name) => {
                let separator = if self.path.contains('?') { '&' } else { '?' };
                let value = encoded(credential);
                self.path = format!("{}{separator}{name}={value}", self.path);
            }
            CarrierConfig::Cookie(name) => self.header("cookie", format!("{name}={credential}")),
            CarrierConfig::Subprotocol(prefix) => {
                self.header(SUBPROTOCOL, format!("{prefix}{credential}"));
            }
            CarrierConfig::SubprotocolBase64url(prefix) => {
                let value = URL_SAFE_NO_PAD.encode(credential);
                self.header(SUBPROTOCOL, format!("{prefix}{value}"));
            }
        }
    }
}

/// RFC 3986 §2.1, of all that is not unreserved.
fn encoded(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
            char::from(byte).to_string()
        }
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}

const SUBPROTOCOL: &str = "sec-websocket-protocol";

#[cfg(test)]
mod tests {
    use berth_admission::HeaderCarrierConfig;

    use super::*;

    #[test]
    fn a_credential_goes_where_the_policy_looks() {
        let header = HeaderCarrierConfig {
            name: "x-token".to_owned(),
            prefix: "Token ".to_owned(),
        };
        let query = || CarrierConfig::Query("t".to_owned());
        for (carriers, path, headers) in [
            (vec![], "/sign_in?a", &[("authorization", "Bearer a&b")][..]),
            (
                vec![query(), CarrierConfig::Authorization],
                "/sign_in?a",
                &[("authorization", "Bearer a&b")],
            ),
            (vec![query()], "/sign_in?a&t=a%26b", &[]),
            (
                vec![CarrierConfig::Header(header), query()],
                "/sign_in?a",
                &[("x-token", "Token a&b")],
            ),
            (
                vec![CarrierConfig::Cookie("c".to_owned())],
                "/sign_in?a",
                &[("cookie", "c=a&b")],
            ),
            (
                vec![CarrierConfig::Subprotocol("auth.".to_owned())],
                "/sign_in?a",
                &[("sec-websocket-protocol", "auth.a&b")],
            ),
            (
                vec![CarrierConfig::SubprotocolBase64url("b64.".to_owned())],
                "/sign_in?a",
                &[("sec-websocket-protocol", "b64.YSZi")],
            ),
        ] {
            let mut asked = Asked {
                method: "GET".to_owned(),
                path: "/sign_in?a".to_owned(),
                headers: Vec::new(),
                client: None,
                certificate: CertificateNames::default(),
            };
            asked.carry(&carriers, "a&b");
            assert_eq!(asked.path, path, "{carriers:?}");
            let found: Vec<_> = asked
                .headers
                .iter()
                .map(|(name, value)| (name.as_str(), str::from_utf8(value).unwrap()))
                .collect();
            assert_eq!(found, headers, "{carriers:?}");
        }
    }
}
