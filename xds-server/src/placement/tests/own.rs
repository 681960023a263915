//! A client's own instance, where it cannot have that, or no longer should.

use super::*;

fn sessions(m: &Machine) -> Vec<(String, Option<String>)> {
    let mut sessions: Vec<_> = m
        .placement
        .sessions(m.now)
        .map(|session| {
            let instance = session.instance.map(|instance| instance.to_string());
            (session.session.to_string(), instance)
        })
        .collect();
    sessions.sort();
    sessions
}

#[test]
fn what_its_heir_is_given_instead_is_not_given_twice() {
    let policy = PoolPolicy {
        queue: 10,
        ..PoolPolicy::default()
    };
    let mut m = Machine::with(2, policy);
    let grant = m.granted("first", owner("user", None));
    m.full("vm", &[("first", &grant)]);
    m.ended("first", None, EndCause::Client);
    // Its client is back before the instance has settled, which is then found to be down.
    assert_eq!(m.acquire("second", owner("user", None)), None);
    m.placement.set_up(m.now, &grant.instance, false);
    // It has settled, and before anybody has looked at the time the client comes once more.
    m.now = m.now.after(seconds(1));
    m.acquire("third", owner("user", None));
    let instances: Vec<_> = sessions(&m)
        .into_iter()
        .filter_map(|(_, instance)| instance)
        .collect();
    assert_eq!(instances.len(), 1, "{:?}", sessions(&m));
}
