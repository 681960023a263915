//! What is said of which mistake in what admission decides by: in the file `GOOD`, the first text replaced by the second.

pub(super) const CASES: &[(&str, &str, &[&str])] = &[
    (
        "  pools_claim: pools\n",
        "  carriers: [authorisation, query: token]\n",
        &[
            "13:14: admission.carriers[0]: `authorisation` is not known here: write `authorization`, `header: ...`, `query: ...`, `cookie: ...`, `subprotocol: ...` or `subprotocol_base64url: ...`",
        ],
    ),
    (
        "  pools_claim: pools\n",
        "  carriers: [authorization, header]\n",
        &[
            "13:35: admission.carriers[1].header: is of the wrong kind: write fields with values, `{}` if all are left out",
        ],
    ),
    (
        "  pools_claim: pools\n",
        "  carriers: [authorization: x]\n",
        &["13:29: admission.carriers[0].authorization: is of the wrong kind: write the word alone"],
    ),
    (
        "  pools_claim: pools\n",
        "  carriers: [query: [token]]\n",
        &["13:21: admission.carriers[0].query: is of the wrong kind: write a single value"],
    ),
    (
        "  pools_claim: pools\n",
        "  carriers: [header: { nam: x }]\n",
        &[
            "13:24: admission.carriers[0].header.nam: is not a field of the configuration: here go name, prefix",
        ],
    ),
    (
        "  pools_claim: pools\n",
        "  carriers: [[authorization]]\n",
        &[
            "13:14: admission.carriers[0]: is of the wrong kind: write a word, or one field with its value",
        ],
    ),
    (
        "  pools_claim: pools\n",
        "  carriers:\n  - query: token\n    cookie: x\n",
        &[
            "15:5: admission.carriers[0].query: is of the wrong kind: write one field only, and others as entries of their own",
        ],
    ),
    (
        "  pools_claim: pools\n",
        "  carriers: [authorization, query: 'a b']\n",
        &[
            "13:29: admission.carriers[1]: must be 1 to 64 of A-Z, a-z, 0-9, `-`, `.`, `_` and `~`, and not `berth_resume_key`",
        ],
    ),
    (
        "  pools_claim: pools\n",
        "  carriers: [header: { name: Cookie }]\n",
        &[
            "13:14: admission.carriers[0]: must be 1 to 63 of a-z, 0-9 and `-`, not `x-berth-…`, and not a header that the handshake or Berth reads",
        ],
    ),
    (
        "  pools_claim: pools\n",
        "  carriers: [cookie: session]\n",
        &[
            "13:14: admission.carriers[0]: needs `origins`: a browser sends its cookies whichever web page asks",
        ],
    ),
    (
        "  pools_claim: pools\n",
        "  carriers: [subprotocol: 'a, b']\n",
        &[
            "13:14: admission.carriers[0]: must be 1 to 64 of the characters of a token (RFC 9110 §5.6.2)",
        ],
    ),
    (
        "  pools_claim: pools\n",
        "  carriers: [query: token, query: token]\n",
        &["13:28: admission.carriers[1]: is there already: remove one of the two"],
    ),
    (
        "  pools_claim: pools\n",
        "  carriers: [cookie: session]\n  origins: []\n",
        &[],
    ),
    (
        "  pools_claim: pools\n",
        "  origins: ['https://xr.example.com/app']\n  carriers: [authorization]\n",
        &[
            "13:13: admission.origins[0]: `https://xr.example.com/app` is not an origin: `https://app.example.com` or `https://*.example.com`, lower case, without a path and without the scheme's own port",
        ],
    ),
    (
        "  pools_claim: pools\n",
        "  origins: ['*']\n  tags: { headers: [{ name: host, value: subject }] }\n",
        &[
            "13:13: admission.origins[0]: `*` is not an origin: `https://app.example.com` or `https://*.example.com`, lower case, without a path and without the scheme's own port",
            "14:29: admission.tags.headers[0].name: must be 1 to 63 of a-z, 0-9 and `-`, not `x-berth-…`, and not a header that the handshake or Berth reads",
        ],
    ),
    (
        "  pools_claim: pools\n",
        "  tags: { headers: [{ name: x-a, value: user }] }\n",
        &[
            "13:41: admission.tags.headers[0].value: `user` is not known here: write `session`, `issuer`, `subject`, `tenant`, `pool` or `claim: ...`",
        ],
    ),
    (
        "  pools_claim: pools\n",
        "  tags: { headers: [{ name: x-a, value: subject }, { name: x-a, value: { claim: '' } }] }\n",
        &["13:60: admission.tags.headers[1].name: `x-a` is there already: remove one of the two"],
    ),
    (
        "  pools_claim: pools\n",
        "  tags: { claims: [email, ''] }\n  attempts: { burst: 5, per_minute: 0 }\n",
        &[
            "13:27: admission.tags.claims[1]: must not be empty",
            "14:37: admission.attempts.per_minute: must be at least 1 where there is a `burst`",
        ],
    ),
    (
        "  pools_claim: pools\n",
        "  attempts: { burst: 5 }\n",
        &[
            "13:15: admission.attempts.per_minute: is missing: berth.example.yaml shows what to write",
        ],
    ),
    (
        "  pools_claim: pools\n",
        "  attempts: { burst: many, per_minute: 1 }\n",
        &["13:22: admission.attempts.burst: is of the wrong kind: write a whole number, 0 or more"],
    ),
    (
        "  pools_claim: pools\n",
        "  attempts: { burst: 0, per_minute: 0 }\n",
        &[],
    ),
    (
        "  pools_claim: pools\n",
        "  token_cache: { entries: -1, max_age: 1500ms }\n",
        &[
            "13:27: admission.token_cache.entries: -1 is out of range: choose from 0 to 100000",
            "13:40: admission.token_cache.max_age: 1s 500ms is not whole seconds: round it",
        ],
    ),
    (
        "  pools_claim: pools\n",
        "  token_cache: { entries: 0, max_age: 2days }\n",
        &["13:39: admission.token_cache.max_age: 2days is out of range: choose from 1s to 1day"],
    ),
    (
        "  pools_claim: pools\n",
        "  api_keys: [{ subject: kiosk, sha256: berth_secret }]\n",
        &[
            "13:40: admission.api_keys[0].sha256: must be the SHA-256 of the key: 64 hexadecimal digits; `berth api-key` makes a key and prints it",
        ],
    ),
    (
        "  pools_claim: pools\n",
        "  api_keys: [{ subject: kiosk, sha256: acad8eebea9b536d9277728bb7d9cf8525a154ef51ede1ac2e9c32194d882e0a, pools: [web, gone] }]\n",
        &[
            "13:119: admission.api_keys[0].pools[1]: `gone` is not the name of a pool: name one of `pools`",
        ],
    ),
    (
        "  pools_claim: pools\n",
        "  api_keys: [{ subject: '', sha256: acad8eebea9b536d9277728bb7d9cf8525a154ef51ede1ac2e9c32194d882e0a }]\n",
        &["13:25: admission.api_keys[0].subject: must not be empty"],
    ),
    (
        "  pools_claim: pools\n",
        "  api_keys: [{ subject: a, sha256: acad8eebea9b536d9277728bb7d9cf8525a154ef51ede1ac2e9c32194d882e0a }, { subject: b, sha256: acad8eebea9b536d9277728bb7d9cf8525a154ef51ede1ac2e9c32194d882e0a }]\n",
        &[
            "13:126: admission.api_keys[1].sha256: `acad8eebea9b536d9277728bb7d9cf8525a154ef51ede1ac2e9c32194d882e0a` is there already: remove one of the two",
        ],
    ),
    (
        "  pools_claim: pools\n",
        "  api_keys: [{ subject: a, sha256: acad8eebea9b536d9277728bb7d9cf8525a154ef51ede1ac2e9c32194d882e0a, priority: 10 }]\n",
        &["13:112: admission.api_keys[0].priority: must be from 0 to 9"],
    ),
    (
        "  pools_claim: pools\n",
        "  api_keys: [{ subject: a, sha256: acad8eebea9b536d9277728bb7d9cf8525a154ef51ede1ac2e9c32194d882e0a, priority: -1 }]\n",
        &[
            "13:112: admission.api_keys[0].priority: is of the wrong kind: write a whole number from 0 to 9",
        ],
    ),
    (
        "  pools_claim: pools\n",
        "  api_keys: [{ subject: kiosk }]\n",
        &[
            "13:16: admission.api_keys[0].sha256: is missing: berth.example.yaml shows what to write",
        ],
    ),
    (
        "  pools_claim: pools\n",
        "  client_certificates: [{ name: uri_san, matches: { prefix: 'spiffe://' } }]\n",
        &[
            "13:25: admission.client_certificates[0]: needs `origins`: a browser shows its certificate whichever web page asks",
        ],
    ),
    (
        "  pools_claim: pools\n",
        "  client_certificates: [{ name: uri_san, matches: { prefix: 'spiffe://' }, pools: [gone] }]\n  origins: [https://a.example]\n",
        &[
            "13:84: admission.client_certificates[0].pools[0]: `gone` is not the name of a pool: name one of `pools`",
        ],
    ),
    (
        "  pools_claim: pools\n",
        "  client_certificates: [{ name: email, matches: { prefix: 'spiffe://' } }]\n",
        &[
            "13:33: admission.client_certificates[0].name: `email` is not known here: write `dns_san`, `subject` or `uri_san`",
        ],
    ),
    (
        "  pools_claim: pools\n",
        "  client_certificates: [{ name: uri_san, matches: spiffe }]\n",
        &[
            "13:51: admission.client_certificates[0].matches: `spiffe` is not known here: write `exact: ...`, `prefix: ...` or `suffix: ...`",
        ],
    ),
    (
        "  pools_claim: pools\n",
        "  pool_from: [path, header: host, claim: '']\n",
        &[
            "13:21: admission.pool_from[1]: must be 1 to 63 of a-z, 0-9 and `-`, not `x-berth-…`, and not a header that the handshake or Berth reads",
        ],
    ),
    (
        "  pools_claim: pools\n",
        "  pool_from: [path, claim: '']\n",
        &["13:21: admission.pool_from[1]: must not be empty"],
    ),
    (
        "  pools_claim: pools\n",
        "  labels: [{ label: region, query_parameter: token }]\n",
        &[
            "13:46: admission.labels[0].query_parameter: `token` is there already: remove one of the two",
        ],
    ),
    (
        "  pools_claim: pools\n",
        "  carriers: [authorization]\n  labels: [{ label: region, query_parameter: token }]\n",
        &[],
    ),
    (
        "  pools_claim: pools\n",
        "  query_parameter: token\n",
        &[
            "13:3: admission.query_parameter: is not a field of the configuration: here go issuers, api_keys, client_certificates, carriers, pool_from, pools_claim, tenant_claim, priority_claim, labels, default_pools, origins, tags, attempts, token_cache",
        ],
    ),
    (
        "  hold: 8s\n",
        "  audiences: ['']\n",
        &["25:15: pools[0].audiences[0]: must not be empty"],
    ),
    (
        "  hold: 8s\n",
        "  allow: [{ issuer: https://login.example.com }, {}]\n",
        &[
            "25:50: pools[0].allow[1]: is a rule without a condition: say whom it is for, or leave `allow` out if the pool is for everybody",
        ],
    ),
    (
        "  hold: 8s\n",
        "  allow: [{ issuer: https://login.example.org, tenant: { exact: acme } }, { issuer: api_key }]\n",
        &[
            "25:21: pools[0].allow[0].issuer: nobody has the issuer `https://login.example.org`: name one of `admission.issuers`, or `api_key` or `client_certificate` if there are such",
            "25:56: pools[0].allow[0].tenant: nothing says who is of which tenant: name the claim that does as `admission.tenant_claim`, or give API keys or client certificates a `tenant`",
            "25:85: pools[0].allow[1].issuer: nobody has the issuer `api_key`: name one of `admission.issuers`, or `api_key` or `client_certificate` if there are such",
        ],
    ),
    (
        "  hold: 8s\n",
        "  allow: [{ claims: [{ claim: '', matches: { exact: a } }] }]\n",
        &["25:31: pools[0].allow[0].claims[0].claim: must not be empty"],
    ),
    (
        "  hold: 8s\n",
        "  allow: [{ subject: alice }]\n",
        &[
            "25:22: pools[0].allow[0].subject: `alice` is not known here: write `exact: ...`, `prefix: ...` or `suffix: ...`",
        ],
    ),
    (
        "clock_skew: 30s",
        "types: [JWT, ''], required_claims: [{ claim: '', matches: { exact: a } }]",
        &["12:97: admission.issuers[0].types[1]: must not be empty"],
    ),
    (
        "clock_skew: 30s",
        "subjects: [{ regex: a.* }]",
        &[
            "12:97: admission.issuers[0].subjects[0]: `regex` is not known here: write `exact: ...`, `prefix: ...` or `suffix: ...`",
        ],
    ),
    (
        "clock_skew: 30s",
        "max_lifetime: 0s",
        &[
            "12:98: admission.issuers[0].max_lifetime: 0s is out of range: choose from 1s to 1year 18h",
        ],
    ),
    (
        "clock_skew: 30s",
        "max_lifetime: 500ms, close_when_expired: maybe",
        &[
            "12:125: admission.issuers[0].close_when_expired: is of the wrong kind: write true or false",
        ],
    ),
    (
        "issuer: https://login.example.com",
        "issuer: api_key",
        &[
            "12:15: admission.issuers[0].issuer: `api_key` is what those have for an issuer who come without a token",
        ],
    ),
    (
        "  issuers:\n  - { issuer: https://login.example.com, audiences: [berth], jwks_file: jwks.json, clock_skew: 30s }\n",
        "  api_keys: [{ subject: kiosk, sha256: acad8eebea9b536d9277728bb7d9cf8525a154ef51ede1ac2e9c32194d882e0a, tenant: acme }]\n",
        &[],
    ),
    (
        "private_key: key.pem",
        "private_key: key.pem, client_ca: missing.pem",
        &[
            "6:70: tls.client_ca: cannot read /etc/berth/missing.pem: entity not found; a relative path starts at the folder of this file",
        ],
    ),
    (
        "private_key: key.pem",
        "private_key: key.pem, client_ca: key.pem",
        &[
            "6:70: tls.client_ca: /etc/berth/key.pem has no certificate that can be read: it must hold those of the authorities to trust, in PEM",
        ],
    ),
    (
        "private_key: key.pem",
        "private_key: key.pem, client_ca: ca.pem",
        &[],
    ),
];
