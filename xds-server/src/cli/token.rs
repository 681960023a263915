//! Tokens and keys for development. In production an identity provider issues both.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use berth_admission::Algorithm;
use clap::{
    Args,
    builder::{PossibleValuesParser, TypedValueParser},
};
use p256::ecdsa::signature;
use serde_json::{Map, Value, json};

use super::files::{private_file, public_file};
use crate::clock::Clock;

use self::signing_key::{NewKeyError, SigningKey};

mod signing_key;

/// Why there is no token or no key.
#[derive(Debug, thiserror::Error)]
pub(super) enum TokenError {
    #[error("cannot read {}: {error}; `berth token --new-key ES256` makes a key", path.display())]
    Unreadable { path: PathBuf, error: io::Error },
    #[error(
        "{} has no private key: it must be PEM, PKCS#8 and unencrypted, or the JWK of a secret; `openssl pkcs8 -topk8 -nocrypt` converts others, `berth token --new-key ES256` makes one",
        path.display()
    )]
    NoKey { path: PathBuf },
    #[error(
        "the key in {} cannot sign with {algorithm}, only with {fitting}; `berth token --new-key {algorithm}` makes one that can",
        path.display()
    )]
    OtherKey {
        path: PathBuf,
        algorithm: Algorithm,
        fitting: String,
    },
    #[error("cannot write {}: {error}; what is there already is not replaced", path.display())]
    Unwritable { path: PathBuf, error: io::Error },
    #[error("cannot make a key: {0}")]
    Generate(#[from] NewKeyError),
    #[error("cannot sign: {0}")]
    Sign(#[from] signature::Error),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  berth token --new-key ES256 --key-out dev-key.pem --jwks-out jwks.json
      a key pair: keep dev-key.pem, name jwks.json in the configuration as `jwks_file`
  berth token --key dev-key.pem --issuer https://dev.example --audience berth --subject alice
      a token for alice, good for 10 minutes
  berth token --key dev-key.pem --issuer https://dev.example --subject bob --claim 'pools=[\"web\"]'
      with one more claim
  berth token --key dev-key.pem --issuer https://dev.example --subject carol --claim exp=1
      one that has expired
  berth token --new-key PS256 --key-out rsa.pem --jwks-out rsa.json --kid mine
  berth token --key rsa.pem --algorithm PS256 --kid mine --issuer https://dev.example --subject dave
      an RSA key of that name, and a token: an RSA key can do six algorithms, and does RS256 if not told
  berth token --new-key HS256 --key-out secret.json --jwks-out jwks.json
      a secret, which both files hold, as a JWK and as a set of one: nobody but Berth may read either

RS* and ES* are checked by Envoy itself, without asking Berth. PS*, HS* and EdDSA are checked by Berth, with the
request for an instance; so is every token that names a key that the filter does not have.")]
pub(super) struct TokenCommand {
    /// The private key to sign with, in PEM; a secret as a JWK
    #[arg(long, value_name = "FILE", required_unless_present = "new_key")]
    key: Option<PathBuf>,
    /// How to sign [default: as is usual with the key]
    #[arg(long, ignore_case = true, value_parser = algorithms())]
    algorithm: Option<Algorithm>,
    /// The token's `iss`
    #[arg(long, required_unless_present = "new_key")]
    issuer: Option<String>,
    /// The token's `aud`; may be given several times
    #[arg(long)]
    audience: Vec<String>,
    /// The token's `sub`
    #[arg(long, required_unless_present = "new_key")]
    subject: Option<String>,
    /// How long it is good for
    #[arg(long, default_value = "10m", value_parser = humantime::parse_duration)]
    lifetime: Duration,
    /// Which key of the issuer's set verifies it [default: not said, every one is tried]; or the new key's name
    /// [default: its thumbprint]
    // A thumbprint may begin with a dash.
    #[arg(long, allow_hyphen_values = true)]
    kid: Option<String>,
    /// What the token says it is: `at+jwt` for an access token (RFC 9068)
    #[arg(long, default_value = "JWT")]
    typ: String,
    /// One more claim, or another value for one of the above; may be given several times
    #[arg(long, value_name = "NAME=JSON", value_parser = claim)]
    claim: Vec<(String, Value)>,
    /// Make a key pair, or a secret, instead of a token
    #[arg(
        long,
        value_name = "ALGORITHM",
        ignore_case = true,
        value_parser = algorithms(),
        requires_all = ["key_out", "jwks_out"],
        conflicts_with_all = ["key", "algorithm", "issuer", "audience", "subject", "claim"]
    )]
    new_key: Option<Algorithm>,
    /// Where the new private key goes, or the secret
    #[arg(long, value_name = "FILE", requires = "new_key")]
    key_out: Option<PathBuf>,
    /// Where the new public key goes, or the secret, as a JWK Set (RFC 7517)
    #[arg(long, value_name = "FILE", requires = "new_key")]
    jwks_out: Option<PathBuf>,
}

