use super::*;

#[test]
fn what_took_another_route_passes_without_a_placement_of_its_own() {
    for route in ["", "other", "berthling", "Berth", "xberth/web"] {
        let mut proxy = Proxy::start();
        let headers = [
            (":method", "GET"),
            (":path", "/sign_in"),
            ("authorization", "Bearer x"),
            ("x-berth-cluster", "web-0"),
            ("x-berth-endpoint", "MTAuMC4wLjU6NDkxMDA="),
            ("x-berth-else", "kept"),
        ];
        let action = proxy.request(STREAM, route, list(&headers));
        assert_eq!(action, Action::Continue, "{route}");
        let mut left = list(&headers);
        left.retain(|(name, _)| name != "x-berth-cluster" && name != "x-berth-endpoint");
        assert_eq!(proxy.stream(STREAM).request, left, "{route}");
        let headers = [(":status", "200"), ("x-berth-reason", "kept")];
        proxy.response(STREAM, "via_upstream", &headers);
        assert_eq!(proxy.stream(STREAM).response, list(&headers));
        proxy.end(STREAM, 0);
        assert!(proxy.calls().is_empty());
    }
}

#[test]
fn what_is_refused_is_answered_at_once_and_asked_of_nobody() {
    let post = list(&[(":method", "POST"), (":path", "/sign_in")]);
    let two = upgrade(
        "/sign_in",
        &[("authorization", "Bearer a.b.c"), ("authorization", "x")],
    );
    for (route, headers, expected) in [
        ("berth", upgrade("/sign_in", &[]), (401, "no_token", None)),
        (
            "berth/web",
            upgrade("/sign_in", &[]),
            (401, "no_token", None),
        ),
        (
            "berth",
            authorized("/etc/sign_in"),
            (404, "no_such_pool", None),
        ),
        ("berth", authorized("/"), (404, "not_found", None)),
        ("berth", post, (405, "method_not_allowed", None)),
        ("berth", two, (401, "malformed_token", None)),
        ("berth", Vec::new(), (404, "not_found", None)),
    ] {
        let mut proxy = Proxy::start();
        let case = format!("{headers:?}");
        assert_eq!(
            proxy.request(STREAM, route, headers),
            Action::Pause,
            "{case}"
        );
        let reply = proxy.reply(STREAM);
        assert_eq!(refusal(&reply), expected, "{case}");
        let challenged = reply.headers.contains_key("www-authenticate");
        assert_eq!(challenged, expected.0 == 401, "{case}");
        // The reply passes the filter on its way out, and keeps its reason.
        let headers = [(":status", "401"), ("x-berth-reason", expected.1)];
        proxy.response(STREAM, "", &headers);
        assert_eq!(proxy.stream(STREAM).response, list(&headers));
        proxy.end(STREAM, 0);
        proxy.tick();
        assert!(proxy.calls().is_empty(), "{case}");
    }
}

