use berth_admission::UnixSeconds;

use super::*;
use crate::config::Plugin;
use crate::session::{Opening, Purpose, Session, SessionId, Unverified, Who};

/// Asks the control plane for a client whose credential nobody here can check.
fn ask(proxy: &mut Proxy, purpose: Purpose) {
    let headers = list(&[(":method", "GET"), (":path", "/sign_in")]);
    proxy.request(STREAM, "other", headers);
    let plugin = Plugin::parse(configuration().to_string().as_bytes(), 7).unwrap();
    let opening = Opening {
        session: Session {
            id: SessionId("s1".to_owned()),
            client: Some("192.0.2.7".parse().unwrap()),
            who: Who::Unverified(Unverified {
                path: b"/sign_in?token=\xff".to_vec(),
                headers: vec![("authorization".to_owned(), b"Bearer \xff".to_vec())],
            }),
        },
        purpose,
        when_away: plugin.control_plane.when_away,
        hold: plugin.control_plane.hold,
    };
    proxy.callback(STREAM, |proxy| {
        proxy.worker.open(STREAM, opening, &plugin.control_plane);
    });
}

const UPGRADE: Purpose = Purpose::Upgrade {
    answer_subprotocol: None,
};

fn header(name: &str, value: &[u8]) -> proto::Header {
    proto::Header {
        name: name.to_owned(),
        value: value.to_vec(),
    }
}

fn admitted() -> proto::Admitted {
    proto::Admitted {
        pool: "web".to_owned(),
        owner: Some(proto::Owner {
            issuer: "https://idp.example".to_owned(),
            subject: "bob".to_owned(),
            tenant: "acme".to_owned(),
            resume_key: "r1".to_owned(),
        }),
        priority: 3,
        labels: [("gpu".to_owned(), "l40".to_owned())].into(),
        token_id: "t1".to_owned(),
        expires_at: 1_700_000_003,
        closes_at: 1_700_000_003,
        tags: vec![header("subject", b"bob"), header("claim.group", b"blue")],
        headers: vec![header("x-user", b"bob")],
    }
}

fn grant_to(admitted: proto::Admitted) -> Outcome {
    match grant(1) {
        Outcome::Grant(grant) => Outcome::Grant(proto::Grant {
            admitted: Some(admitted),
            ..grant
        }),
        other => other,
    }
}

#[test]
fn a_request_is_sent_as_it_came_and_says_nothing_else_of_its_client() {
    let mut proxy = Proxy::start();
    ask(&mut proxy, UPGRADE);
    let asked: proto::AcquireRequest = proxy.last_call("Acquire").read();
    let expected = proto::AcquireRequest {
        vm: asked.vm.clone(),
        session: "s1".to_owned(),
        client_address: "192.0.2.7".to_owned(),
        unverified: Some(proto::Unverified {
            path: b"/sign_in?token=\xff".to_vec(),
            headers: vec![header("authorization", b"Bearer \xff")],
        }),
        ..proto::AcquireRequest::default()
    };
    assert_eq!(asked, expected);
    proxy.tick();
    let sync = proxy.last_sync();
    let expected = proto::Session {
        session: "s1".to_owned(),
        client_address: "192.0.2.7".to_owned(),
        owner: Some(proto::Owner::default()),
        ..proto::Session::default()
    };
    assert_eq!(sync.sessions, [expected]);
}

#[test]
fn a_grant_completes_the_session() {
    let mut proxy = Proxy::start();
    ask(&mut proxy, UPGRADE);
    proxy.answer_acquire(grant_to(admitted()));
    let stream = proxy.stream(STREAM);
    assert!(stream.resumed);
    let state = [("berth.subject", "bob"), ("berth.claim.group", "blue")];
    let state = state.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(stream.filter_state, BTreeMap::from(state));
    let instance_hears = stream.request.iter().find(|(name, _)| name == "x-user");
    assert_eq!(instance_hears.unwrap().1, b"bob");
    assert_eq!(proxy.counted("berth.admission.allowed"), 1);

    proxy.response(STREAM, "via_upstream", &[(":status", "101")]);
    proxy.tick();
    let sync = proxy.last_sync();
    let expected = proto::Session {
        session: "s1".to_owned(),
        pool: "web".to_owned(),
        owner: admitted().owner,
        client_address: "192.0.2.7".to_owned(),
        fence: Some(proto::Fence {
            term: 4,
            sequence: 1,
        }),
        instance: "i1".to_owned(),
        established: true,
        token_id: "t1".to_owned(),
    };
    assert_eq!(sync.sessions, [expected]);

    // Its token ends at 1,700,000,003.
    proxy
        .worker
        .host
        .with(|state| state.unix = UnixSeconds(1_700_000_002));
    proxy.tick();
    assert!(!proxy.stream(STREAM).reset);
    proxy
        .worker
        .host
        .with(|state| state.unix = UnixSeconds(1_700_000_003));
    proxy.tick();
    assert!(proxy.stream(STREAM).reset);
    assert_eq!(proxy.counted("berth.session.closed.token_expired"), 1);
    proxy.end(STREAM, 0);
    let cause = proxy.last_sync().ended.first().map(proto::Ended::cause);
    assert_eq!(cause, Some(proto::EndCause::TokenExpired));
}

#[test]
fn a_token_that_ends_does_not_end_its_session_unless_that_is_said() {
    let mut proxy = Proxy::start();
    ask(&mut proxy, UPGRADE);
    let found = proto::Admitted {
        closes_at: 0,
        ..admitted()
    };
    proxy.answer_acquire(grant_to(found));
    proxy.response(STREAM, "via_upstream", &[(":status", "101")]);
    let later = UnixSeconds(u64::MAX);
    proxy.worker.host.with(|state| state.unix = later);
    proxy.tick();
    assert!(!proxy.stream(STREAM).reset);
}

#[test]
fn a_check_says_who_was_found() {
    let mut proxy = Proxy::start();
    let family = berth_admission::Family::Web;
    ask(&mut proxy, Purpose::Check { family });
    let available = proto::Available {
        admitted: Some(admitted()),
    };
    proxy.answer_acquire(Outcome::Available(available));
    let reply = proxy.reply(STREAM);
    let expected = json!({
        "verdict": "admitted", "family": "web", "pool": "web",
        "issuer": "https://idp.example", "subject": "bob", "tenant": "acme",
        "expires_at": 1_700_000_003,
    });
    assert_eq!((reply.status, reply.body), (200, expected));
    assert_eq!(proxy.counted("berth.admission.allowed"), 1);
}

#[test]
fn what_does_not_say_who_was_found_is_no_answer() {
    let broken = |change: fn(&mut proto::Admitted)| {
        let mut admitted = admitted();
        change(&mut admitted);
        grant_to(admitted)
    };
    for outcome in [
        grant(1),
        broken(|admitted| admitted.owner = None),
        broken(|admitted| admitted.pool.clear()),
        broken(|admitted| admitted.priority = 256),
        broken(|admitted| admitted.owner.as_mut().unwrap().subject.clear()),
    ] {
        let case = format!("{outcome:?}");
        let mut proxy = Proxy::start();
        ask(&mut proxy, UPGRADE);
        proxy.answer_acquire(outcome);
        let refused = refusal(&proxy.reply(STREAM)).1.to_owned();
        assert_eq!(refused, "internal", "{case}");
        assert!(!proxy.stream(STREAM).resumed, "{case}");
        assert_eq!(proxy.counted("berth.admission.allowed"), 0, "{case}");
    }
}
