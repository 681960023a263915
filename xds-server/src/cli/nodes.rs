//! `berth nodes`.

use clap::Args;
use serde::Deserialize;

use super::{
    admin::{AdminApi, AdminError, age},
    table::table,
};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  berth nodes                          which proxies are connected, and whether each has taken all it was sent
  berth nodes edge-1                   each resource of one: its version, and why it was refused
  berth nodes edge-1 --json            the same for programs

STATE is `in sync` when the proxy has acknowledged all it was sent, `waiting` while it has not answered, `refused` when
it keeps an older version of something, and `busy` when its stream did not answer in time.")]
pub(super) struct NodesCommand {
    /// The node id of one proxy
    #[arg(value_name = "NODE")]
    node: Option<String>,
    #[command(flatten)]
    api: AdminApi,
}

impl NodesCommand {
    pub(super) async fn execute(self) -> Result<String, AdminError> {
        match &self.node {
            Some(node) => self.api.get(&["nodes", node], &[], resources_table).await,
            None => self.api.get(&["nodes"], &[], nodes_table).await,
        }
    }
}

#[derive(Deserialize)]
struct Stream {
    node: String,
    cluster: String,
    zone: String,
    profile: String,
    dialect: String,
    age_seconds: u64,
    types: Option<Vec<Type>>,
}

#[derive(Deserialize)]
struct Type {
    #[serde(rename = "type")]
    label: String,
    acknowledged: Vec<Version>,
    unanswered: Vec<Version>,
    refused: Vec<Refused>,
}

#[derive(Deserialize)]
struct Version {
    name: String,
    version: String,
}

#[derive(Deserialize)]
struct Refused {
    name: String,
    version: String,
    error: String,
}

fn nodes_table(streams: Vec<Stream>) -> String {
    let rows: Vec<_> = streams.iter().map(node_row).collect();
    let header = [
        "NODE",
        "CLUSTER",
        "ZONE",
        "PROFILE",
        "DIALECT",
        "AGE",
        "RESOURCES",
        "STATE",
    ];
    table(header, &rows)
}

fn node_row(stream: &Stream) -> [String; 8] {
    let types = stream.types.iter().flatten();
    let resources: usize = types.map(|of| of.acknowledged.len()).sum();
    [
        stream.node.clone(),
        stream.cluster.clone(),
        stream.zone.clone(),
        stream.profile.clone(),
        stream.dialect.clone(),
        age(stream.age_seconds),
        resources.to_string(),
        state(stream).to_owned(),
    ]
}

fn state(stream: &Stream) -> &'static str {
    let Some(types) = &stream.types else {
        return "busy";
    };
    if types.iter().any(|of| !of.refused.is_empty()) {
        "refused"
    } else if types.iter().any(|of| !of.unanswered.is_empty()) {
        "waiting"
    } else {
        "in sync"
    }
}

fn resources_table(streams: Vec<Stream>) -> String {
    let types = streams
        .iter()
        .flat_map(|stream| stream.types.iter().flatten());
    let rows: Vec<_> = types.flat_map(resource_rows).collect();
    table(["TYPE", "NAME", "VERSION", "STATE", "ERROR"], &rows)
}

fn resource_rows(of: &Type) -> Vec<[String; 5]> {
    let row = |name: &str, version: &str, state: &str, error: &str| {
        [&of.label, name, version, state, error].map(str::to_owned)
    };
    let acknowledged = of.acknowledged.iter();
    let acknowledged = acknowledged.map(|told| row(&told.name, &told.version, "acknowledged", ""));
    let unanswered = of.unanswered.iter();
    let unanswered = unanswered.map(|told| row(&told.name, &told.version, "unanswered", ""));
    let refused = of.refused.iter();
    let refused = refused.map(|told| row(&told.name, &told.version, "refused", &told.error));
    acknowledged.chain(unanswered).chain(refused).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_in_the_state_of_its_worst_resource() {
        let told = |name: &str| format!(r#"{{"name":"{name}","version":"1"}}"#);
        let refused = r#"{"name":"a","version":"2","error":"no"}"#;
        let cases = [
            ("null".to_owned(), "busy"),
            ("[]".to_owned(), "in sync"),
            (one_type(&told("a"), "", ""), "in sync"),
            (one_type(&told("a"), &told("b"), ""), "waiting"),
            (one_type(&told("a"), &told("b"), refused), "refused"),
        ];
        for (types, expected) in cases {
            let text = format!(
                r#"[{{"node":"edge-1","cluster":"edge","zone":"","profile":"default","dialect":"delta",
                "age_seconds":61,"types":{types}}}]"#
            );
            let streams: Vec<Stream> = serde_json::from_str(&text).unwrap();
            assert_eq!(state(streams.first().unwrap()), expected, "{types}");
            assert!(nodes_table(streams).contains(expected));
        }
    }

    fn one_type(acknowledged: &str, unanswered: &str, refused: &str) -> String {
        format!(
            r#"[{{"type":"CDS","acknowledged":[{acknowledged}],"unanswered":[{unanswered}],"refused":[{refused}]}}]"#
        )
    }

    #[test]
    fn each_resource_of_a_proxy_has_its_line() {
        let types = one_type(
            r#"{"name":"a","version":"1"}"#,
            "",
            r#"{"name":"a","version":"2","error":"no good"}"#,
        );
        let of: Vec<Type> = serde_json::from_str(&types).unwrap();
        let rows: Vec<_> = of.iter().flat_map(resource_rows).collect();
        assert_eq!(
            rows,
            [
                ["CDS", "a", "1", "acknowledged", ""].map(str::to_owned),
                ["CDS", "a", "2", "refused", "no good"].map(str::to_owned),
            ]
        );
    }
}
