//! Who is at the other end of a connection to the xDS port, and which proxy that may be.

use std::fmt;
use std::sync::Arc;

use tonic::{Extensions, Status};

/// Who is at the other end of a connection, as far as it has proved it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Nobody was asked for a certificate: whoever reaches the port is trusted, and may be any proxy.
    Plain,
    /// The names of its certificate, which the operator's CA has signed: its DNS and URI alternative names
    /// (RFC 5280, section 4.2.1.6), as they are written there.
    Certified(Arc<[String]>),
}

impl Peer {
    /// The peer that a call came from. A connection that carries none was not asked for a certificate.
    pub fn of(extensions: &Extensions) -> Self {
        extensions.get().cloned().unwrap_or(Self::Plain)
    }

    /// Whether it may speak as the proxy with this node id. A certificate has to name the id as it is: a part of a
    /// name, a wildcard or the subject's common name would let one proxy's key speak for another.
    pub fn may_be(&self, node: &str) -> bool {
        match self {
            Self::Plain => true,
            Self::Certified(names) => names.iter().any(|name| name == node),
        }
    }

    /// Whether it [may be](Self::may_be) this proxy, with the reason why not.
    ///
    /// # Errors
    /// [`NotThisNode`], which goes to the peer as PERMISSION_DENIED.
    pub fn check(&self, node: &str) -> Result<(), NotThisNode> {
        match self {
            Self::Certified(names) if !self.may_be(node) => Err(NotThisNode {
                node: node.to_owned(),
                names: Arc::clone(names),
            }),
            _ => Ok(()),
        }
    }
}

/// A peer said that it was a proxy which its certificate does not name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the certificate is not for node `{}`: it is for {}", node.escape_debug(), Names(names))]
pub struct NotThisNode {
    /// The node id that it stated.
    pub node: String,
    /// The names that its certificate has.
    pub names: Arc<[String]>,
}

impl From<NotThisNode> for Status {
    fn from(refused: NotThisNode) -> Self {
        Self::permission_denied(refused.to_string())
    }
}

/// As many as fit on a line; they come from somebody else, so they are escaped.
struct Names<'a>(&'a [String]);

impl fmt::Display for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(names) = self;
        if names.is_empty() {
            return f.write_str("nobody, for it has neither a DNS nor a URI name");
        }
        for (index, name) in names.iter().take(SHOWN).enumerate() {
            let comma = if index > 0 { ", " } else { "" };
            write!(f, "{comma}`{}`", name.escape_debug())?;
        }
        match names.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

/// A certificate may have hundreds of names, a status is an HTTP/2 header.
const SHOWN: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;

    fn certified(names: &[&str]) -> Peer {
        Peer::Certified(names.iter().map(|name| (*name).to_owned()).collect())
    }

    #[test]
    fn a_certificate_is_for_the_nodes_that_it_names_and_no_other() {
        let names = [
            "edge-1",
            "*.edge.example",
            "spiffe://example.com/envoy/edge-2",
        ];
        let peer = certified(&names);
        for node in names {
            assert!(peer.may_be(node), "{node}");
        }
        for node in [
            "",
            "edge",
            "edge-10",
            "EDGE-1",
            "edge-1 ",
            "edge-2",
            "one.edge.example",
            "spiffe://example.com/envoy",
        ] {
            assert!(!peer.may_be(node), "{node}");
            assert!(Peer::Plain.may_be(node), "{node}");
            assert!(!certified(&[]).may_be(node), "{node}");
        }
    }

    #[test]
    fn a_refusal_says_which_node_and_whose_certificate() {
        let many: Vec<_> = (0..7).map(|n| format!("n{n}")).collect();
        let many: Vec<_> = many.iter().map(String::as_str).collect();
        let cases: [(&[&str], &str); 4] = [
            (&["edge-1"], "it is for `edge-1`"),
            (&["a\n", "b"], "it is for `a\\n`, `b`"),
            (
                &[],
                "it is for nobody, for it has neither a DNS nor a URI name",
            ),
            (&many, "it is for `n0`, `n1`, `n2`, `n3`, `n4` and 2 more"),
        ];
        for (names, expected) in cases {
            let refused = certified(names).check("edge-2\r").unwrap_err();
            let text = refused.to_string();
            let expected = format!("the certificate is not for node `edge-2\\r`: {expected}");
            assert_eq!(text, expected);
            assert_eq!(Status::from(refused).code(), tonic::Code::PermissionDenied);
        }
        assert_eq!(certified(&["edge-1"]).check("edge-1"), Ok(()));
        assert_eq!(Peer::Plain.check("edge-1"), Ok(()));
    }

    #[test]
    fn a_call_tells_whom_it_comes_from() {
        let mut extensions = Extensions::new();
        assert_eq!(Peer::of(&extensions), Peer::Plain);
        extensions.insert(certified(&["edge-1"]));
        assert_eq!(Peer::of(&extensions), certified(&["edge-1"]));
    }
}
