//! What the tables are written with: one policy, a request that it admits, tokens for it.

use std::cell::Cell;
use std::net::IpAddr;
use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use der::Encode;
use der::asn1::UintRef;
use jsonwebtoken::{EncodingKey, crypto};
use serde_json::{Value, json};

use crate::jwk::{Key, RefusedKey};
use crate::{
    Admission, Algorithm, Certificate, Decision, KeyMaterial, Memory, NativeVerifier, Policy,
    PolicyConfig, Reason, Request, Trace, UnixSeconds, Verdict, VerifyError, VerifySignature, Wish,
    admit, explain,
};

/// The time of every test that does not say another.
pub(super) const NOW: u64 = 1_800_000_000;

/// One issuer with an EC and an RSA key, two web pools and a native one.
pub(crate) fn policy_config() -> Value {
    json!({
        "issuers": [{
            "issuer": "https://issuer.example",
            "audiences": ["berth", "berth-staging"],
            "jwks": {"keys": [ec_jwk("ec"), rsa_jwk("rsa")]},
        }],
        "pools": [
            {"name": "web-a", "family": "web"},
            {"name": "web-b", "family": "web"},
            {"name": "native", "family": "native"},
        ],
        "default_pools": {"web": "web-a"},
        "tenant_claim": "tenant",
    })
}

/// That policy with some members replaced.
pub(super) fn policy_with(changes: Value) -> Policy {
    let config: PolicyConfig = serde_json::from_value(merge(policy_config(), changes)).unwrap();
    Policy::compile(config).unwrap()
}

/// Claims that the policy admits, with some replaced; `null` removes one.
pub(super) fn claims(changes: Value) -> String {
    let claims = json!({
        "iss": "https://issuer.example",
        "aud": "berth",
        "sub": "alice",
        "exp": NOW + 600,
    });
    merge(claims, changes).to_string()
}

/// What a JWK becomes.
pub(super) fn from_jwk(jwk: &Value) -> Result<Key, RefusedKey> {
    Key::from_jwk(&jwk.clone().into())
}

pub(crate) fn merge(mut base: Value, changes: Value) -> Value {
    let (Value::Object(members), Value::Object(changes)) = (&mut base, changes) else {
        panic!("only objects can be merged");
    };
    for (name, value) in changes {
        match value {
            Value::Null => drop(members.remove(&name)),
            value => drop(members.insert(name, value)),
        }
    }
    base
}

/// A token of these texts with a signature of no worth, for verifiers that do not look at it.
pub(super) fn unsigned(header: &str, claims: &str) -> String {
    format!("{}.{}.AAAA", encode(header), encode(claims))
}

/// A token that [`Always`] admits.
pub(super) fn token() -> String {
    unsigned(HEADER, &claims(json!({})))
}

/// A token of these texts, signed.
pub(super) fn signed(header: &str, claims: &str, signer: &Signer) -> String {
    let message = format!("{}.{}", encode(header), encode(claims));
    let signature = crypto::sign(message.as_bytes(), &signer.key, signer.algorithm).unwrap();
    format!("{message}.{signature}")
}

pub(super) fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A private key, in the hands of the issuer or of somebody else.
pub(super) struct Signer {
    pub(super) key: EncodingKey,
    algorithm: jsonwebtoken::Algorithm,
}

/// The key of RFC 7515 §A.2, which the policy knows as `rsa`.
pub(super) static RSA: LazyLock<Signer> = LazyLock::new(|| {
    let jwk = &example("A.2")["key"];
    let members = ["n", "e", "d", "p", "q", "dp", "dq", "qi"].map(|name| decode(&jwk[name]));
    // RSAPrivateKey (RFC 8017 §A.1.2): the version, 0, and these.
    let mut integers = vec![UintRef::new(&[0]).unwrap()];
    integers.extend(members.iter().map(|bytes| UintRef::new(bytes).unwrap()));
    Signer {
        key: EncodingKey::from_rsa_der(&integers.to_der().unwrap()),
        algorithm: jsonwebtoken::Algorithm::RS256,
    }
});

/// The key of RFC 7515 §A.3, which the policy knows as `ec`.
pub(super) static EC: LazyLock<Signer> =
    LazyLock::new(|| ec_signer(&decode(&example("A.3")["key"]["d"])));

/// A key that the policy does not know.
pub(super) static STRANGER: LazyLock<Signer> = LazyLock::new(|| ec_signer(&[7; 32]));

fn ec_signer(scalar: &[u8]) -> Signer {
    // PrivateKeyInfo (RFC 5208) of a P-256 key (RFC 5915) that ends with the scalar.
    const PREFIX: &str = "304102010030\
        1306072a8648ce3d020106082a8648ce3d030107\
        0427302502010104\
        20";
    let mut der = from_hex(PREFIX);
    der.extend_from_slice(scalar);
    Signer {
        key: EncodingKey::from_ec_der(&der),
        algorithm: jsonwebtoken::Algorithm::ES256,
    }
}

