use super::super::scan::SeenResource;
use super::*;

fn seen(type_url: &str, version: &str, nonce: &str, resources: &[(&str, &str)]) -> Seen {
    let resources = resources.iter().map(|(name, version)| SeenResource {
        name: (*name).to_owned(),
        version: (*version).to_owned(),
    });
    Seen {
        type_url: type_url.to_owned(),
        nonce: nonce.to_owned(),
        version: version.to_owned(),
        resources: resources.collect(),
        removed: Vec::new(),
    }
}

fn delta(request: &Bytes) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest::decode(&request[5..]).unwrap()
}

fn sotw(request: &Bytes) -> DiscoveryRequest {
    DiscoveryRequest::decode(&request[5..]).unwrap()
}

#[test]
fn delta_asks_answers_refuses_and_comes_back() {
    let mut node = Node::new("node".to_owned(), Protocol::Delta);
    let [greeting] = &node.greeting()[..] else {
        panic!("one request");
    };
    assert_eq!(delta(greeting).node.unwrap().id, "node");
    assert_eq!(delta(greeting).type_url, CLUSTER);

    let reaction = node.receive(seen(CLUSTER, "", "1", &[("a", "c1"), ("b", "c1")]), false);
    let [answer, subscription] = &reaction.requests[..] else {
        panic!("an answer and a subscription");
    };
    assert_eq!(delta(answer).response_nonce, "1");
    assert_eq!(delta(subscription).resource_names_subscribe, ["a", "b"]);
    assert!(!reaction.news && !reaction.endpoints);

    // In two responses: only with the second it has all.
    let first = node.receive(seen(ENDPOINT, "", "2", &[("a", "e1")]), false);
    assert!(first.endpoints && !first.news);
    assert!(
        node.receive(seen(ENDPOINT, "", "3", &[("b", "e1")]), false)
            .news
    );
    let same = node.receive(seen(ENDPOINT, "", "4", &[("b", "e1")]), false);
    assert!(same.endpoints && !same.news);

    // What is refused is not held, so it is news each time it comes.
    for nonce in ["5", "6"] {
        let refused = node.receive(seen(ENDPOINT, "", nonce, &[("b", "e2")]), true);
        assert!(refused.news);
        let [answer] = &refused.requests[..] else {
            panic!("one request");
        };
        assert!(delta(answer).error_detail.is_some());
        assert_eq!(delta(answer).response_nonce, nonce);
    }

    let [clusters, endpoints] = &node.greeting()[..] else {
        panic!("both types at once");
    };
    assert_eq!(delta(clusters).initial_resource_versions["a"], "c1");
    assert_eq!(delta(endpoints).resource_names_subscribe, ["a", "b"]);
    assert_eq!(delta(endpoints).initial_resource_versions["b"], "e1");
    assert!(
        node.receive(seen(ENDPOINT, "", "1", &[("b", "e2")]), false)
            .news
    );
}

#[test]
fn state_of_the_world_asks_answers_refuses_and_comes_back() {
    let mut node = Node::new("node".to_owned(), Protocol::Sotw);
    assert_eq!(node.greeting().len(), 1);
    let reaction = node.receive(seen(CLUSTER, "c1", "1", &[("a", ""), ("b", "")]), false);
    let [answer, subscription] = &reaction.requests[..] else {
        panic!("an answer and a subscription");
    };
    assert_eq!(
        (
            sotw(answer).version_info.as_str(),
            sotw(answer).response_nonce.as_str()
        ),
        ("c1", "1")
    );
    assert_eq!(sotw(subscription).resource_names, ["a", "b"]);

    let reaction = node.receive(seen(ENDPOINT, "e1", "2", &[("a", ""), ("b", "")]), false);
    assert!(reaction.news);
    let answer = sotw(&reaction.requests[0]);
    assert_eq!(
        (answer.version_info.as_str(), answer.response_nonce.as_str()),
        ("e1", "2")
    );
    assert_eq!(answer.resource_names, ["a", "b"]);
    // A response may have only what changed.
    assert!(
        node.receive(seen(ENDPOINT, "e2", "3", &[("b", "")]), false)
            .news
    );
    let refused = node.receive(seen(ENDPOINT, "e3", "4", &[("b", "")]), true);
    let answer = sotw(&refused.requests[0]);
    assert_eq!(
        (answer.version_info.as_str(), answer.response_nonce.as_str()),
        ("e2", "4")
    );
    assert!(refused.news && answer.error_detail.is_some());

    let [clusters, endpoints] = &node.greeting()[..] else {
        panic!("both types at once");
    };
    assert_eq!(sotw(clusters).version_info, "c1");
    let endpoints = sotw(endpoints);
    assert_eq!(
        (
            endpoints.version_info.as_str(),
            endpoints.response_nonce.as_str()
        ),
        ("e2", "")
    );
}
