use proptest::prelude::*;

use super::*;

/// Every part of a key set that means something, and some that do not.
fn ec(id: &str) -> Value {
    json!({
        "kid": id, "kty": "EC", "crv": "P-256",
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    })
}

fn with(mut key: Value, name: &str, value: Value) -> Value {
    key[name] = value;
    key
}

fn without(mut key: Value, name: &str) -> Value {
    key.as_object_mut().unwrap().remove(name);
    key
}

fn read(keys: Vec<Value>, audience: Audience) -> Result<Reading, KeySetError> {
    KeySet::read(&json!({"keys": keys}), audience)
}

#[test]
fn what_can_be_used_is_taken_and_the_rest_is_named() {
    let secret = json!({"kid": "s", "kty": "oct", "k": "c2VjcmV0"});
    let private = with(
        ec("p"),
        "d",
        json!("jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"),
    );
    let foreign = with(ec("f"), "use", json!("enc"));
    let odd = json!("key");
    let cases = [
        (Audience::Public, vec![ec("a"), ec("b")], Ok((2, vec![]))),
        (
            Audience::Public,
            vec![secret.clone(), private.clone(), foreign, odd, ec("a")],
            Ok((
                1,
                vec![
                    "`keys[0]` (\"s\"): it is secret and was published, so anybody may have it: its issuer has to replace it",
                    "`keys[1]` (\"p\"): it is secret and was published, so anybody may have it: its issuer has to replace it",
                    "`keys[2]` (\"f\"): `use` must be `sig`, or absent",
                    "`keys[3]`: must be an object",
                ],
            )),
        ),
        (
            Audience::Operator,
            vec![ec("a"), private.clone()],
            Err(
                "`keys[1]` is a private key: replace it, and give only the public half of the new one",
            ),
        ),
        (
            Audience::Public,
            vec![private],
            Err(
                "has no key that can be used: `keys[0]` (\"p\"): it is secret and was published, so anybody may have it: its issuer has to replace it",
            ),
        ),
        (
            Audience::Public,
            vec![without(ec("a"), "y")],
            Err("has no key that can be used: `keys[0]` (\"a\"): `y` is missing"),
        ),
        (
            Audience::Operator,
            vec![with(secret.clone(), "k", json!("c".repeat(43)))],
            Ok((1, vec![])),
        ),
        (
            Audience::Operator,
            vec![],
            Err("has no key that can be used"),
        ),
    ];
    for (audience, keys, expected) in cases {
        let found = read(keys.clone(), audience).map(|reading| {
            let ignored = reading.ignored.iter().map(ToString::to_string);
            (reading.set.len(), ignored.collect::<Vec<_>>())
        });
        let expected = expected.map(|(count, ignored)| {
            let ignored = ignored.into_iter().map(str::to_owned);
            (count, ignored.collect::<Vec<_>>())
        });
        let found = found.map_err(|error| error.to_string());
        assert_eq!(found, expected.map_err(str::to_owned), "{keys:?}");
    }
}

#[test]
fn secrets_are_not_in_debug_output() {
    let key = json!({"kid": "s", "kty": "oct", "k": "c".repeat(43)});
    let reading = read(vec![key], Audience::Operator).unwrap();
    let shown = format!("{reading:?}");
    assert!(shown.contains("\"s\"") && !shown.contains("ccc"), "{shown}");
}

#[test]
fn what_is_no_key_set_is_refused() {
    for jwks in [json!([]), json!({}), json!({"keys": {}}), json!(null)] {
        let refused = KeySet::read(&jwks, Audience::Public);
        assert_eq!(refused, Err(KeySetError::NotAKeySet), "{jwks}");
    }
}

#[test]
fn keys_are_called_by_what_tells_them_apart() {
    let keys = vec![ec("a"), with(without(ec(""), "kid"), "alg", json!("ES256"))];
    let set = read(keys, Audience::Public).unwrap().set;
    let names: Vec<_> = set.names().map(|name| (name.id, name.kind)).collect();
    assert_eq!(names, [(None, "ES256"), (Some("a"), "P-256")]);
}

/// What issuers add to a key that is no part of it.
fn decoration() -> impl Strategy<Value = (&'static str, Value)> {
    prop_oneof![
        Just(("x5c", json!(["MIIC"]))),
        Just(("x5t", json!("abc"))),
        Just(("key_ops", json!(["verify"]))),
        Just(("use", json!("sig"))),
        Just(("issuer", json!("https://a.example"))),
    ]
}

proptest! {
    /// However the same keys are written, they are the same set, and what is written of it is read as it.
    #[test]
    fn equal_keys_are_equal_bytes(
        ids in prop::collection::btree_set("[a-z]{1,3}", 1..6),
        order in prop::collection::vec((any::<prop::sample::Index>(), decoration()), 0..12),
    ) {
        let plain: Vec<_> = ids.iter().map(|id| ec(id)).collect();
        // Every key once, then some again, decorated, in any order.
        let mut written = plain.clone();
        for (index, (name, value)) in &order {
            written.push(with(index.get(&plain).clone(), name, value.clone()));
        }
        let turn = order.len() % written.len();
        written.rotate_left(turn);
        let (one, other) = (
            read(plain, Audience::Public).unwrap().set,
            read(written, Audience::Public).unwrap().set,
        );
        prop_assert_eq!(one.to_jwks().to_string(), other.to_jwks().to_string());
        prop_assert_eq!(one.len(), ids.len());
        let again = KeySet::read(&one.to_jwks(), Audience::Public).unwrap();
        prop_assert_eq!(again, Reading { set: one, ignored: vec![] });
    }

    /// Whatever is published, nothing secret gets into a set.
    #[test]
    fn what_is_secret_is_not_taken(
        keys in prop::collection::vec((0_u8..4, "[A-Z]{1,3}"), 0..8),
    ) {
        let keys: Vec<_> = keys
            .iter()
            .map(|(kind, id)| match kind {
                0 => ec(id),
                1 => with(ec(id), "d", json!("AA")),
                2 => json!({"kty": "oct", "k": "c2VjcmV0", "kid": id}),
                _ => with(ec(id), "kty", json!("oct")),
            })
            .collect();
        if let Ok(Reading { set, .. }) = read(keys, Audience::Public) {
            let text = set.to_jwks().to_string();
            prop_assert!(!text.contains("oct") && !text.contains("\"d\"") && !text.contains("\"k\""));
        }
    }
}
