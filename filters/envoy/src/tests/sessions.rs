use super::*;

const DC: u64 = 0x4000;
const UC: u64 = 0x40;

#[test]
fn a_101_makes_a_session() {
    for (offered, selected, answered) in [
        (None, None, None),
        (Some("a, b"), None, Some("a")),
        (Some("a, b"), Some("b"), Some("b")),
        (Some(""), Some("b"), Some("b")),
    ] {
        let mut proxy = Proxy::start();
        let mut headers = authorized("/sign_in");
        headers.extend(offered.map(|offered| {
            (
                "sec-websocket-protocol".to_owned(),
                offered.as_bytes().to_vec(),
            )
        }));
        proxy.request(STREAM, "berth", headers);
        proxy.answer_acquire(grant(3));
        let mut headers = vec![(":status", "101"), ("x-berth-endpoint", "MTAuMC4wLjU=")];
        headers.extend(selected.map(|selected| ("sec-websocket-protocol", selected)));
        let action = proxy.response(STREAM, "via_upstream", &headers);
        assert_eq!(action, Action::Continue);
        let mut expected = vec![(":status", "101")];
        expected.extend(answered.map(|answered| ("sec-websocket-protocol", answered)));
        assert_eq!(proxy.stream(STREAM).response, list(&expected));

        proxy.tick();
        let call = proxy.last_call("Sync");
        assert_eq!((call.by, call.timeout), (ROOT, Duration::from_secs(1)));
        let sync: proto::SyncRequest = call.read();
        let [session] = sync.sessions.as_slice() else {
            panic!("{sync:?}");
        };
        assert!(sync.full && session.established);
        assert_eq!(
            (session.pool.as_str(), session.instance.as_str()),
            ("web", "i1")
        );
        assert_eq!(session.client_address, "192.0.2.7");
        let fence = proto::Fence {
            term: 4,
            sequence: 3,
        };
        assert_eq!(session.fence, Some(fence));
        assert_eq!(
            session.owner.as_ref().map(|o| o.subject.as_str()),
            Some("alice")
        );
    }
}

#[test]
fn an_instance_that_does_not_upgrade_is_not_heard() {
    for (details, status) in [
        ("via_upstream", "403"),
        ("via_upstream", "503"),
        ("websocket_handshake_unsuccessful", "200"),
    ] {
        let mut proxy = Proxy::start();
        proxy.placed(STREAM);
        let headers = [(":status", status), ("server", "runtime")];
        assert_eq!(proxy.response(STREAM, details, &headers), Action::Pause);
        let lost = (503, "instance_lost", Some("1"));
        assert_eq!(refusal(&proxy.reply(STREAM)), lost);
        proxy.end(STREAM, DC);
        let cause = proxy.last_sync().ended.first().map(proto::Ended::cause);
        assert_eq!(cause, Some(proto::EndCause::NotEstablished));
    }
}

#[test]
fn a_reply_of_the_proxys_own_is_left_as_it_is() {
    for details in ["response_timeout", "no_healthy_upstream", ""] {
        let mut proxy = Proxy::start();
        proxy.placed(STREAM);
        let headers = [(":status", "504"), ("x-berth-reason", "instance_timeout")];
        assert_eq!(proxy.response(STREAM, details, &headers), Action::Continue);
        assert_eq!(proxy.stream(STREAM).response, list(&headers));
        assert!(proxy.stream(STREAM).reply.is_none());
    }
}

#[test]
fn an_end_is_told_at_once_and_once() {
    for (flags, cause) in [
        (DC, proto::EndCause::Client),
        (UC, proto::EndCause::Instance),
    ] {
        let mut proxy = Proxy::start();
        let session = proxy.live(STREAM);
        proxy.end(STREAM, flags);
        let [_, hint] = proxy.calls().try_into().unwrap();
        assert_eq!((hint.by, hint.method.as_str()), (ROOT, "Sync"));
        let hint: proto::SyncRequest = hint.read();
        assert!(!hint.full && hint.sessions.is_empty());
        let ended = proto::Ended {
            session,
            fence: Some(proto::Fence {
                term: 4,
                sequence: 2,
            }),
            cause: cause.into(),
        };
        assert_eq!(hint.ended, std::slice::from_ref(&ended));

        // Until a full Sync with it is answered it is told again.
        for _ in 0..2 {
            proxy.tick();
            let sync = proxy.last_sync();
            assert!(sync.full && sync.sessions.is_empty());
            assert_eq!(sync.ended, std::slice::from_ref(&ended));
            let token = proxy.last_call("Sync").token;
            proxy.answer(token, UNAVAILABLE, Vec::new());
        }
        proxy.tick();
        proxy.answer_sync(&[]);
        let told = proxy.calls().len();
        proxy.tick();
        assert_eq!(proxy.calls().len(), told, "nothing left to say");
    }
}

