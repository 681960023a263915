use berth_tests::{KeyKind, Scratch, World};

use crate::hello::{Answer, ClientHello};
use crate::with_names;

/// Mozilla's intermediate configuration, guidelines 6.0, and what is around it.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_in_mozillas_list_is_refused() {
    let folder = Scratch::temporary().unwrap();
    let builder = World::builder().web_instances(1);
    let rsa = [("rsa", KeyKind::Rsa, &["rsa.example"][..])];
    let (builder, _named) = with_names(builder, &folder, rsa);
    let world = builder.start().await.unwrap();
    let hello = ClientHello {
        name: "localhost",
        version: TLS_12,
        versions: &[],
        cipher_suites: &[],
        // P-256 not for the exchange of keys, but because the certificate's is on it (RFC 8422, section 5.1).
        groups: &[X25519, P256],
    };
    let old = |version| ClientHello { version, ..hello };
    let chosen = |version, cipher_suite, group| Answer::Chosen {
        version,
        cipher_suite,
        group,
    };
    let mut cases: Vec<(String, ClientHello<'_>, Answer)> = Vec::new();
    for version in [TLS_10, TLS_11] {
        for cipher_suites in [
            &[ECDHE_ECDSA_AES128_SHA][..],
            &[ECDHE_ECDSA_AES128_GCM_SHA256],
        ] {
            let hello = ClientHello {
                cipher_suites,
                ..old(version)
            };
            cases.push((
                format!("version {version:x}"),
                hello,
                Answer::Alert(PROTOCOL_VERSION),
            ));
        }
    }
    for (name, taken, refused) in [
        ("localhost", ECDSA, [OF_OLD_ECDSA, RSA].concat()),
        ("rsa.example", RSA, [OF_OLD_RSA, ECDSA].concat()),
    ] {
        for suite in taken {
            let hello = ClientHello {
                name,
                cipher_suites: std::slice::from_ref(suite),
                ..hello
            };
            cases.push((
                format!("{name} {suite:x}"),
                hello,
                chosen(TLS_12, *suite, None),
            ));
        }
        // Each by itself, so that none hides behind another.
        for suite in refused {
            let suites = Vec::leak(vec![suite]);
            let hello = ClientHello {
                name,
                cipher_suites: suites,
                ..hello
            };
            cases.push((
                format!("{name} {suite:x}"),
                hello,
                Answer::Alert(HANDSHAKE_FAILURE),
            ));
        }
    }
    for suite in TLS_13_SUITES {
        let hello = ClientHello {
            versions: &[TLS_13],
            cipher_suites: std::slice::from_ref(suite),
            ..hello
        };
        cases.push((
            format!("{suite:x}"),
            hello,
            chosen(TLS_13, *suite, Some(X25519)),
        ));
    }
    for (groups, group) in [
        (&[X25519MLKEM768][..], Some(X25519MLKEM768)),
        (&[P256], Some(P256)),
        (&[P384], Some(P384)),
        (&[X25519, X25519MLKEM768], Some(X25519MLKEM768)),
        (&[P521], None),
    ] {
        let hello = ClientHello {
            versions: &[TLS_13],
            cipher_suites: TLS_13_SUITES,
            groups,
            ..hello
        };
        let refused = Answer::Alert(HANDSHAKE_FAILURE);
        let answer = hello.send(world.https()).await;
        match (group, answer) {
            (Some(expected), Answer::Chosen { group, .. }) => assert_eq!(group, Some(expected)),
            (_, answer) => assert_eq!(answer, refused, "{groups:x?}"),
        }
    }
    for (title, hello, expected) in cases {
        assert_eq!(hello.send(world.https()).await, expected, "{title}");
    }
}

const TLS_10: u16 = 0x0301;
const TLS_11: u16 = 0x0302;
const TLS_12: u16 = 0x0303;
const TLS_13: u16 = 0x0304;

/// AES-128-GCM, AES-256-GCM and ChaCha20-Poly1305.
const TLS_13_SUITES: &[u16] = &[0x1301, 0x1302, 0x1303];
/// ECDHE with the same three.
const ECDSA: &[u16] = &[ECDHE_ECDSA_AES128_GCM_SHA256, 0xc02c, 0xcca9];
const RSA: &[u16] = &[0xc02f, 0xc030, 0xcca8];
const ECDHE_ECDSA_AES128_GCM_SHA256: u16 = 0xc02b;
const ECDHE_ECDSA_AES128_SHA: u16 = 0xc009;
/// CBC with SHA-1, SHA-256 and SHA-384.
const OF_OLD_ECDSA: &[u16] = &[ECDHE_ECDSA_AES128_SHA, 0xc00a, 0xc023, 0xc024];
/// The same of RSA; no forward secrecy (CBC and GCM); 3DES; RC4; finite-field DHE.
const OF_OLD_RSA: &[u16] = &[
    0xc013, 0xc014, 0xc027, 0xc028, 0x002f, 0x0035, 0x003c, 0x009c, 0x009d, 0x000a, 0x0005, 0x009e,
    0x009f, 0xccaa,
];

const X25519MLKEM768: u16 = 0x11ec;
const X25519: u16 = 0x001d;
const P256: u16 = 0x0017;
const P384: u16 = 0x0018;
const P521: u16 = 0x0019;

const HANDSHAKE_FAILURE: u8 = 40;
const PROTOCOL_VERSION: u8 = 70;