#[test]
fn an_admitted_request_waits_for_its_placement() {
    let mut proxy = Proxy::start();
    let path = format!(
        "/web/sign_in?peer=1&token={}&berth_resume_key=r1&x=%20",
        token()
    );
    let mut headers = upgrade(
        &path,
        &[
            ("x-berth-cluster", "mine"),
            ("x-berth-anything", "1"),
            ("x-berth-anything", "2"),
            ("berth-resume-key", "r1"),
            ("cookie", "c=1"),
        ],
    );
    let credential = format!("authorization.bearer.{}, a", token());
    headers.extend(list(&[
        ("authorization", &format!("bearer {}", token())),
        ("sec-websocket-protocol", &credential),
        ("sec-websocket-protocol", "b"),
    ]));
    let action = proxy.request(STREAM, "berth/web", headers);
    assert_eq!(action, Action::Pause);

    let call = proxy.last_call("Acquire");
    assert_eq!((call.cluster.as_str(), call.by), ("berth", STREAM));
    assert_eq!(call.timeout, Duration::from_secs(9));
    let acquire: proto::AcquireRequest = call.read();
    let session = acquire.session.clone();
    assert_eq!(session.len(), 32);
    let expected = proto::AcquireRequest {
        vm: Some(proto::Vm {
            node: "edge-1".to_owned(),
            id: "02".repeat(16),
            sequence: 1,
        }),
        session: session.clone(),
        pool: "web".to_owned(),
        owner: Some(proto::Owner {
            issuer: "https://idp.example".to_owned(),
            subject: "alice".to_owned(),
            tenant: String::new(),
            resume_key: "r1".to_owned(),
        }),
        client_address: "192.0.2.7".to_owned(),
        check_only: false,
        priority: 0,
        ..proto::AcquireRequest::default()
    };
    assert_eq!(acquire, expected);
    let tags = [
        ("berth.issuer", "https://idp.example"),
        ("berth.session", session.as_str()),
        ("berth.subject", "alice"),
        ("berth.pool", "web"),
    ];
    let tags = tags.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(proxy.stream(STREAM).filter_state, tags.into());

    proxy.answer_acquire(grant(1));
    let stream = proxy.stream(STREAM);
    assert!(stream.resumed && stream.reply.is_none());
    let mut request = stream.request;
    request.sort();
    let mut expected = upgrade(
        "/sign_in?peer=1&x=%20",
        &[
            ("cookie", "c=1"),
            ("sec-websocket-protocol", "a, b"),
            ("x-berth-cluster", "web-0"),
            ("x-berth-endpoint", "MTAuMC4wLjU6NDkxMDA="),
        ],
    );
    expected.sort();
    assert_eq!(request, expected);
}

#[test]
fn an_acquire_says_what_is_asked_for_and_how_urgently() {
    let mut configuration = configuration();
    configuration["admission"]["priority_claim"] = json!("exp");
    let labels = json!([
        {"label": "region", "query_parameter": "region", "header": "x-region"},
        {"label": "gpu", "header": "x-gpu"},
        {"label": "os", "header": "x-os"},
    ]);
    configuration["admission"]["labels"] = labels;
    // The claim of every token here is beyond what a priority may be.
    let mut proxy = Proxy::new(&configuration);
    proxy.request(STREAM, "berth", authorized("/sign_in"));
    assert_eq!(
        refusal(&proxy.reply(STREAM)),
        (401, "malformed_token", None)
    );

    configuration["admission"]["priority_claim"] = json!("priority");
    let mut proxy = Proxy::new(&configuration);
    let mut headers = authorized("/sign_in?region=eu");
    headers.extend(list(&[("x-region", "eu"), ("x-gpu", "l40s")]));
    proxy.request(STREAM, "berth", headers);
    let acquire: proto::AcquireRequest = proxy.last_call("Acquire").read();
    let asked = [("gpu", "l40s"), ("region", "eu")];
    let asked = asked.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(acquire.labels, asked.into());
    assert_eq!(acquire.priority, 7);
    proxy.answer_acquire(grant(1));
    let request = proxy.stream(STREAM).request;
    let header = |name: &str| request.iter().find(|(other, _)| other == name).unwrap();
    assert_eq!(header(":path").1, b"/sign_in?region=eu");
    assert_eq!(header("x-gpu").1, b"l40s");
}

