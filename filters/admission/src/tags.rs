//! What others get to know of a session: the access log, and the instance.

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::config::{Tag, TagHeaderConfig};
use crate::user::User;

/// What is told, and to whom.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tags {
    pub(crate) claims: Vec<String>,
    /// But for those that hold the session's id, which the proxy mints.
    pub(crate) headers: Vec<TagHeaderConfig>,
    /// The names of those.
    pub(crate) session_headers: Vec<String>,
}

impl Tags {
    /// What the access log may know of a session, by name.
    pub(crate) fn log(&self, user: &User<'_>, pool: &str) -> Vec<(String, String)> {
        let always = [
            ("issuer", Tag::Issuer),
            ("pool", Tag::Pool),
            ("subject", Tag::Subject),
            ("tenant", Tag::Tenant),
        ];
        let always = always.into_iter().map(|(name, tag)| (name.to_owned(), tag));
        let claims = self
            .claims
            .iter()
            .map(|claim| (format!("claim.{claim}"), Tag::Claim(claim.clone())));
        always
            .chain(claims)
            .filter_map(|(name, tag)| Some((name, value(&tag, user, pool)?)))
            .collect()
    }

    /// What the instance gets to know, by header.
    pub(crate) fn headers(&self, user: &User<'_>, pool: &str) -> Vec<(String, String)> {
        self.headers
            .iter()
            .filter_map(|header| Some((header.name.clone(), value(&header.value, user, pool)?)))
            .collect()
    }
}

/// What is said of a session; `None` if there is nothing to say, or if it is longer than anybody reads. Cut short it could
/// be somebody else's.
fn value(tag: &Tag, user: &User<'_>, pool: &str) -> Option<String> {
    let text = match tag {
        Tag::Session => return None,
        Tag::Issuer => user.issuer.to_owned(),
        Tag::Subject => user.subject.clone(),
        Tag::Tenant => user.tenant.clone(),
        Tag::Pool => pool.to_owned(),
        Tag::Claim(claim) => {
            let elements = user.token.as_ref()?.claims.elements(claim)?;
            let safe: Vec<String> = elements.iter().map(|text| encoded(text)).collect();
            return bounded(safe.join(","));
        }
    };
    bounded(encoded(&text))
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, UNSAFE).to_string()
}

fn bounded(safe: String) -> Option<String> {
    (1..=MAX_BYTES).contains(&safe.len()).then_some(safe)
}

/// What RFC 9110 §5.5 does not allow in a field's value; what separates values in a field and in a log line, so that no
/// value can pass for several or for another (a space at its end is not part of a field); and the sign that what is encoded
/// begins with.
const UNSAFE: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'%').add(b',');
/// Of a tag's value.
const MAX_BYTES: usize = 256;
