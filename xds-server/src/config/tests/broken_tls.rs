//! What is said of which mistake in what clients are shown: in the file `GOOD`, the first text replaced by the second.

pub(super) const CASES: &[(&str, &str, &[&str])] = &[
    (
        "private_key: key.pem",
        "private_key: key.pem, by_sni: [{ name: a, certificate_chain: cert.pem, private_key: key.pem }]",
        &[],
    ),
    (
        "private_key: key.pem",
        "private_key: key.pem, by_sni: [{ name: a, certificate_chain: ca.pem, private_key: key.pem }]",
        &[
            "6:119: tls.by_sni[0].private_key: /etc/berth/key.pem is not the key of the first certificate in /etc/berth/ca.pem: name the pair that was issued together, leaf certificate first",
        ],
    ),
    (
        "private_key: key.pem",
        "private_key: key.pem, by_sni: [{ name: a/b, certificate_chain: gone.pem, private_key: key.pem }]",
        &[
            "6:76: tls.by_sni[0].name: `a/b` cannot be a name here: only a-z, A-Z, 0-9, ., _ and - may be in it, not `/`",
            "6:100: tls.by_sni[0].certificate_chain: cannot read /etc/berth/gone.pem: entity not found; a relative path starts at the folder of this file",
        ],
    ),
    (
        "private_key: key.pem",
        "private_key: key.pem, by_sni: [{ name: a, certificate_chain: cert.pem, private_key: key.pem }, { name: a, certificate_chain: jwks.json, private_key: key.pem }]",
        &[
            "6:140: tls.by_sni[1].name: `a` is used by tls.by_sni[0].name already: give every certificate a name of its own",
            "6:162: tls.by_sni[1].certificate_chain: /etc/berth/jwks.json has no certificate that can be read: it must hold the chain in PEM, leaf first, in `-----BEGIN CERTIFICATE-----` blocks",
        ],
    ),
    (
        "private_key: key.pem",
        "private_key: key.pem, by_sni: [{ certificate_chain: cert.pem, private_key: key.pem }]",
        &["6:99: tls.by_sni[0].name: is missing: berth.example.yaml shows what to write"],
    ),
];
