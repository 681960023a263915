//! Tokens and keys for development. In production an identity provider issues both.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::{Args, ValueEnum};
use jsonwebtoken::{
    EncodingKey, Header, encode, get_current_timestamp,
    jwk::{Jwk, JwkSet, PublicKeyUse, ThumbprintHash},
};
use p256::pkcs8::{EncodePrivateKey, LineEnding};
use rsa::rand_core::OsRng;
use serde_json::{Map, Value};

/// Why there is no token or no key.
#[derive(Debug, thiserror::Error)]
pub(super) enum TokenError {
    #[error("cannot read {}: {error}; `berth token --new-key ES256` makes a key", path.display())]
    Unreadable { path: PathBuf, error: io::Error },
    #[error(
        "{} has no private key for {algorithm}: it must be PEM, PKCS#8 and unencrypted; `openssl pkcs8 -topk8 -nocrypt` converts others, `berth token --new-key` makes one",
        path.display()
    )]
    Key { path: PathBuf, algorithm: String },
    #[error("cannot write {}: {error}; what is there already is not replaced", path.display())]
    Unwritable { path: PathBuf, error: io::Error },
    #[error("cannot make a key: {0}")]
    Generate(String),
    #[error("cannot sign: {0}")]
    Sign(#[from] jsonwebtoken::errors::Error),
    #[error("cannot write the key set: {0}")]
    Json(#[from] serde_json::Error),
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
      one that has expired")]
pub(super) struct TokenCommand {
    /// The private key to sign with, in PEM
    #[arg(long, value_name = "FILE", required_unless_present = "new_key")]
    key: Option<PathBuf>,
    /// How to sign [default: as the key allows]
    #[arg(long, ignore_case = true)]
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
    /// Which key of the issuer's set verifies it [default: not said, every one is tried]
    #[arg(long)]
    kid: Option<String>,
    /// One more claim, or another value for one of the above; may be given several times
    #[arg(long, value_name = "NAME=JSON", value_parser = claim)]
    claim: Vec<(String, Value)>,
    /// Make a key pair instead of a token
    #[arg(
        long,
        value_name = "ALGORITHM",
        ignore_case = true,
        requires_all = ["key_out", "jwks_out"],
        conflicts_with_all = ["key", "algorithm", "issuer", "audience", "subject", "kid", "claim"]
    )]
    new_key: Option<Algorithm>,
    /// Where the new private key goes
    #[arg(long, value_name = "FILE", requires = "new_key")]
    key_out: Option<PathBuf>,
    /// Where the new public key goes, as a JWK Set (RFC 7517)
    #[arg(long, value_name = "FILE", requires = "new_key")]
    jwks_out: Option<PathBuf>,
}

/// The signatures that admission checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Algorithm {
    /// ECDSA on P-256 with SHA-256
    #[value(name = "ES256")]
    Es256,
    /// RSA PKCS#1 v1.5 with SHA-256
    #[value(name = "RS256")]
    Rs256,
}

impl TokenCommand {
    pub(super) fn execute(self) -> Result<String, TokenError> {
        match (self.new_key, &self.key_out, &self.jwks_out) {
            (Some(algorithm), Some(key), Some(jwks)) => new_key(algorithm, key, jwks),
            _ => self.mint(get_current_timestamp()),
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
        let mut header = Header::new(algorithm.jose());
        header.kid = self.kid;
        let token = encode(&header, &claims, &key)?;
        Ok(format!("{token}\n"))
    }
}

impl Algorithm {
    fn jose(self) -> jsonwebtoken::Algorithm {
        match self {
            Self::Es256 => jsonwebtoken::Algorithm::ES256,
            Self::Rs256 => jsonwebtoken::Algorithm::RS256,
        }
    }

    fn read_key(self, pem: &[u8]) -> Option<EncodingKey> {
        match self {
            Self::Es256 => EncodingKey::from_ec_pem(pem).ok(),
            Self::Rs256 => EncodingKey::from_rsa_pem(pem).ok(),
        }
    }
}

/// Reads the key, and finds out from it how to sign where that was not said.
fn signing_key(
    path: &Path,
    algorithm: Option<Algorithm>,
) -> Result<(Algorithm, EncodingKey), TokenError> {
    let pem = fs::read(path).map_err(|error| TokenError::Unreadable {
        path: path.to_owned(),
        error,
    })?;
    let candidates =
        algorithm.map_or_else(|| Algorithm::value_variants().to_vec(), |one| vec![one]);
    candidates
        .iter()
        .find_map(|candidate| Some((*candidate, candidate.read_key(&pem)?)))
        .ok_or_else(|| TokenError::Key {
            path: path.to_owned(),
            algorithm: match algorithm {
                Some(one) => format!("{one:?}").to_uppercase(),
                None => "ES256 or RS256".to_owned(),
            },
        })
}

fn new_key(algorithm: Algorithm, key_path: &Path, jwks_path: &Path) -> Result<String, TokenError> {
    let generate = |error: &dyn std::error::Error| TokenError::Generate(error.to_string());
    let pem = match algorithm {
        Algorithm::Es256 => p256::SecretKey::random(&mut OsRng).to_pkcs8_pem(LineEnding::LF),
        Algorithm::Rs256 => rsa::RsaPrivateKey::new(&mut OsRng, RSA_BITS)
            .map_err(|error| generate(&error))?
            .to_pkcs8_pem(LineEnding::LF),
    };
    let pem = pem.map_err(|error| generate(&error))?;
    let key = algorithm
        .read_key(pem.as_bytes())
        .ok_or_else(|| TokenError::Generate("it cannot be read back".to_owned()))?;
    let mut public = Jwk::from_encoding_key(&key, algorithm.jose())?;
    let kid = public.thumbprint(ThumbprintHash::SHA256)?;
    public.common.key_id = Some(kid.clone());
    public.common.public_key_use = Some(PublicKeyUse::Signature);
    let set = JwkSet { keys: vec![public] };
    let jwks = format!("{}\n", serde_json::to_string_pretty(&set)?);
    let unwritable = |path: &Path| {
        let path = path.to_owned();
        move |error| TokenError::Unwritable { path, error }
    };
    let mut key_file = create(key_path, PRIVATE).map_err(unwritable(key_path))?;
    let jwks_file = create(jwks_path, PUBLIC);
    if jwks_file.is_err() {
        // Half a pair is of no use, and would be in the way of the next try.
        let _ = fs::remove_file(key_path);
    }
    let mut jwks_file = jwks_file.map_err(unwritable(jwks_path))?;
    key_file
        .write_all(pem.as_bytes())
        .map_err(unwritable(key_path))?;
    jwks_file
        .write_all(jwks.as_bytes())
        .map_err(unwritable(jwks_path))?;
    Ok(format!("kid {kid}\n"))
}

fn create(path: &Path, mode: u32) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
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

/// The least that admission takes.
const RSA_BITS: usize = 2048;

const PRIVATE: u32 = 0o600;
const PUBLIC: u32 = 0o644;
