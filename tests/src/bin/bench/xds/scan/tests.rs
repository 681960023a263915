use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::endpoint::v3::{
    ClusterLoadAssignment, LbEndpoint, LocalityLbEndpoints,
};
use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryResponse, DiscoveryResponse, Resource,
};
use envoy_types::pb::google::protobuf::Any;
use proptest::collection::vec;
use proptest::prelude::{Strategy, any, prop_assert_eq, proptest};
use prost::Message as _;

use super::*;

/// As gRPC frames it.
fn framed(message: &impl prost::Message) -> Vec<u8> {
    let body = message.encode_to_vec();
    let mut framed = vec![PLAIN];
    framed.extend_from_slice(&u32::try_from(body.len()).unwrap().to_be_bytes());
    framed.extend_from_slice(&body);
    framed
}

fn body(name: &str, endpoints: usize, is_cluster: bool) -> Any {
    let value = if is_cluster {
        Cluster {
            name: name.to_owned(),
            alt_stat_name: "y".repeat(endpoints),
            ..Cluster::default()
        }
        .encode_to_vec()
    } else {
        ClusterLoadAssignment {
            cluster_name: name.to_owned(),
            endpoints: vec![LocalityLbEndpoints {
                lb_endpoints: vec![LbEndpoint::default(); endpoints],
                priority: 7,
                ..LocalityLbEndpoints::default()
            }],
            ..ClusterLoadAssignment::default()
        }
        .encode_to_vec()
    };
    Any {
        type_url: "type.googleapis.com/some".to_owned(),
        value,
    }
}

fn response(protocol: Protocol, seen: &Seen, endpoints: usize, are_clusters: bool) -> Vec<u8> {
    let body = |it: &SeenResource| body(&it.name, endpoints, are_clusters);
    match protocol {
        Protocol::Delta => framed(&DeltaDiscoveryResponse {
            system_version_info: "no matter".to_owned(),
            resources: seen
                .resources
                .iter()
                .map(|it| Resource {
                    name: it.name.clone(),
                    version: it.version.clone(),
                    resource: Some(body(it)),
                    ..Resource::default()
                })
                .collect(),
            type_url: seen.type_url.clone(),
            removed_resources: seen.removed.clone(),
            nonce: seen.nonce.clone(),
            ..DeltaDiscoveryResponse::default()
        }),
        Protocol::Sotw => framed(&DiscoveryResponse {
            version_info: seen.version.clone(),
            resources: seen.resources.iter().map(body).collect(),
            canary: true,
            type_url: seen.type_url.clone(),
            nonce: seen.nonce.clone(),
            ..DiscoveryResponse::default()
        }),
    }
}

fn any_seen(protocol: Protocol) -> impl Strategy<Value = Seen> {
    let resource = (".{0,3}", ".{0,3}").prop_map(move |(name, version)| SeenResource {
        name,
        version: if protocol == Protocol::Delta {
            version
        } else {
            String::new()
        },
    });
    let texts = (".{0,40}", ".{0,3}", ".{0,3}", vec(".{0,3}", 0..3));
    (texts, vec(resource, 0..4)).prop_map(
        move |((type_url, nonce, version, removed), resources)| {
            let is_delta = protocol == Protocol::Delta;
            Seen {
                type_url,
                nonce,
                version: if is_delta { String::new() } else { version },
                resources,
                removed: if is_delta { removed } else { Vec::new() },
            }
        },
    )
}

/// Feeds in pieces of these lengths, over and over.
fn fed(protocol: Protocol, mut data: &[u8], pieces: &[usize]) -> Result<Vec<Seen>, Malformed> {
    let mut scan = Scan::new(protocol);
    let mut seen = Vec::new();
    for length in pieces.iter().cycle() {
        let (piece, rest) = data.split_at(data.len().min(*length));
        seen.extend(scan.feed(piece)?);
        data = rest;
        if data.is_empty() {
            break;
        }
    }
    Ok(seen)
}

proptest! {
    #[test]
    fn everything_needed_is_seen_in_whatever_pieces_it_comes(
        delta in vec(any_seen(Protocol::Delta), 1..3),
        sotw in vec(any_seen(Protocol::Sotw), 1..3),
        endpoints in 0_usize..200,
        are_clusters in any::<bool>(),
        pieces in vec(1_usize..50, 1..8),
    ) {
        for (protocol, expected) in [(Protocol::Delta, delta), (Protocol::Sotw, sotw)] {
            let data: Vec<u8> = expected
                .iter()
                .flat_map(|seen| response(protocol, seen, endpoints, are_clusters))
                .collect();
            prop_assert_eq!(&fed(protocol, &data, &pieces).unwrap(), &expected);
            prop_assert_eq!(&fed(protocol, &data, &[data.len()]).unwrap(), &expected);
        }
    }

    #[test]
    fn no_bytes_break_it(data in vec(any::<u8>(), 0..200), pieces in vec(1_usize..50, 1..8)) {
        for protocol in [Protocol::Delta, Protocol::Sotw] {
            let mut message = vec![PLAIN, 0, 0, 0, 150];
            message.extend_from_slice(&data);
            let in_pieces = fed(protocol, &message, &pieces).is_ok();
            prop_assert_eq!(in_pieces, fed(protocol, &message, &[message.len()]).is_ok());
        }
    }
}

#[test]
fn what_is_no_response_is_an_error() {
    let cases: [(&str, &[u8]); 5] = [
        ("compressed", &[1, 0, 0, 0, 0]),
        ("a group", &[0, 0, 0, 0, 1, 0x0b]),
        (
            "a text longer than the message",
            &[0, 0, 0, 0, 3, 0x22, 5, b'a'],
        ),
        ("a name that is no text", &[0, 0, 0, 0, 3, 0x2a, 1, 0xff]),
        (
            "a number without end",
            &[
                0, 0, 0, 0, 20, 0x18, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255,
            ],
        ),
    ];
    for (what, data) in cases {
        assert!(fed(Protocol::Delta, data, &[1]).is_err(), "{what}");
    }
}
