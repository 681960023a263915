use std::fmt;

use crate::der::{self, AlgorithmIdentifier};

/// Checks signatures, since this crate has no arithmetic of its own: the Envoy host's
/// `verify_signature` in the filter, a native library elsewhere.
pub trait VerifySignature {
    /// Whether `signature`, in its JWS form (ECDSA: `r || s`, RFC 7518 §3.4), is that of `message`
    /// under `key`. Any bytes may come as the signature, none at all too.
    ///
    /// # Errors
    /// When it could not be found out; the request is then not admitted here.
    fn verify(
        &self,
        algorithm: Algorithm,
        key: &KeyMaterial,
        message: &[u8],
        signature: &[u8],
    ) -> Result<bool, VerifyError>;
}

/// The JWS algorithms (RFC 7518 §3.1, RFC 8037 §3.1) whose signatures are checked.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Algorithm {
    /// HMAC with SHA-256.
    Hs256,
    /// HMAC with SHA-384.
    Hs384,
    /// HMAC with SHA-512.
    Hs512,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    Rs384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    Rs512,
    /// RSASSA-PSS with SHA-256, and MGF1 and a salt of the same.
    Ps256,
    /// RSASSA-PSS with SHA-384, and MGF1 and a salt of the same.
    Ps384,
    /// RSASSA-PSS with SHA-512, and MGF1 and a salt of the same.
    Ps512,
    /// ECDSA with P-256 and SHA-256.
    Es256,
    /// ECDSA with P-384 and SHA-384.
    Es384,
    /// ECDSA with P-521 and SHA-512.
    Es512,
    /// Ed25519, by either of its names: `EdDSA` (RFC 8037), whose other curve is not for us, and
    /// `Ed25519` (RFC 9864).
    EdDsa,
}

impl Algorithm {
    /// Every algorithm there is.
    pub const ALL: [Self; 13] = [
        Self::Hs256,
        Self::Hs384,
        Self::Hs512,
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
        Self::Es256,
        Self::Es384,
        Self::Es512,
        Self::EdDsa,
    ];

    /// Its name in a JOSE header: `ES256`, `RS256`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::Hs384 => "HS384",
            Self::Hs512 => "HS512",
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::Es512 => "ES512",
            Self::EdDsa => "EdDSA",
        }
    }

    /// The algorithm of this name, case and all (RFC 7515 §4.1.1).
    pub fn from_name(name: &str) -> Option<Self> {
        if name == FULLY_SPECIFIED_EDDSA {
            return Some(Self::EdDsa);
        }
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.name() == name)
    }

    /// How long its signatures are as a JWS has them, in bytes, if it is one of ECDSA.
    const fn ecdsa_signature_bytes(self) -> Option<usize> {
        match self {
            Self::Es256 => Some(64),
            Self::Es384 => Some(96),
            Self::Es512 => Some(132),
            _ => None,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What signatures are checked with.
#[derive(Clone, Debug)]
pub enum KeyMaterial {
    /// A public key: all that whoever reads it can do is check.
    Public(PublicKey),
    /// The key of an HMAC: whoever reads it can sign.
    Secret(Secret),
}

/// An issuer's public key: an RSA key of 2048 to 8192 bits; two coordinates of P-256, P-384 or
/// P-521; an Ed25519 key.
///
/// That the coordinates are a point of the curve is for the verifier to see.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PublicKey {
    spki_der: Vec<u8>,
}

impl PublicKey {
    /// The key as a DER SubjectPublicKeyInfo (RFC 5280 §4.1), which Envoy's `verify_signature`
    /// takes.
    pub fn spki_der(&self) -> &[u8] {
        &self.spki_der
    }

    /// Both numbers are big-endian.
    pub(crate) fn rsa(modulus: &[u8], exponent: &[u8]) -> Self {
        Self::new(
            der::RSA_ENCRYPTION,
            &[&der::two_integers(modulus, exponent)],
        )
    }

    /// RFC 5480 §2, the point uncompressed. Both coordinates have the length of the curve's field.
    pub(crate) fn ec(curve: Curve, x: &[u8], y: &[u8]) -> Self {
        Self::new(curve.algorithm(), &[&[UNCOMPRESSED], x, y])
    }

    /// RFC 8410 §4.
    pub(crate) fn ed25519(x: &[u8]) -> Self {
        Self::new(der::ED25519, &[x])
    }

    fn new(algorithm: &AlgorithmIdentifier, key: &[&[u8]]) -> Self {
        let spki_der = der::subject_public_key_info(algorithm, key);
        Self { spki_der }
    }
}

/// The curves of the ECDSA algorithms (RFC 7518 §6.2.1.1).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Curve {
    P256,
    P384,
    P521,
}

impl Curve {
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        match name {
            "P-256" => Some(Self::P256),
            "P-384" => Some(Self::P384),
            "P-521" => Some(Self::P521),
            _ => None,
        }
    }

    /// How long a coordinate is, in bytes.
    pub(crate) const fn coordinate_bytes(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }

    const fn algorithm(self) -> &'static AlgorithmIdentifier {
        match self {
            Self::P256 => der::EC_P256,
            Self::P384 => der::EC_P384,
            Self::P521 => der::EC_P521,
        }
    }
}

/// The key of an HMAC, at least as long as the hash (RFC 7518 §3.2). No `Debug` output shows it.
#[derive(Clone)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// The bytes themselves: for arithmetic, and for nothing else.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    pub(crate) const fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Why a signature could not be checked.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum VerifyError {
    /// The verifier does not take the key: no token signed with it can be admitted.
    #[error("the verifier does not accept the key")]
    KeyRefused,
    /// This verifier has no arithmetic for the algorithm: somebody else has to be asked.
    #[error("signatures of this algorithm are checked elsewhere")]
    NotHere,
    /// The verifier cannot be asked at all: no token can be admitted, whatever it says.
    #[error("signatures cannot be checked")]
    Unavailable,
}

/// Re-encodes an ECDSA signature from the form of a JWS (`r || s`, RFC 7518 §3.4) to the one
/// Envoy's `verify_signature` takes (DER ECDSA-Sig-Value, RFC 3279 §2.2.3).
///
/// `None` if its length is not the algorithm's, or this is none of ECDSA: it is then no signature.
pub fn ecdsa_signature_to_der(algorithm: Algorithm, raw: &[u8]) -> Option<Vec<u8>> {
    let bytes = algorithm.ecdsa_signature_bytes()?;
    if raw.len() != bytes {
        return None;
    }
    let (r, s) = raw.split_at_checked(bytes / 2)?;
    Some(der::two_integers(r, s))
}

/// RFC 9864's name for what else is called `EdDSA`.
const FULLY_SPECIFIED_EDDSA: &str = "Ed25519";
/// SEC 1 §2.3.3: both coordinates follow.
const UNCOMPRESSED: u8 = 4;
