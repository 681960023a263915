use std::borrow::Cow;

use percent_encoding::percent_decode;

use crate::Family;

/// What a request's `:path` asks for.
pub(crate) struct Target<'a> {
    pub(crate) family: Family,
    /// The path's first segment where it may name a pool. Not decoded: no pool's name needs encoding.
    pub(crate) pool: Option<&'a [u8]>,
}

impl<'a> Target<'a> {
    /// `/rtsp`, `/sign_in` or `/<pool>/sign_in`, exactly; a query may follow.
    pub(crate) fn parse(path: &'a [u8]) -> Option<Self> {
        let (family, pool) = match without_query(path) {
            b"/rtsp" => (Family::Native, None),
            b"/sign_in" => (Family::Web, None),
            path => {
                let pool = path.strip_prefix(b"/")?.strip_suffix(b"/sign_in")?;
                if pool.is_empty() || pool.contains(&b'/') {
                    return None;
                }
                (Family::Web, Some(pool))
            }
        };
        Some(Self { family, pool })
    }

    /// The path that the runtime serves.
    pub(crate) const fn upstream_path(&self) -> &'static str {
        match self.family {
            Family::Native => "/rtsp",
            Family::Web => "/sign_in",
        }
    }
}

/// The path alone.
pub(crate) fn without_query(path: &[u8]) -> &[u8] {
    cut(cut(path, b'#').0, b'?').0
}

/// A parameter of a query.
pub(crate) struct Parameter<'a> {
    /// Decoded, because the instance will: no encoded name shall get a token past us.
    pub(crate) name: Cow<'a, [u8]>,
    /// As it came.
    pub(crate) value: &'a [u8],
    /// All of it, as it came.
    pub(crate) text: &'a [u8],
}

/// The parameters of a path's query. A fragment, which has no place in a request (RFC 9112 §3.2), is dropped.
pub(crate) fn parameters(path: &[u8]) -> impl Iterator<Item = Parameter<'_>> {
    let query = cut(cut(path, b'#').0, b'?').1;
    query
        .into_iter()
        .flat_map(|query| query.split(|byte| *byte == b'&'))
        .map(|text| {
            let (name, value) = cut(text, b'=');
            Parameter {
                name: percent_decode(name).into(),
                value: value.unwrap_or_default(),
                text,
            }
        })
}

/// What stands before the first `at`, and after it if it is there.
fn cut(bytes: &[u8], at: u8) -> (&[u8], Option<&[u8]>) {
    let mut parts = bytes.splitn(2, |byte| *byte == at);
    (parts.next().unwrap_or_default(), parts.next())
}
