//! What Envoy is sent, written out in `envoy/golden`, so that a change of it is read before it is made.
//!
//! With `BERTH_UPDATE_GOLDEN` set, the files are written instead of compared.

use std::fmt::Write as _;
use std::path::PathBuf;

use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::endpoint::v3::ClusterLoadAssignment;
use envoy_types::pb::envoy::config::listener::v3::Listener;
use envoy_types::pb::envoy::config::route::v3::RouteConfiguration;
use envoy_types::pb::envoy::extensions::access_loggers::filters::cel::v3::ExpressionFilter;
use envoy_types::pb::envoy::extensions::filters::http::header_mutation::v3::HeaderMutation;
use envoy_types::pb::envoy::extensions::filters::http::router::v3::Router;
use envoy_types::pb::envoy::extensions::filters::http::stateful_session::v3::StatefulSession;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::HttpConnectionManager;
use envoy_types::pb::envoy::extensions::http::early_header_mutation::header_mutation::v3 as early;
use envoy_types::pb::envoy::extensions::http::stateful_session::header::v3::HeaderBasedSessionState;
use envoy_types::pb::envoy::extensions::load_balancing_policies::{
    random::v3::Random, subset::v3::Subset,
};
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::{
    DownstreamTlsContext, Secret,
};
use envoy_types::pb::envoy::extensions::upstreams::http::v3::HttpProtocolOptions;
use envoy_types::pb::google::protobuf::StringValue;
use prost::Name;

use super::*;

