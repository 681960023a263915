//! What holds for any exchange.

use proptest::prelude::*;

use super::drive;
use super::model::{Operation, delta, sotw};
use super::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn any_exchange_of_differences_converges(operations in prop::collection::vec(operation(), 0..40)) {
        let mut client = delta::Client::new();
        for operation in operations {
            client.perform(&operation);
        }
        client.finish();
    }

    #[test]
    fn any_exchange_of_states_converges(operations in prop::collection::vec(operation(), 0..40)) {
        let mut client = sotw::Client::new();
        for operation in operations {
            client.perform(&operation);
        }
        client.finish();
    }

    #[test]
    fn anything_may_be_said(who in "[DS]", lines in prop::collection::vec(LINE, 0..40)) {
        drive::drive(format!("{who}\n{}", lines.join("\n")).as_bytes());
    }
}

fn operation() -> impl Strategy<Value = Operation> {
    let types = || {
        prop::sample::select(&[
            ResourceType::Cluster,
            ResourceType::Endpoint,
            ResourceType::Extension,
        ])
    };
    let names = || prop::sample::select(&["a", "b", "c", "d"]);
    let contents = prop::sample::select(&["1", "2", "3", "bad1", "bad2"]);
    let resources = prop::collection::btree_map((types(), names()), contents, 0..9);
    let world = resources.prop_map(|mut resources| {
        for name in ["a", "b", "c", "d"] {
            // Each cluster has endpoints, and no endpoints are without their cluster.
            if resources.contains_key(&(ResourceType::Cluster, name)) {
                resources
                    .entry((ResourceType::Endpoint, name))
                    .or_insert("1");
            } else {
                resources.remove(&(ResourceType::Endpoint, name));
            }
        }
        Operation::World(
            resources
                .into_iter()
                .map(|((kind, name), content)| (kind, name, content))
                .collect(),
        )
    });
    prop_oneof![
        2 => world,
        3 => (types(), prop_oneof![4 => names(), 1 => Just("*")]).prop_map(|(kind, name)| Operation::Subscribe(kind, name)),
        1 => (types(), prop_oneof![4 => names(), 1 => Just("*")]).prop_map(|(kind, name)| Operation::Unsubscribe(kind, name)),
        5 => types().prop_map(Operation::Answer),
        1 => (types(), 0..9_u8).prop_map(|(kind, nonce)| Operation::AnswerOutdated(kind, nonce)),
        1 => Just(Operation::Reconnect),
    ]
}

/// A line of `fuzz/drive.rs`.
const LINE: &str =
    "w[-123xy]{0,12}|~|>[CEX][-0-9aaaannnb]([abcd*]{0,3})(-[abcd*]{0,3})?(@([abcd][123])*)?";