#[test]
fn an_end_of_which_the_proxy_does_not_tell_is_found_by_the_next_sync() {
    let mut proxy = Proxy::start();
    let session = proxy.live(STREAM);
    // Only the context goes: neither on_log nor on_done.
    proxy
        .worker
        .host
        .with(|state| state.streams.remove(&STREAM));
    proxy.contexts.remove(&STREAM);
    proxy.tick();
    let sync = proxy.last_sync();
    assert!(sync.sessions.is_empty());
    assert_eq!(
        sync.ended.first().map(|ended| ended.session.as_str()),
        Some(session.as_str())
    );
}

#[test]
fn a_client_that_leaves_while_it_waits_is_told_of_and_its_grant_is_for_nobody() {
    let mut proxy = Proxy::start();
    proxy.request(STREAM, "berth", authorized("/sign_in"));
    let asked: proto::AcquireRequest = proxy.last_call("Acquire").read();
    proxy.end(STREAM, DC);
    let hint = proxy.last_sync();
    let ended = proto::Ended {
        session: asked.session,
        fence: None,
        cause: proto::EndCause::NotEstablished.into(),
    };
    assert_eq!(hint.ended, [ended]);
    proxy.answer_acquire(grant(1));
    assert!(proxy.contexts.is_empty());
}

#[test]
fn a_close_is_carried_out_on_the_stream_it_names() {
    let mut proxy = Proxy::start();
    let (pending, other) = (ContextId(3), ContextId(4));
    let live = proxy.live(STREAM);
    let placed = proxy.placed(other);
    proxy.request(pending, "berth", authorized("/sign_in"));
    let asked: proto::AcquireRequest = proxy.last_call("Acquire").read();
    proxy.tick();
    proxy.answer_sync(&[
        ("stranger", "terminated"),
        (&asked.session, "superseded"),
        (&placed, "superseded"),
        (&live, "terminated"),
        (&live, "terminated"),
    ]);
    assert!(proxy.stream(STREAM).reset && proxy.stream(STREAM).reply.is_none());
    for context in [pending, other] {
        assert_eq!(refusal(&proxy.reply(context)), (409, "superseded", None));
        assert!(!proxy.stream(context).reset);
    }
    for context in [STREAM, pending, other] {
        proxy.end(context, UC);
        let cause = proxy.last_sync().ended.first().map(proto::Ended::cause);
        assert_eq!(cause, Some(proto::EndCause::Berth));
    }
}

#[test]
fn a_session_is_closed_for_its_age_though_nobody_answers() {
    let mut proxy = Proxy::start();
    proxy.request(STREAM, "berth", authorized("/sign_in"));
    let Outcome::Grant(mut grant) = grant(1) else {
        panic!();
    };
    grant.max_age_ms = 2_500;
    proxy.answer_acquire(Outcome::Grant(grant));
    proxy.worker.host.with(|state| state.reachable = false);
    proxy.tick();
    // It counts from here.
    proxy.response(STREAM, "via_upstream", &[(":status", "101")]);
    for reset in [false, false, true] {
        proxy.tick();
        assert_eq!(proxy.stream(STREAM).reset, reset);
    }
    assert_eq!(proxy.counted("berth.session.closed.max_age"), 1);
    proxy.worker.host.with(|state| state.reachable = true);
    proxy.end(STREAM, UC);
    let cause = proxy.last_sync().ended.first().map(proto::Ended::cause);
    assert_eq!(cause, Some(proto::EndCause::MaxAge));
}

#[test]
fn another_count_of_revocations_is_noticed_wherever_it_comes() {
    let mut proxy = Proxy::start();
    proxy.request(STREAM, "berth", authorized("/sign_in"));
    let token = proxy.last_call("Acquire").token;
    let response = proto::AcquireResponse {
        outcome: Some(grant(1)),
        revocations: 3,
    };
    proxy.answer(token, 0, response.encode_to_vec());
    assert_eq!(proxy.worker.revocations(), 3);
    // Another control plane may have counted fewer; one that does not answer has said nothing.
    for (status, revocations, expected) in [(0, 4, 4), (UNAVAILABLE, 5, 4), (0, 1, 1)] {
        proxy.tick();
        let token = proxy.last_call("Sync").token;
        let response = proto::SyncResponse {
            revocations,
            ..proto::SyncResponse::default()
        };
        proxy.answer(token, status, response.encode_to_vec());
        assert_eq!(proxy.worker.revocations(), expected);
    }
    proxy.tick();
    let token = proxy.last_call("Sync").token;
    proxy.answer(token, 0, vec![0xff]);
    assert_eq!(proxy.worker.revocations(), 1, "nothing that can be read");
}