#[test]
fn an_answer_that_is_no_grant_is_a_refusal() {
    let refuse = |reason: &str, retry_after_seconds| {
        let refusal = proto::Refusal {
            reason: reason.to_owned(),
            retry_after_seconds,
        };
        Some(Outcome::Refusal(refusal))
    };
    let broken = |change: fn(&mut proto::Grant)| match grant(1) {
        Outcome::Grant(mut grant) => {
            change(&mut grant);
            Some(Outcome::Grant(grant))
        }
        Outcome::Refusal(_) | Outcome::Available(_) => None,
    };
    for (outcome, expected) in [
        (refuse("no_instance", 7), (503, "no_instance", Some("7"))),
        (refuse("no_instance", 0), (503, "no_instance", None)),
        (refuse("session_exists", 7), (409, "session_exists", None)),
        (refuse("queue_full", 7), (503, "queue_full", Some("7"))),
        (
            refuse("too_many_sessions", 7),
            (429, "too_many_sessions", Some("7")),
        ),
        (refuse("of_the_future", 7), (503, "no_instance", Some("7"))),
        (None, (500, "internal", None)),
        (broken(|grant| grant.fence = None), (500, "internal", None)),
        (
            broken(|grant| grant.cluster.clear()),
            (500, "internal", None),
        ),
        (
            broken(|grant| grant.endpoint = "host:1".to_owned()),
            (500, "internal", None),
        ),
    ] {
        let mut proxy = Proxy::start();
        proxy.request(STREAM, "berth", authorized("/sign_in"));
        let token = proxy.last_call("Acquire").token;
        let case = format!("{outcome:?}");
        let response = proto::AcquireResponse {
            outcome,
            ..proto::AcquireResponse::default()
        }
        .encode_to_vec();
        proxy.answer(token, 0, response);
        assert_eq!(refusal(&proxy.reply(STREAM)), expected, "{case}");
        assert!(!proxy.stream(STREAM).resumed);
    }
    let mut proxy = Proxy::start();
    proxy.request(STREAM, "berth", authorized("/sign_in"));
    let token = proxy.last_call("Acquire").token;
    proxy.answer(token, 0, b"\xff\xff".to_vec());
    assert_eq!(refusal(&proxy.reply(STREAM)), (500, "internal", None));
}

#[test]
fn a_check_is_answered_in_json() {
    let no_instance = Outcome::Refusal(proto::Refusal {
        reason: "no_instance".to_owned(),
        retry_after_seconds: 2,
    });
    let available = Outcome::Available(proto::Available::default());
    for (outcome, status, verdict) in [(available, 200, "admitted"), (no_instance, 503, "refused")]
    {
        let mut proxy = Proxy::start();
        let mut headers = authorized("/sign_in");
        headers.retain(|(name, _)| name != "upgrade");
        proxy.request(STREAM, "berth", headers);
        let acquire: proto::AcquireRequest = proxy.last_call("Acquire").read();
        assert!(acquire.check_only);
        proxy.answer_acquire(outcome);
        let reply = proxy.reply(STREAM);
        assert_eq!(reply.status, status);
        assert_eq!(reply.body["verdict"], json!(verdict));
        assert!(!proxy.stream(STREAM).resumed);
        proxy.end(STREAM, 0);
        proxy.tick();
        assert_eq!(proxy.calls().len(), 1, "nothing to tell of");
    }
}

#[test]
fn an_absent_control_plane_is_waited_for_or_not() {
    let mut refuse = configuration();
    refuse["control_plane"]["when_away"] = json!("refuse");
    for reachable in [true, false] {
        let mut proxy = Proxy::new(&refuse);
        proxy.worker.host.with(|state| state.reachable = reachable);
        proxy.request(STREAM, "berth", authorized("/sign_in"));
        if reachable {
            let token = proxy.last_call("Acquire").token;
            proxy.answer(token, UNAVAILABLE, Vec::new());
        }
        let away = (503, "control_plane_away", Some("1"));
        assert_eq!(refusal(&proxy.reply(STREAM)), away);

        let mut proxy = Proxy::start();
        proxy.worker.host.with(|state| state.reachable = reachable);
        proxy.request(STREAM, "berth", authorized("/sign_in"));
        for _ in 0..8 {
            assert!(proxy.stream(STREAM).reply.is_none());
            if reachable {
                let token = proxy.last_call("Acquire").token;
                proxy.answer(token, UNAVAILABLE, Vec::new());
            }
            proxy.tick();
        }
        assert_eq!(refusal(&proxy.reply(STREAM)), away);
        let asked = |call: &SentCall| call.method == "Acquire";
        let asked: Vec<SentCall> = proxy.calls().into_iter().filter(asked).collect();
        assert_eq!(asked.len(), if reachable { 8 } else { 0 });
        // What is asked at a tick is the root's, so that the answer comes to it.
        assert!(asked.iter().skip(1).all(|call| call.by == ROOT));
    }
}

