use super::*;

fn configure(configuration: &str, random: Option<u8>) -> (bool, Vec<(LogLevel, String)>) {
    let worker = Rc::new(Worker::new(Fake::new(configuration)));
    worker.host.with(|state| state.random = random);
    let configured = Root::new(Rc::clone(&worker), ROOT).on_configure(0);
    worker.host.with(|state| {
        assert_eq!(state.tick.is_some(), configured);
        (configured, state.log.clone())
    })
}

fn with(pointer: &str, value: Value) -> String {
    let mut configuration = configuration();
    let (parent, field) = pointer.rsplit_once('/').unwrap();
    configuration.pointer_mut(parent).unwrap()[field] = value;
    configuration.to_string()
}

#[test]
fn a_configuration_that_is_refused_says_which_field() {
    for (configuration, field) in [
        (
            String::new(),
            "EOF while parsing a value at line 1 column 0",
        ),
        ("[]".to_owned(), "must be an object"),
        ("{}".to_owned(), "admission: is missing"),
        (
            r#"{"admission": {}, "admission": {}}"#.to_owned(),
            "a member comes twice at line 1 column ",
        ),
        (with("/extra", json!(1)), "extra: is not known"),
        (
            with("/control_plane/extra", json!(1)),
            "control_plane.extra: is not known",
        ),
        (
            with("/control_plane/when_away", json!("maybe")),
            "control_plane.when_away: must be wait or refuse",
        ),
        (
            with("/control_plane/hold_ms", json!(-1)),
            "control_plane.hold_ms: must be a whole number, not below 0",
        ),
        (
            with("/admission/issuers/0/audiences", json!("berth")),
            "admission.issuers[0].audiences: must be an array",
        ),
        (
            with("/admission/issuers/0/clock_skew_seconds", json!(0.5)),
            "admission.issuers[0].clock_skew_seconds: must be a whole number, not below 0",
        ),
        (
            with(
                "/admission/carriers",
                json!(["authorization", {"query": 1}]),
            ),
            "admission.carriers[1].query: must be a string",
        ),
        (
            with("/admission/carriers", json!([{"header": {"prefix": ""}}])),
            "admission.carriers[0].header.name: is missing",
        ),
        (
            with("/control_plane/hold_ms", json!(60_001)),
            "control_plane.hold_ms: must be between 0 and 60000",
        ),
        (
            with("/control_plane/tick_ms", json!(0)),
            "control_plane.tick_ms",
        ),
        (
            with("/control_plane/cluster", json!("")),
            "control_plane.cluster",
        ),
        (
            with("/control_plane/cluster", json!("x".repeat(121))),
            "control_plane.cluster",
        ),
        (with("/admission/pools", json!([])), "admission.pools"),
    ] {
        let (configured, log) = configure(&configuration, Some(0));
        assert!(!configured, "{configuration}");
        let [(LogLevel::Critical, message)] = log.as_slice() else {
            panic!("{log:?}");
        };
        assert!(message.contains(field), "{message}");
    }
}

#[test]
fn the_root_ticks_at_least_twice_a_second() {
    for (tick_ms, timer_ms) in [(50, 50), (700, 350), (1000, 500), (60_000, 500)] {
        let worker = Rc::new(Worker::new(Fake::new(&with(
            "/control_plane/tick_ms",
            json!(tick_ms),
        ))));
        assert!(Root::new(Rc::clone(&worker), ROOT).on_configure(0));
        let timer = worker.host.with(|state| state.tick);
        assert_eq!(timer, Some(Duration::from_millis(timer_ms)), "{tick_ms}");
    }
}

#[test]
fn without_random_numbers_nothing_is_configured_and_nobody_admitted() {
    let (configured, log) = configure(&configuration().to_string(), None);
    assert!(!configured);
    assert_eq!(log.len(), 1);

    let mut proxy = Proxy::start();
    proxy.worker.host.with(|state| state.random = None);
    proxy.request(STREAM, "berth", authorized("/sign_in"));
    assert_eq!(refusal(&proxy.reply(STREAM)), (500, "internal", None));
}

#[test]
fn a_key_that_is_not_used_is_warned_of() {
    let mut configuration = configuration();
    let keys = configuration.pointer_mut("/admission/issuers/0/jwks/keys");
    let keys = keys.unwrap().as_array_mut().unwrap();
    keys.push(json!({"kty": "OKP", "kid": "other", "crv": "Ed25519", "x": "AA"}));
    let (configured, log) = configure(&configuration.to_string(), Some(0));
    assert!(configured);
    let [(LogLevel::Warn, message)] = log.as_slice() else {
        panic!("{log:?}");
    };
    assert!(
        message.contains("admission.issuers[0].jwks.keys[2]"),
        "{message}"
    );
}

#[test]
fn a_new_configuration_shares_the_sessions_of_the_old_one() {
    let mut proxy = Proxy::start();
    let old = proxy.live(STREAM);
    let asked: proto::AcquireRequest = proxy.last_call("Acquire").read();
    let second = ContextId(10);
    proxy.worker.host.with(|state| state.roots.push(second));
    let mut root = Root::new(Rc::clone(&proxy.worker), second);
    assert!(root.on_configure(0));
    let old_root = std::mem::replace(&mut proxy.root, root);

    let new = proxy.live(ContextId(11));
    proxy.tick();
    let sync = proxy.last_sync();
    let sessions: Vec<_> = sync.sessions.iter().map(|s| s.session.as_str()).collect();
    assert_eq!(sessions, [old.as_str(), new.as_str()]);
    assert_eq!(asked.vm.unwrap().id, sync.vm.unwrap().id);
    drop(old_root);
}

#[test]
fn a_stream_without_a_configuration_is_refused() {
    let worker = Rc::new(Worker::new(Fake::new("{}")));
    let root = Root::new(Rc::clone(&worker), ROOT);
    let mut proxy = Proxy {
        worker,
        root,
        contexts: BTreeMap::new(),
        callers: BTreeMap::new(),
    };
    let action = proxy.request(STREAM, "berth", authorized("/sign_in"));
    assert_eq!(action, Action::Pause);
    assert_eq!(refusal(&proxy.reply(STREAM)), (500, "internal", None));
    proxy.end(STREAM, 0);
}

#[test]
fn the_readmes_configuration_is_taken() {
    let readme = include_str!("../../README.md");
    let (_, rest) = readme.split_once("```json\n").unwrap();
    let (json, _) = rest.split_once("```").unwrap();
    assert_eq!(configure(json, Some(1)), (true, vec![]));
}