pub(super) fn from_hex(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex
        .chars()
        .map(|digit| digit.to_digit(16).unwrap() as u8)
        .collect();
    digits
        .chunks(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect()
}

fn decode(text: &Value) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text.as_str().unwrap()).unwrap()
}

/// An example of RFC 7515 by its appendix.
pub(super) fn example(appendix: &str) -> &'static Value {
    static DATA: LazyLock<Value> =
        LazyLock::new(|| serde_json::from_str(include_str!("data/rfc7515.json")).unwrap());
    let mut examples = DATA["examples"].as_array().unwrap().iter();
    examples
        .find(|example| example["appendix"] == appendix)
        .unwrap()
}

/// The public half of the RFC's EC key.
pub(super) fn ec_jwk(kid: &str) -> Value {
    public_jwk("A.3", &["kty", "crv", "x", "y"], kid)
}

/// The public half of the RFC's RSA key.
pub(super) fn rsa_jwk(kid: &str) -> Value {
    public_jwk("A.2", &["kty", "n", "e"], kid)
}

fn public_jwk(appendix: &str, members: &[&str], kid: &str) -> Value {
    let key = &example(appendix)["key"];
    let mut jwk = json!({"kid": kid});
    for member in members {
        jwk[*member] = key[*member].clone();
    }
    jwk
}

/// A request as a test sends it; the default is a web client's upgrade without a token.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) method: Vec<u8>,
    pub(super) path: Vec<u8>,
    pub(super) headers: Vec<(String, Vec<u8>)>,
    pub(super) client: Option<IpAddr>,
    pub(super) certificate: Certificate<'static>,
}

impl Sent {
    pub(super) fn to(path: impl AsRef<[u8]>) -> Self {
        Self {
            method: b"GET".to_vec(),
            path: path.as_ref().to_vec(),
            headers: Vec::new(),
            client: None,
            certificate: Certificate::default(),
        }
        .header("upgrade", "websocket")
    }

    pub(super) fn method(self, method: impl AsRef<[u8]>) -> Self {
        Self {
            method: method.as_ref().to_vec(),
            ..self
        }
    }

    pub(super) fn upgrade(self, upgrade: impl AsRef<[u8]>) -> Self {
        self.without("upgrade").header("upgrade", upgrade)
    }

    pub(super) fn authorization(self, value: impl AsRef<[u8]>) -> Self {
        self.header("authorization", value)
    }

    pub(super) fn bearer(self, token: impl AsRef<[u8]>) -> Self {
        self.authorization([b"Bearer ", token.as_ref()].concat())
    }

    pub(super) fn protocols(self, value: impl AsRef<[u8]>) -> Self {
        self.header("sec-websocket-protocol", value)
    }

    pub(super) fn resume_key(self, value: impl AsRef<[u8]>) -> Self {
        self.header("berth-resume-key", value)
    }

    pub(super) fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.into(), value.as_ref().to_vec()));
        self
    }

    pub(super) fn without(mut self, header: &str) -> Self {
        self.headers.retain(|(name, _)| name != header);
        self
    }

    pub(super) fn from(self, client: &str) -> Self {
        Self {
            client: Some(client.parse().unwrap()),
            ..self
        }
    }

    pub(super) fn certificate(self, certificate: Certificate<'static>) -> Self {
        Self {
            certificate,
            ..self
        }
    }

    /// Hands the request as the proxy reads it to `f`.
    pub(super) fn read<R>(&self, f: impl FnOnce(&Request<'_>) -> R) -> R {
        f(&Request {
            method: &self.method,
            path: &self.path,
            headers: &self.headers,
            client: self.client,
            certificate: self.certificate,
        })
    }

    /// What is answered to it, by who has seen nothing before.
    pub(super) fn verdict(&self, policy: &Policy, verifier: &impl VerifySignature) -> Verdict {
        self.verdict_at(NOW, policy, &mut Memory::new(policy, 0), verifier)
    }

    pub(super) fn verdict_at(
        &self,
        now: u64,
        policy: &Policy,
        memory: &mut Memory,
        verifier: &impl VerifySignature,
    ) -> Verdict {
        self.read(|request| admit(policy, memory, request, UnixSeconds(now), verifier))
    }

    /// What is left of it once it has been edited as the verdict says.
    pub(super) fn edited(&self, verdict: &Verdict) -> Self {
        let mut left = self.clone();
        for (name, value) in verdict.edits.iter() {
            match (name, value) {
                (":path", value) => left.path = value.unwrap().to_vec(),
                (name, None) => left = left.without(name),
                (name, Some(value)) => left = left.without(name).header(name, value),
            }
        }
        left
    }

    /// The value of its header of this name, of which there is one at most.
    pub(super) fn value(&self, header: &str) -> Option<&[u8]> {
        let mut values = self.headers.iter().filter(|(name, _)| name == header);
        let value = values.next().map(|(_, value)| value.as_slice());
        assert!(values.next().is_none(), "{header} comes twice");
        value
    }

    /// What comes of it if its token is good.
    pub(super) fn admitted(&self, policy: &Policy) -> Admission {
        let answer = self.meets(policy, &Always::yes());
        answer.unwrap_or_else(|reason| panic!("{self:?}: {reason}"))
    }

    /// What it asks for, of who lets it in.
    pub(super) fn wish(&self, policy: &Policy) -> Wish {
        match self.verdict(policy, &Always::yes()).decision {
            Decision::Admit(wish, _) => wish,
            other => panic!("{self:?}: {other:?}"),
        }
    }

    /// What comes of it if nobody knows more than we do.
    pub(super) fn meets(
        &self,
        policy: &Policy,
        verifier: &impl VerifySignature,
    ) -> Result<Admission, Reason> {
        match self.verdict(policy, verifier).decision {
            Decision::Admit(_, admission) => Ok(*admission),
            Decision::Refuse(reason) => Err(reason),
            Decision::Undecided(_, undecided) => Err(undecided.reason),
            Decision::Preflight => panic!("{self:?} is a preflight"),
        }
    }
}