impl TokenCommand {
    pub(super) fn execute(self) -> Result<String, TokenError> {
        match (self.new_key, &self.key_out, &self.jwks_out) {
            (Some(algorithm), Some(key), Some(jwks)) => new_key(algorithm, self.kid, key, jwks),
            _ => self.mint(Clock::start().now().0.as_secs()),
        }
    }

    fn mint(self, now: u64) -> Result<String, TokenError> {
        let (algorithm, key) = signing_key(&self.key.unwrap_or_default(), self.algorithm)?;
        let mut claims = Map::new();
        let mut claim = |name: &str, value: Value| claims.insert(name.to_owned(), value);
        claim("iss", self.issuer.into());
        claim("sub", self.subject.into());
        match self.audience.as_slice() {
            [] => None,
            [audience] => claim("aud", audience.as_str().into()),
            several => claim("aud", several.into()),
        };
        claim("iat", now.into());
        claim("exp", now.saturating_add(self.lifetime.as_secs()).into());
        claims.extend(self.claim);
        let mut header = json!({"alg": algorithm.name(), "typ": self.typ});
        if let (Some(kid), Some(members)) = (self.kid, header.as_object_mut()) {
            members.insert("kid".to_owned(), kid.into());
        }
        let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(header), part(Value::Object(claims)));
        let signature = key.sign(algorithm, message.as_bytes())?;
        Ok(format!("{message}.{}\n", URL_SAFE_NO_PAD.encode(signature)))
    }
}

/// Reads the key, and finds out from it how to sign where that was not said.
fn signing_key(
    path: &Path,
    algorithm: Option<Algorithm>,
) -> Result<(Algorithm, SigningKey), TokenError> {
    let path = || path.to_owned();
    let bytes = fs::read(path()).map_err(|error| TokenError::Unreadable {
        path: path(),
        error,
    })?;
    let text = str::from_utf8(&bytes).ok();
    let key = text.and_then(SigningKey::from_text);
    let key = key.ok_or_else(|| TokenError::NoKey { path: path() })?;
    let fitting = key.algorithms();
    let usual = fitting.first().copied();
    match algorithm.or(usual) {
        Some(algorithm) if fitting.contains(&algorithm) => Ok((algorithm, key)),
        Some(algorithm) => Err(TokenError::OtherKey {
            path: path(),
            algorithm,
            fitting: fitting
                .iter()
                .map(|one| one.name())
                .collect::<Vec<_>>()
                .join(", "),
        }),
        None => Err(TokenError::NoKey { path: path() }),
    }
}

fn new_key(
    algorithm: Algorithm,
    kid: Option<String>,
    key_path: &Path,
    jwks_path: &Path,
) -> Result<String, TokenError> {
    let key = SigningKey::new(algorithm).map_err(NewKeyError::from)?;
    let kid = kid.unwrap_or_else(|| key.default_kid());
    let text = key.to_text(&kid).map_err(NewKeyError::from)?;
    let jwks = format!("{:#}\n", json!({"keys": [key.to_jwk(algorithm, &kid)]}));
    let unwritable = |path: &Path| {
        let path = path.to_owned();
        move |error| TokenError::Unwritable { path, error }
    };
    let mut key_file = private_file(key_path).map_err(unwritable(key_path))?;
    let jwks_file = if key.is_secret() {
        private_file(jwks_path)
    } else {
        public_file(jwks_path)
    };
    if jwks_file.is_err() {
        // Half a pair is of no use, and would be in the way of the next try.
        let _ = fs::remove_file(key_path);
    }
    let mut jwks_file = jwks_file.map_err(unwritable(jwks_path))?;
    key_file
        .write_all(text.as_bytes())
        .map_err(unwritable(key_path))?;
    jwks_file
        .write_all(jwks.as_bytes())
        .map_err(unwritable(jwks_path))?;
    Ok(if key.is_secret() {
        format!(
            "kid {kid}\n{} is as secret as {}: whoever reads either can sign tokens\n",
            jwks_path.display(),
            key_path.display()
        )
    } else {
        format!("kid {kid}\n")
    })
}

/// By their names, in any case.
fn algorithms() -> impl TypedValueParser<Value = Algorithm> {
    let named = |name: String| {
        let mut all = Algorithm::ALL.into_iter();
        all.find(|algorithm| algorithm.name().eq_ignore_ascii_case(&name))
            .ok_or("it has no such name")
    };
    PossibleValuesParser::new(Algorithm::ALL.map(Algorithm::name)).try_map(named)
}

/// A value that is no JSON is a string: `--claim tenant=acme` needs no quotes.
fn claim(text: &str) -> Result<(String, Value), &'static str> {
    let (name, value) = text
        .split_once('=')
        .filter(|(name, _)| !name.is_empty())
        .ok_or("write it as NAME=JSON, such as pools=[\"web\"]")?;
    let value = serde_json::from_str(value).unwrap_or_else(|_| value.into());
    Ok((name.to_owned(), value))
}