#[test]
fn golden() {
    let mut whole = gateway();
    whole.listeners.truncate(1);
    whole.pools.truncate(1);
    let mut joined = gateway();
    joined.listeners.clear();
    joined.pools.drain(..1);
    let mut certificates = whole.clone();
    certificates.client_ca_pem = Some("(who signs clients' certificates)".to_owned());
    let all = &ResourceType::ALL[..];
    let tls = &[ResourceType::Listener, ResourceType::Secret];
    for (name, gateway, types) in [
        ("gateway", whole, all),
        ("joined", joined, all),
        ("client_certificates", certificates, tls),
    ] {
        let snapshot = generate(&gateway).unwrap();
        let path: PathBuf = [
            env!("CARGO_MANIFEST_DIR"),
            "../envoy/golden",
            &format!("{name}.txt"),
        ]
        .iter()
        .collect();
        let text = show(&snapshot, types);
        if std::env::var_os("BERTH_UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        let written = std::fs::read_to_string(&path).unwrap();
        assert!(
            text == written,
            "{} is out of date: look at what BERTH_UPDATE_GOLDEN=1 changes",
            path.display()
        );
    }
}

fn show(snapshot: &Snapshot, types: &[ResourceType]) -> String {
    let mut text = String::new();
    for &resource_type in types {
        for resource in snapshot.of(resource_type).values() {
            let mut root = decoded(resource_type.type_url(), resource.body());
            root.text = format!("{resource_type:?} {:?}", resource.name());
            root.write(0, &mut text);
            text.push('\n');
        }
    }
    text
}

/// Protobuf has no readable form without its descriptors, so this is made of Rust's: an indented tree, without
/// brackets and without what has its default.
struct Tree {
    text: String,
    children: Vec<Self>,
}

fn decoded(type_url: &str, body: &[u8]) -> Tree {
    fn attempt<M: std::fmt::Debug + Default + Message + Name>(
        type_url: &str,
        body: &[u8],
    ) -> Option<Tree> {
        let shown = || format!("{:#?}", M::decode(body).unwrap());
        (M::type_url() == type_url).then(|| Tree::parse(&mut shown().lines().peekable()))
    }
    let types = [
        attempt::<Cluster>,
        attempt::<ClusterLoadAssignment>,
        attempt::<DownstreamTlsContext>,
        attempt::<early::HeaderMutation>,
        attempt::<ExpressionFilter>,
        attempt::<HeaderBasedSessionState>,
        attempt::<HeaderMutation>,
        attempt::<HttpConnectionManager>,
        attempt::<HttpProtocolOptions>,
        attempt::<Listener>,
        attempt::<Random>,
        attempt::<RouteConfiguration>,
        attempt::<Router>,
        attempt::<Secret>,
        attempt::<StatefulSession>,
        attempt::<StringValue>,
        attempt::<Subset>,
        attempt::<TypedExtensionConfig>,
        attempt::<Wasm>,
    ];
    types
        .iter()
        .find_map(|attempt| attempt(type_url, body))
        .unwrap_or_else(|| panic!("{type_url}"))
}

impl Tree {
    /// Takes one value of pretty `Debug` output: a line, and what is indented deeper, and its closing line.
    fn parse<'a>(lines: &mut std::iter::Peekable<impl Iterator<Item = &'a str>>) -> Self {
        let first = lines.next().unwrap();
        let indentation = |line: &str| line.len() - line.trim_start().len();
        let mut children = Vec::new();
        while lines
            .peek()
            .is_some_and(|line| indentation(line) > indentation(first))
        {
            children.push(Self::parse(lines));
        }
        if first.ends_with(['{', '(', '[']) {
            lines.next_if(|line| line.trim_start().starts_with(['}', ')', ']']));
        }
        Self {
            text: first.trim().trim_end_matches(',').to_owned(),
            children,
        }
        .simplified()
    }

    fn simplified(mut self) -> Self {
        // A wrapper, such as `Some(`, gives way to what is in it.
        if self.text.ends_with('(') && self.children.len() == 1 {
            let inner = self.children.remove(0);
            let label = self.text.trim_end_matches("Some(").trim_end_matches('(');
            return Self {
                text: format!(
                    "{label}{}{}",
                    if label.is_empty() || label.ends_with(' ') {
                        ""
                    } else {
                        " "
                    },
                    inner.text
                ),
                children: inner.children,
            };
        }
        if self.text.ends_with("Any {")
            && let [type_url, value] = self.children.as_slice()
        {
            let type_url = type_url
                .text
                .trim_start_matches("type_url: \"")
                .trim_end_matches('"');
            let bytes: Vec<u8> = value
                .children
                .iter()
                .map(|byte| byte.text.parse().unwrap())
                .collect();
            let inner = decoded(type_url, &bytes);
            let (_, name) = type_url.split_once('/').unwrap();
            return Self {
                text: self.text.replace("Any {", name),
                children: inner.children,
            };
        }
        for bracket in [" {", " [", "{", "["] {
            self.text = self
                .text
                .strip_suffix(bracket)
                .unwrap_or(&self.text)
                .to_owned();
        }
        self.children.retain(|child| !child.is_default());
        if self.text.ends_with("allowed_capabilities:") {
            // A map, which Rust shows in any order.
            self.children.sort_by(|a, b| a.text.cmp(&b.text));
        }
        self
    }

    fn is_default(&self) -> bool {
        let kept = ["value: ", "seconds: "]
            .iter()
            .any(|label| self.text.starts_with(label));
        self.children.is_empty() && !kept && DEFAULTS.iter().any(|end| self.text.ends_with(end))
    }

    fn write(&self, depth: usize, text: &mut String) {
        writeln!(text, "{:1$}{2}", "", depth * 2, self.text).unwrap();
        for child in &self.children {
            child.write(depth + 1, text);
        }
    }
}

/// How lines end that say nothing. Enums that are meant, though their value is the default, are not among them.
const DEFAULTS: &[&str] = &[
    ": \"\"",
    ": 0",
    ": Allow",
    ": Auto",
    ": Default",
    ": LenientStapling",
    ": MetadataNoFallback",
    ": None",
    ": NotDefined",
    ": PassThroughInternalRedirect",
    ": RoundRobin",
    ": Sanitize",
    ": Static",
    ": StatePrebind",
    ": Tcp",
    ": Unspecified",
    ": UseConfiguredProtocol",
    ": V4",
    ": []",
    ": false",
    ": {}",
];