/// `admitted`, or the reason.
pub(super) fn outcome<T>(answer: &Result<T, Reason>) -> &'static str {
    match answer {
        Ok(_) => "admitted",
        Err(reason) => reason.label(),
    }
}

/// `admitted`, `preflight` or the reason; where somebody else is to be asked, `reason?`.
pub(super) fn label(verdict: &Verdict) -> String {
    match &verdict.decision {
        Decision::Admit(..) => "admitted".to_owned(),
        Decision::Refuse(reason) => reason.label().to_owned(),
        Decision::Undecided(_, undecided) => format!("{}?", undecided.reason),
        Decision::Preflight => "preflight".to_owned(),
    }
}

/// The steps of a decision, by name, with their facts.
#[derive(Debug, Default)]
pub(super) struct Steps(pub(super) Vec<(&'static str, String)>);

impl Trace for Steps {
    fn step(&mut self, name: &'static str, facts: impl FnOnce() -> String) {
        self.0.push((name, facts()));
    }
}

impl Steps {
    /// Those of a decision that is taken anew.
    pub(super) fn of(sent: &Sent, policy: &Policy, verifier: &impl VerifySignature) -> Self {
        Self::with(&mut Memory::new(policy, 0), sent, policy, verifier)
    }

    pub(super) fn with(
        memory: &mut Memory,
        sent: &Sent,
        policy: &Policy,
        verifier: &impl VerifySignature,
    ) -> Self {
        let mut steps = Self::default();
        sent.read(|request| {
            explain(
                policy,
                memory,
                request,
                UnixSeconds(NOW),
                verifier,
                &mut steps,
            )
        });
        steps
    }

    /// The facts of a step.
    pub(super) fn facts(&self, name: &str) -> Option<&str> {
        let mut steps = self.0.iter();
        let step = steps.find(|(step, _)| *step == name);
        step.map(|(_, facts)| facts.as_str())
    }
}

/// Answers the same whatever it is asked, and counts how often that is.
pub(super) struct Always {
    answer: Result<bool, VerifyError>,
    pub(super) asked: Cell<usize>,
}

impl Always {
    pub(super) const fn new(answer: Result<bool, VerifyError>) -> Self {
        Self {
            answer,
            asked: Cell::new(0),
        }
    }

    pub(super) const fn yes() -> Self {
        Self::new(Ok(true))
    }
}

impl VerifySignature for Always {
    fn verify(
        &self,
        _: Algorithm,
        _: &KeyMaterial,
        _: &[u8],
        _: &[u8],
    ) -> Result<bool, VerifyError> {
        self.asked.set(self.asked.get() + 1);
        self.answer
    }
}

/// The header of a token signed with the policy's EC key.
pub(super) const HEADER: &str = r#"{"alg":"ES256","kid":"ec"}"#;

/// A token that the policy admits.
pub(super) fn good() -> String {
    signed(HEADER, &claims(json!({})), &EC)
}

/// What is answered when signatures are computed.
pub(super) fn answer(sent: &Sent) -> String {
    label(&sent.verdict(&policy_with(json!({})), &NativeVerifier))
}

/// Compares the answers to tokens in the authorization header: name, token, answer.
pub(super) fn check<T: AsRef<[u8]>>(
    table: impl IntoIterator<Item = (impl AsRef<str>, T, &'static str)>,
) {
    for (name, token, expected) in table {
        let sent = Sent::to("/rtsp").bearer(token);
        assert_eq!(answer(&sent), expected, "{}", name.as_ref());
    }
}
