//! What is said of which mistake: in the file `GOOD`, the first text replaced by the second.

pub(super) const CASES: &[(&str, &str, &[&str])] = &[
    (
        "xds: { listen: 127.0.0.1:18000 }",
        "xds: { listen: 127.0.0.1:18000, max_streams: 0 }",
        &["1:46: xds.max_streams: 0 is out of range: choose from 1 to 100000"],
    ),
    (
        "[berth]",
        "[berth",
        &[
            "12:53: admission.issuers: mismatched bracket '[' closed by '}': check indentation, quotes and brackets up to here",
        ],
    ),
    (
        "hold: 8s",
        "hold: *x",
        &[
            "25:9: pools[0]: alias references unknown anchor: check indentation, quotes and brackets up to here",
        ],
    ),
    (
        "hold: 8s",
        "hodl: 8s",
        &[
            "25:3: pools[0].hodl: is not a field of the configuration: here go name, family, instances, probe, instance_tls, choice, second_device, resume_window, settle, warm_up, hold, queue, orphan_after, max_sessions, max_sessions_per_user, max_sessions_per_tenant, max_session_age, tenants, audiences, allow",
        ],
    ),
    (
        "  module: berth_filter.wasm\n",
        "",
        &["8:3: filter.module: is missing: berth.example.yaml shows what to write"],
    ),
    (
        "  hold: 8s\n",
        "  hold: 8s\n  hold: 9s\n",
        &["26:3: pools[0].hold: is there already: remove one of the two"],
    ),
    (
        "port: 443",
        "port: https",
        &["4:42: listeners[0].port: is of the wrong kind: write a whole number"],
    ),
    (
        "port: 443",
        "port: [443]",
        &["4:42: listeners[0].port: is of the wrong kind: write a single value"],
    ),
    (
        "pools:\n",
        "pools: {}\nx:\n",
        &["15:8: pools: is of the wrong kind: write a list"],
    ),
    (
        "timing: {",
        "timing: [] #",
        &["31:9: timing: is of the wrong kind: write fields with values, `{}` if all are left out"],
    ),
    (
        "name: gpu-1",
        "name: null",
        &["19:13: pools[0].instances[0].name: is of the wrong kind: write a single value"],
    ),
    (
        "{ listen: 127.0.0.1:18000 }",
        "{ listen: 0.0.0.0:18000 }",
        &[
            "1:16: xds.listen: 0.0.0.0:18000 is not a loopback address, and what is said there is not encrypted: listen on 127.0.0.1 or [::1], or set `allow_plaintext: true` beside it if every host of that network is trusted",
        ],
    ),
    (
        "{ listen: 127.0.0.1:18000 }",
        "{ listen: 0.0.0.0:18000, allow_plaintext: yes please }",
        &["1:48: xds.allow_plaintext: is of the wrong kind: write true or false"],
    ),
    (
        "{ listen: 127.0.0.1:18000 }",
        "{ tls: { certificate_chain: cert.pem, private_key: key.pem } }",
        &["1:44: xds.tls.client_ca: is missing: berth.example.yaml shows what to write"],
    ),
    (
        "{ listen: 127.0.0.1:18000 }",
        "{ allow_plaintext: true, tls: { certificate_chain: cert.pem, private_key: key.pem, client_ca: ca.pem } }",
        &[
            "1:25: xds.allow_plaintext: nothing is said in plaintext where there is `tls`: remove one of the two",
        ],
    ),
    (
        "{ listen: 127.0.0.1:18000 }",
        "{ listen: 0.0.0.0:1, tls: { certificate_chain: gone.pem, private_key: gone-too.pem, client_ca: jwks.json } }",
        &[
            "1:53: xds.tls.certificate_chain: cannot read /etc/berth/gone.pem: entity not found; a relative path starts at the folder of this file",
            "1:76: xds.tls.private_key: cannot read /etc/berth/gone-too.pem: entity not found; a relative path starts at the folder of this file",
        ],
    ),
    (
        "{ listen: 127.0.0.1:18000 }",
        "{ listen: 0.0.0.0:1, tls: { certificate_chain: jwks.json, private_key: key.pem, client_ca: ca.pem } }",
        &[
            "1:53: xds.tls.certificate_chain: /etc/berth/jwks.json has no certificate that can be read: it must hold the chain in PEM, leaf first, in `-----BEGIN CERTIFICATE-----` blocks",
        ],
    ),
    (
        "{ listen: 127.0.0.1:18000 }",
        "{ listen: 0.0.0.0:1, tls: { certificate_chain: cert.pem, private_key: jwks.json, client_ca: ca.pem } }",
        &[
            "1:76: xds.tls.private_key: /etc/berth/jwks.json has no private key that can be used: it must hold one in PEM, unencrypted, RSA or ECDSA on P-256 or P-384",
        ],
    ),
    (
        "{ listen: 127.0.0.1:18000 }",
        "{ listen: 0.0.0.0:1, tls: { certificate_chain: cert.pem, private_key: other-key.pem, client_ca: ca.pem } }",
        &[
            "1:76: xds.tls.private_key: /etc/berth/other-key.pem is not the key of the first certificate in /etc/berth/cert.pem: name the pair that was issued together, leaf certificate first",
        ],
    ),
    (
        "{ listen: 127.0.0.1:18000 }",
        "{ listen: 0.0.0.0:1, tls: { certificate_chain: cert.pem, private_key: key.pem, client_ca: jwks.json } }",
        &[
            "1:96: xds.tls.client_ca: /etc/berth/jwks.json has no certificate that can be read: it must hold those of the authorities to trust, in PEM",
        ],
    ),
    (
        "  second_device: allow\n",
        "  instance_tls: { server_name: x }\n",
        &["22:19: pools[0].instance_tls.ca: is missing: berth.example.yaml shows what to write"],
    ),
    (
        "  second_device: allow\n",
        "  instance_tls: { ca: jwks.json, server_name: a b }\n",
        &[
            "22:47: pools[0].instance_tls.server_name: `a b` cannot be a name here: only a-z, A-Z, 0-9, ., _ and - may be in it, not ` `",
        ],
    ),
    (
        "  second_device: allow\n",
        "  instance_tls: { ca: ca.pem, certificate_chain: cert.pem }\n",
        &[
            "22:17: pools[0].instance_tls.private_key: is missing: berth.example.yaml shows what to write",
        ],
    ),
    (
        "  second_device: allow\n",
        "  instance_tls: { ca: ca.pem, private_key: key.pem }\n",
        &[
            "22:17: pools[0].instance_tls.certificate_chain: is missing: berth.example.yaml shows what to write",
        ],
    ),
    (
        "  second_device: allow\n",
        "  instance_tls: { ca: gone.pem, certificate_chain: cert.pem, private_key: other-key.pem }\n",
        &[
            "22:23: pools[0].instance_tls.ca: cannot read /etc/berth/gone.pem: entity not found; a relative path starts at the folder of this file",
        ],
    ),
    (
        "  second_device: allow\n",
        "  instance_tls: { ca: ca.pem, certificate_chain: cert.pem, private_key: other-key.pem }\n",
        &[
            "22:73: pools[0].instance_tls.private_key: /etc/berth/other-key.pem is not the key of the first certificate in /etc/berth/cert.pem: name the pair that was issued together, leaf certificate first",
        ],
    ),
    (
        "  second_device: allow\n",
        "  instance_tls: { ca: ca.pem, certificate_chain: cert.pem, private_key: jwks.json }\n",
        &[
            "22:73: pools[0].instance_tls.private_key: /etc/berth/jwks.json has no private key that can be used: it must hold one in PEM, unencrypted, RSA or ECDSA on P-256 or P-384",
        ],
    ),
    (
        "  second_device: allow\n",
        "  instance_tls: { ca: ca.pem, certificate_chain: jwks.json, private_key: key.pem }\n",
        &[
            "22:50: pools[0].instance_tls.certificate_chain: /etc/berth/jwks.json has no certificate that can be read: it must hold the chain in PEM, leaf first, in `-----BEGIN CERTIFICATE-----` blocks",
        ],
    ),
    (
        "  second_device: allow\n",
        "  instance_tls: { ca: jwks.json }\n",
        &[
            "22:23: pools[0].instance_tls.ca: /etc/berth/jwks.json has no certificate that can be read: it must hold those of the authorities to trust, in PEM",
        ],
    ),
    (
        "{ listen: '[::1]:18001' }",
        "{ tls: {} }",
        &["2:10: admin.tls: is not a field of the configuration: here go listen, allow_plaintext"],
    ),
    (
        "{ listen: 127.0.0.1:18000 }",
        "{ listen: localhost:18000 }",
        &[
            "1:16: xds.listen: `localhost:18000` is not ip:port: write an IP address and a port from 1 to 65535, such as 10.0.0.1:49100 or [fd00::1]:49100 (names are not looked up)",
        ],
    ),
    (
        "{ listen: 127.0.0.1:18000 }",
        "{ listen: '[::1]:18001' }",
        &[
            "2:18: admin.listen: `[::1]:18001` is used by xds.listen already: listen on another port",
        ],
    ),
    (
        "name: native, address",
        "name: https, address",
        &[
            "5:11: listeners[1].name: `https` is used by listeners[0].name already: give every listener a name of its own",
        ],
    ),
    (
        "address: 0.0.0.0, port: 443",
        "address: 0.0.0.0:443, port: 443",
        &[
            "4:27: listeners[0].address: `0.0.0.0:443` is not an IP address: write one, such as 0.0.0.0 or ::",
        ],
    ),
    (
        "address: 0.0.0.0, port: 443",
        "address: '::', port: 48322",
        &[
            "5:40: listeners[1].port: `[::]:48322` is used by listeners[0].port already: give every listener a port of its own",
        ],
    ),
    (
        "name: native, address",
        "name: '', address",
        &["5:11: listeners[1].name: is empty: name the listener, `https` for example"],
    ),
    (
        "port: 443",
        "port: 70000",
        &["4:42: listeners[0].port: 70000 is not a port: write a number from 1 to 65535"],
    ),
    (
        "listeners:\n- { name: https, address: 0.0.0.0, port: 443 }\n- { name: native, address: '::', port: 48322 }",
        "listeners: []",
        &["3:12: listeners: is empty: give Envoy a port to listen on, 443 as a rule"],
    ),
    (
        "cert.pem",
        "missing.pem",
        &[
            "6:27: tls.certificate_chain: cannot read /etc/berth/missing.pem: entity not found; a relative path starts at the folder of this file",
        ],
    ),
    (
        "cert.pem",
        "jwks.json",
        &[
            "6:27: tls.certificate_chain: /etc/berth/jwks.json has no certificate that can be read: it must hold the chain in PEM, leaf first, in `-----BEGIN CERTIFICATE-----` blocks",
        ],
    ),
    (
        "private_key: key.pem",
        "private_key: cert.pem",
        &[
            "6:50: tls.private_key: /etc/berth/cert.pem has no private key that can be used: it must hold one in PEM, unencrypted, RSA or ECDSA on P-256 or P-384",
        ],
    ),
    (
        "private_key: key.pem",
        "private_key: other-key.pem",
        &[
            "6:50: tls.private_key: /etc/berth/other-key.pem is not the key of the first certificate in /etc/berth/cert.pem: name the pair that was issued together, leaf certificate first",
        ],
    ),
    (
        "module: berth_filter.wasm",
        "module: ''",
        &["8:11: filter.module: is empty: write the path of berth_filter.wasm as Envoy sees it"],
    ),
    (
        "when_control_plane_away: refuse",
        "when_control_plane_away: panic",
        &["9:28: filter.when_control_plane_away: `panic` is not known here: write wait or refuse"],
    ),
    (
        "  issuers:\n  - { issuer: https://login.example.com, audiences: [berth], jwks_file: jwks.json, clock_skew: 30s }",
        "  issuers: []",
        &[
            "11:12: admission.issuers: is empty: without an issuer nobody can be admitted; `berth token --new-key ES256` makes a key set for trials",
        ],
    ),
    (
        "issuer: https://login.example.com",
        "issuer: ''",
        &["12:15: admission.issuers[0].issuer: must not be empty"],
    ),
    (
        "audiences: [berth]",
        "audiences: [berth, '']",
        &["12:61: admission.issuers[0].audiences[1]: must not be empty"],
    ),
    (
        "jwks_file: jwks.json, ",
        "",
        &[
            "12:5: admission.issuers[0]: nothing says where its keys are: write `jwks_file`, `jwks_url` or, if it is an OpenID Provider, `discovery: true`",
        ],
    ),
    (
        "jwks_file: jwks.json",
        "jwks_file: jwks.json, discovery: true",
        &[
            "12:95: admission.issuers[0].discovery: its keys come from `jwks_file` already: keep one of the two",
        ],
    ),
    (
        "jwks_file: jwks.json",
        "jwks_file: jwks.json, refresh: 5m, min_refetch: 1m, ca_file: ca.pem, allow_plaintext: true",
        &[
            "12:93: admission.issuers[0].refresh: is for keys that are fetched, and these are in a file: leave it out",
            "12:110: admission.issuers[0].min_refetch: is for keys that are fetched, and these are in a file: leave it out",
            "12:123: admission.issuers[0].ca_file: is for keys that are fetched, and these are in a file: leave it out",
            "12:148: admission.issuers[0].allow_plaintext: is for keys that are fetched, and these are in a file: leave it out",
        ],
    ),
    (
        "jwks_file: jwks.json",
        "jwks_url: http://login.example.com/keys, refresh: 9s, min_refetch: 0s, ca_file: jwks.json",
        &[
            "12:72: admission.issuers[0].jwks_url: `http://login.example.com/keys` is not encrypted, and whoever is in between could give us keys of their own: use https, or set `allow_plaintext: true` beside it if every host on the way is trusted",
            "12:112: admission.issuers[0].refresh: 9s is out of range: choose from 10s to 1day",
            "12:129: admission.issuers[0].min_refetch: 0s is out of range: choose from 1s to 1day",
            "12:142: admission.issuers[0].ca_file: /etc/berth/jwks.json has no certificate that can be read: it must hold those of the authorities to trust, in PEM",
        ],
    ),
    (
        "issuer: https://login.example.com, audiences: [berth], jwks_file: jwks.json",
        "issuer: login.example.com, audiences: [berth], discovery: true",
        &[
            "12:15: admission.issuers[0].issuer: `login.example.com` is not a URL: write one as https://login.example.com/keys",
        ],
    ),
    (
        "jwks_file: jwks.json",
        "discovery: true, refresh: 10s, ca_file: ca.pem",
        &[],
    ),
    (
        "jwks_file: jwks.json",
        "jwks_url: http://login.example.com/keys, allow_plaintext: true",
        &[],
    ),
    ("jwks_file: jwks.json", "jwks_url: 'http://[::1]/keys'", &[]),
    (
        "jwks_file: jwks.json",
        "jwks_file: /nowhere",
        &[
            "12:73: admission.issuers[0].jwks_file: cannot read /nowhere: entity not found; a relative path starts at the folder of this file",
        ],
    ),
    (
        "jwks_file: jwks.json",
        "jwks_file: not-json",
        &[
            "12:73: admission.issuers[0].jwks_file: /etc/berth/not-json is not JSON: expected value at line 1 column 1; it must hold a JWK Set, `{\"keys\": [...]}` (RFC 7517)",
        ],
    ),
    (
        "jwks_file: jwks.json",
        "jwks_file: empty-jwks.json",
        &[
            "12:73: admission.issuers[0].jwks_file: /etc/berth/empty-jwks.json has no key that can be used",
        ],
    ),
    (
        "jwks_file: jwks.json",
        "jwks_file: weak-jwks.json",
        &[
            "12:73: admission.issuers[0].jwks_file: /etc/berth/weak-jwks.json has no key that can be used: `keys[0]`: `n` must be an odd number of 2048 to 8192 bits, and has 17 bits",
        ],
    ),
    (
        "clock_skew: 30s }",
        "clock_skew: 30s }\n  - { issuer: https://login.example.com, jwks_file: empty-jwks.json }",
        &[
            "13:15: admission.issuers[1].issuer: `https://login.example.com` is used by admission.issuers[0].issuer already: give an issuer one entry, with all its keys in one set",
            "13:53: admission.issuers[1].jwks_file: /etc/berth/empty-jwks.json has no key that can be used",
        ],
    ),
    (
        "clock_skew: 30s",
        "clock_skew: 1500ms",
        &["12:96: admission.issuers[0].clock_skew: 1s 500ms is not whole seconds: round it"],
    ),
    (
        "clock_skew: 30s",
        "clock_skew: 2h",
        &["12:96: admission.issuers[0].clock_skew: 2h is out of range: choose from 0s to 1h"],
    ),
    (
        "pools_claim: pools",
        "pools_claim: ''",
        &["13:16: admission.pools_claim: must not be empty"],
    ),
    (
        "{ web: web, native: native }",
        "{ web: native, native: gone }",
        &[
            "14:25: admission.default_pools.web: pool `native` is for native clients: name a pool of the family",
            "14:41: admission.default_pools.native: there is no pool `gone`: name one of `pools`",
        ],
    ),
    (
        "pools:\n- name: web",
        "pools:\n- name: Web",
        &[
            "14:25: admission.default_pools.web: there is no pool `web`: name one of `pools`",
            "16:9: pools[0].name: `Web` cannot be a name here: only a-z, 0-9 and - may be in it, not `W`",
        ],
    ),
    (
        "pools:\n- name: web",
        "pools:\n- name: native",
        &[
            "14:25: admission.default_pools.web: there is no pool `web`: name one of `pools`",
            "14:38: admission.default_pools.native: pool `native` is for web clients: name a pool of the family",
            "27:9: pools[1].name: `native` is used by pools[0].name already: give every pool a name of its own",
        ],
    ),
    (
        "- name: native\n",
        "- name: rtsp\n",
        &[
            "14:38: admission.default_pools.native: there is no pool `native`: name one of `pools`",
            "27:9: pools[1].name: `rtsp` cannot be a name here: in a path this means something else",
        ],
    ),
    (
        "family: web",
        "family: quest",
        &[
            "17:11: pools[0].family: `quest` is not known here: write web (CloudXR.js) or native (CloudXR Framework, Foveated Streaming)",
        ],
    ),
    (
        "name: gpu-1",
        "name: ''",
        &["19:13: pools[0].instances[0].name: `` cannot be a name here: it is empty"],
    ),
    (
        "name: gpu-1",
        "name: gpu/1",
        &[
            "19:13: pools[0].instances[0].name: `gpu/1` cannot be a name here: only a-z, A-Z, 0-9, ., _ and - may be in it, not `/`",
        ],
    ),
    (
        "name: gpu-1",
        "name: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        &[
            "19:13: pools[0].instances[0].name: `aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa` cannot be a name here: it has more than 63 characters",
        ],
    ),
    (
        "name: gpu-3",
        "name: gpu-1",
        &[
            "30:13: pools[1].instances[0].name: `gpu-1` is used by pools[0].instances[0].name already: give every instance a name of its own, across all pools",
        ],
    ),
    (
        "10.0.0.3:48010",
        "10.0.0.1:49100",
        &[
            "30:29: pools[1].instances[0].address: `10.0.0.1:49100` is used by pools[0].instances[0].address already: a runtime serves one session at a time, so it can be only one instance, in one pool",
        ],
    ),
    (
        "10.0.0.1:49100",
        "gpu-1:49100",
        &[
            "19:29: pools[0].instances[0].address: `gpu-1:49100` is not ip:port: write an IP address and a port from 1 to 65535, such as 10.0.0.1:49100 or [fd00::1]:49100 (names are not looked up)",
        ],
    ),
    (
        "10.0.0.1:49100",
        "10.0.0.1:0",
        &[
            "19:29: pools[0].instances[0].address: `10.0.0.1:0` is not ip:port: write an IP address and a port from 1 to 65535, such as 10.0.0.1:49100 or [fd00::1]:49100 (names are not looked up)",
        ],
    ),
    (
        "10.0.0.1:49100",
        "0.0.0.0:49100",
        &[
            "19:29: pools[0].instances[0].address: 0.0.0.0 is not the address of one host: write the instance's own",
        ],
    ),
    (
        "{ port: 8080, path: /ready }",
        "{ port: 0, path: ready }",
        &[
            "21:26: pools[0].probe.http.port: 0 is not a port: write a number from 1 to 65535",
            "21:35: pools[0].probe.http.path: `ready` is not a path: begin it with `/` and leave out spaces and `#`",
        ],
    ),
    (
        "probe: { http",
        "probe: { tcp: {}, http",
        &["21:10: pools[0].probe: a probe is either `tcp` or `http`: remove one"],
    ),
    (
        "interval: 5s, timeout: 500ms",
        "interval: 5s, timeout: 6s",
        &["21:71: pools[0].probe.timeout: 6s is out of range: choose from 10ms to 5s"],
    ),
    (
        "interval: 5s",
        "interval: 5ms",
        &["21:58: pools[0].probe.interval: 5ms is out of range: choose from 100ms to 1h"],
    ),
    (
        "rise: 2, fall: 4",
        "rise: 0, fall: -1",
        &[
            "21:84: pools[0].probe.rise: 0 is not a number of probes: write 1 or more",
            "21:93: pools[0].probe.fall: -1 is not a number of probes: write 1 or more",
        ],
    ),
    (
        "second_device: allow",
        "second_device: takeover",
        &[
            "22:18: pools[0].second_device: `takeover` is not known here: write take_over, refuse or allow",
        ],
    ),
    (
        "resume_window: 1m",
        "resume_window: 60",
        &[
            "23:18: pools[0].resume_window: `60` is not a duration: write a number and its unit, such as 250ms, 8s or 5m",
        ],
    ),
    (
        "resume_window: 1m",
        "resume_window: 2days",
        &["23:18: pools[0].resume_window: 2days is out of range: choose from 0s to 1day"],
    ),
    (
        "settle: 0s",
        "settle: -1s",
        &[
            "24:11: pools[0].settle: `-1s` is not a duration: write a number and its unit, such as 250ms, 8s or 5m",
        ],
    ),
    (
        "hold: 8s",
        "hold: 16500ms",
        &[
            "25:9: pools[0].hold: hold, timing.handshake_timeout and timing.tick are 20s together, and native clients give up near 20s: shorten the hold",
        ],
    ),
    (
        "hold: 8s",
        "hold: 1m",
        &["25:9: pools[0].hold: 1m is out of range: choose from 0s to 20s"],
    ),
    (
        "hold: 8s",
        "hold: 9999h",
        &[
            "25:9: pools[0].hold: 1year 1month 20days 22h 26m 24s is out of range: choose from 0s to 20s",
        ],
    ),
    (
        "hold: 8s",
        "hold: 1e30s",
        &[
            "25:9: pools[0].hold: `1e30s` is not a duration: write a number and its unit, such as 250ms, 8s or 5m",
        ],
    ),
    (
        "hold: 8s",
        "hold: 99999999999999999999999999999s",
        &[
            "25:9: pools[0].hold: `99999999999999999999999999999s` is not a duration: write a number and its unit, such as 250ms, 8s or 5m",
        ],
    ),
    (
        "hold: 8s",
        "hold: -1s",
        &[
            "25:9: pools[0].hold: `-1s` is not a duration: write a number and its unit, such as 250ms, 8s or 5m",
        ],
    ),
    (
        "hold: 8s",
        "queue: -1\n  max_session_age: 0s",
        &[
            "25:10: pools[0].queue: -1 is out of range: choose from 0 to 10000",
            "26:20: pools[0].max_session_age: 0s is out of range: choose from 1s to 30days",
        ],
    ),
    (
        "hold: 8s",
        "queue: 1000000000",
        &["25:10: pools[0].queue: 1000000000 is out of range: choose from 0 to 10000"],
    ),
    (
        "hold: 8s",
        "queue: 1000000000000000000000000000000",
        &["25:10: pools[0].queue: is of the wrong kind: write a whole number"],
    ),
    (
        "handshake_timeout: 3s",
        "handshake_timeout: 12s",
        &[
            "25:9: pools[0].hold: hold, timing.handshake_timeout and timing.tick are 20s 500ms together, and native clients give up near 20s: shorten the hold",
            "27:3: pools[1].hold: hold, timing.handshake_timeout and timing.tick are 20s 500ms together, and native clients give up near 20s: shorten the hold",
        ],
    ),
    (
        "orphan_after: 10m",
        "orphan_after: 1s",
        &["26:17: pools[0].orphan_after: 1s is out of range: choose from 1s 500ms to 1day"],
    ),
    (
        "tick: 500ms",
        "tick: 0s",
        &["31:17: timing.tick: 0s is out of range: choose from 100ms to 10s"],
    ),
    (
        "10.0.0.3:48010",
        "'[::ffff:10.0.0.1]:49100'",
        &[
            "30:29: pools[1].instances[0].address: `10.0.0.1:49100` is used by pools[0].instances[0].address already: a runtime serves one session at a time, so it can be only one instance, in one pool",
        ],
    ),
    (
        "jwks_file: jwks.json",
        "jwks_file: berth.redb.keys.json",
        &[
            "1:1: store.path: `/etc/berth/berth.redb.keys.json` is used by admission.issuers[0].jwks_file already: give the store a file of its own",
        ],
    ),
    (
        "jwks_file: jwks.json",
        "jwks_file: secret-jwks.json",
        &[
            "12:73: admission.issuers[0].jwks_file: /etc/berth/secret-jwks.json `keys[1]` is a private key: replace it, and give only the public half of the new one",
        ],
    ),
    (
        "second_device: allow",
        "choice: random",
        &[
            "22:11: pools[0].choice: `random` is not known here: write least_recently_used, pack or spread",
        ],
    ),
    (
        "hold: 8s",
        "queue: 10001",
        &["25:10: pools[0].queue: 10001 is out of range: choose from 0 to 10000"],
    ),
    (
        "hold: 8s",
        "queue: many",
        &["25:10: pools[0].queue: is of the wrong kind: write a whole number"],
    ),
    (
        "hold: 8s",
        "max_sessions: 0\n  max_sessions_per_user: -1\n  max_session_age: 10ms\n  warm_up: 2h",
        &[
            "25:17: pools[0].max_sessions: 0 is out of range: choose from 1 to 1000000",
            "26:26: pools[0].max_sessions_per_user: -1 is out of range: choose from 1 to 1000000",
            "27:20: pools[0].max_session_age: 10ms is out of range: choose from 1s to 30days",
            "28:12: pools[0].warm_up: 2h is out of range: choose from 0s to 1h",
        ],
    ),
    (
        "hold: 8s",
        "max_sessions_per_tenant: 1\n  tenants: [{ name: acme }]",
        &[
            "25:28: pools[0].max_sessions_per_tenant: nothing says who is of which tenant: name the claim that does as `admission.tenant_claim`, or give API keys or client certificates a `tenant`",
            "26:12: pools[0].tenants: nothing says who is of which tenant: name the claim that does as `admission.tenant_claim`, or give API keys or client certificates a `tenant`",
        ],
    ),
    (
        "- { name: gpu-3, address: 10.0.0.3:48010 }",
        "- { name: gpu-3, address: 10.0.0.3:48010, zone: 'eu/1', labels: { Region: eu, gpu: '' } }",
        &[
            "30:51: pools[1].instances[0].zone: `eu/1` cannot be a name here: only a-z, A-Z, 0-9, ., _ and - may be in it, not `/`",
            "30:77: pools[1].instances[0].labels.Region: `Region` cannot be a name here: only a-z, 0-9, ., _ and - may be in it, not `R`",
            "30:86: pools[1].instances[0].labels.gpu: `` cannot be a name here: it is empty",
        ],
    ),
    (
        "  pools_claim: pools\n",
        "  labels: [{ label: region, header: host }]\n",
        &[
            "13:37: admission.labels[0].header: must be 1 to 63 of a-z, 0-9 and `-`, not `x-berth-…`, and not a header that the handshake or Berth reads",
        ],
    ),
    (
        "  pools_claim: pools\n",
        "  priority_claim: ''\n",
        &["13:19: admission.priority_claim: must not be empty"],
    ),
    (
        "pools:\n",
        "store: { path: ./key.pem }\npools:\n",
        &[
            "15:16: store.path: `./key.pem` is used by tls.private_key already: give the store a file of its own",
        ],
    ),
];
