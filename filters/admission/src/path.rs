use std::borrow::Cow;

use percent_encoding::percent_decode;

use crate::Family;
use crate::credential::{Agreed, RESUME_KEY_PARAMETER};
use crate::label::Asked;

/// What a request's `:path` asks for.
pub(crate) struct Target<'a> {
    pub(crate) family: Family,
    /// The path's first segment where it names a pool. Not decoded: no pool's name needs encoding.
    pub(crate) pool: Option<&'a [u8]>,
    query: Option<&'a [u8]>,
}

impl<'a> Target<'a> {
    /// `/rtsp`, `/sign_in` or `/<pool>/sign_in`, exactly; a query may follow. A fragment, which has
    /// no place in a request (RFC 9112 §3.2), is dropped.
    pub(crate) fn parse(path: &'a [u8]) -> Option<Self> {
        let (path, _fragment) = cut(path, b'#');
        let (path, query) = cut(path, b'?');
        let (family, pool) = match path {
            b"/rtsp" => (Family::Native, None),
            b"/sign_in" => (Family::Web, None),
            _ => {
                let pool = path.strip_prefix(b"/")?.strip_suffix(b"/sign_in")?;
                if pool.is_empty() || pool.contains(&b'/') {
                    return None;
                }
                (Family::Web, Some(pool))
            }
        };
        Some(Self {
            family,
            pool,
            query,
        })
    }

    /// Takes what is ours out of the query. Labels that are asked for are no secret, and stay.
    pub(crate) fn edit_query(
        &self,
        token_parameter: &str,
        labels: &mut Asked<'_, 'a>,
    ) -> EditedPath<'a> {
        let mut edited = EditedPath {
            token: Agreed::Nothing,
            resume_key: Agreed::Nothing,
            upstream: match self.family {
                Family::Native => b"/rtsp".to_vec(),
                Family::Web => b"/sign_in".to_vec(),
            },
        };
        let mut separator = b'?';
        for parameter in self
            .query
            .into_iter()
            .flat_map(|query| query.split(|byte| *byte == b'&'))
        {
            let (name, value) = cut(parameter, b'=');
            let value = value.unwrap_or_default();
            // Decoded, because the instance will: no encoded name shall get a token past us.
            let name = Cow::from(percent_decode(name));
            if *name == *token_parameter.as_bytes() {
                edited.token.add(percent_decode(value).into());
            } else if *name == *RESUME_KEY_PARAMETER.as_bytes() {
                edited.resume_key.add(percent_decode(value).into());
            } else {
                labels.parameter(&name, value);
                edited.upstream.push(separator);
                edited.upstream.extend_from_slice(parameter);
                separator = b'&';
            }
        }
        edited
    }
}

/// A path, and what was taken out of its query.
pub(crate) struct EditedPath<'a> {
    pub(crate) token: Agreed<'a>,
    pub(crate) resume_key: Agreed<'a>,
    /// The `:path` the instance sees.
    pub(crate) upstream: Vec<u8>,
}

/// What stands before the first `at`, and after it if it is there.
fn cut(bytes: &[u8], at: u8) -> (&[u8], Option<&[u8]>) {
    let mut parts = bytes.splitn(2, |byte| *byte == at);
    (parts.next().unwrap_or_default(), parts.next())
}