#[test]
fn an_answer_to_what_was_asked_at_a_tick_reaches_its_stream() {
    let mut proxy = Proxy::start();
    let other = ContextId(3);
    proxy.worker.host.with(|state| state.reachable = false);
    proxy.request(STREAM, "berth", authorized("/sign_in"));
    proxy.request(other, "berth", authorized("/sign_in"));
    proxy.worker.host.with(|state| state.reachable = true);
    proxy.tick();
    let [first, second, sync] = proxy.calls().try_into().unwrap();
    assert_eq!([first.by, second.by, sync.by], [ROOT; 3]);
    let sync: proto::SyncRequest = sync.read();
    assert_eq!((sync.full, sync.sessions.len()), (true, 2));
    proxy.answer_acquire(grant(9));
    assert!(proxy.stream(other).resumed && !proxy.stream(STREAM).resumed);
}

#[test]
fn a_tick_that_refuses_one_asks_for_the_others_on_the_roots_behalf() {
    let mut proxy = Proxy::start();
    proxy.worker.host.with(|state| state.reachable = false);
    proxy.request(STREAM, "berth", authorized("/sign_in"));
    for _ in 0..7 {
        proxy.tick();
    }
    proxy.request(ContextId(3), "berth", authorized("/sign_in"));
    proxy.worker.host.with(|state| state.reachable = true);
    proxy.tick();
    assert_eq!(refusal(&proxy.reply(STREAM)).1, "control_plane_away");
    let by: Vec<ContextId> = proxy.calls().iter().map(|call| call.by).collect();
    assert_eq!(by, [ROOT; 2], "an Acquire and a Sync");
}

#[test]
fn the_signature_is_checked_by_the_proxy() {
    for (answer, expected) in [
        (Ok(vec![0x08, 0x01]), None),
        (Ok(Vec::new()), Some((401, "bad_signature", None))),
        (
            Err(Unavailable::Refused),
            Some((401, "bad_signature", None)),
        ),
        (Err(Unavailable::Failed), Some((500, "internal", None))),
        (Ok(vec![0xff]), Some((500, "internal", None))),
    ] {
        let mut proxy = Proxy::start();
        proxy
            .worker
            .host
            .with(|state| state.foreign_answer = answer.clone());
        proxy.request(STREAM, "berth", authorized("/sign_in"));
        let reply = proxy.stream(STREAM).reply;
        assert_eq!(reply.as_ref().map(refusal), expected, "{answer:?}");

        let [(name, arguments)] = proxy
            .worker
            .host
            .with(|state| state.foreign_calls.clone())
            .try_into()
            .unwrap();
        assert_eq!(name, "verify_signature");
        let text = token().rsplit_once('.').unwrap().0.to_owned();
        assert!(arguments.starts_with(b"\x0a\x06sha256\x12"));
        assert!(arguments.ends_with(text.as_bytes()));
    }
}

#[test]
fn an_es256_signature_is_given_as_the_proxy_wants_it() {
    let raw = [&[0x00; 31][..], &[0x05], &[0x80; 32]].concat();
    // Two INTEGERs: the leading zeros go, and one comes where the number would else be negative.
    let der = [
        &[0x30, 0x26, 0x02, 0x01, 0x05, 0x02, 0x21, 0x00][..],
        &[0x80; 32],
    ]
    .concat();
    let mut proxy = Proxy::start();
    let bearer = format!("Bearer {}", signed("ES256", "p", &raw));
    let headers = upgrade("/sign_in", &[("authorization", bearer.as_str())]);
    proxy.request(STREAM, "berth", headers);
    let calls = proxy.worker.host.with(|state| state.foreign_calls.clone());
    let [(_, arguments)] = calls.try_into().unwrap();
    // Field 3 of VerifySignatureArguments.
    let field = [&[0x1a, 40][..], &der].concat();
    assert!(arguments.windows(field.len()).any(|window| window == field));
    assert!(proxy.stream(STREAM).reply.is_none());
}
