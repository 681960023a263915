use der::Encode;
use der::asn1::{AnyRef, BitStringRef, ObjectIdentifier, UintRef};
use spki::{AlgorithmIdentifier, SubjectPublicKeyInfo};

/// Checks signatures, since this crate has no arithmetic of its own: the Envoy host's
/// `verify_signature` in the filter, a native library elsewhere.
pub trait VerifySignature {
    /// Whether `signature`, in its JWS form (ES256: the 64 bytes `r || s`, RFC 7518 §3.4), is that
    /// of `message` under `key`. Any bytes may come as the signature, none at all too.
    ///
    /// # Errors
    /// When it could not be found out; the request is then refused.
    fn verify(
        &self,
        algorithm: Algorithm,
        key: &PublicKey,
        message: &[u8],
        signature: &[u8],
    ) -> Result<bool, VerifyError>;
}

/// The JWS algorithms (RFC 7518 §3.1) whose signatures a [`VerifySignature`] is asked to check.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Algorithm {
    /// ECDSA with P-256 and SHA-256.
    Es256,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
}

impl Algorithm {
    /// Its name in a JOSE header: `ES256`, `RS256`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Rs256 => "RS256",
        }
    }

    /// The algorithm of this name, case and all (RFC 7515 §4.1.1).
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        [Self::Es256, Self::Rs256]
            .into_iter()
            .find(|algorithm| algorithm.name() == name)
    }
}

/// An issuer's public key: an RSA key of 2048 to 8192 bits, or two coordinates of P-256.
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

    /// RFC 8017 §A.1.1; both numbers big-endian. `None` if they are too long for DER.
    pub(crate) fn rsa(modulus: &[u8], exponent: &[u8]) -> Option<Self> {
        // RSAPublicKey is a SEQUENCE of two INTEGERs.
        Self::from_parts(
            RSA_ENCRYPTION,
            AnyRef::NULL,
            &integers(modulus, exponent).ok()?,
        )
    }

    /// RFC 5480 §2, the point uncompressed.
    pub(crate) fn p256(x: &[u8; 32], y: &[u8; 32]) -> Option<Self> {
        let point = [&[UNCOMPRESSED], x.as_slice(), y.as_slice()].concat();
        Self::from_parts(EC_PUBLIC_KEY, (&PRIME256V1).into(), &point)
    }

    fn from_parts(oid: ObjectIdentifier, parameters: AnyRef<'_>, key: &[u8]) -> Option<Self> {
        let algorithm = AlgorithmIdentifier {
            oid,
            parameters: Some(parameters),
        };
        let subject_public_key = BitStringRef::from_bytes(key).ok()?;
        let spki_der = SubjectPublicKeyInfo {
            algorithm,
            subject_public_key,
        }
        .to_der()
        .ok()?;
        Some(Self { spki_der })
    }
}

/// Why a signature could not be checked.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum VerifyError {
    /// The verifier does not take the key: no token signed with it can be admitted.
    #[error("the verifier does not accept the key")]
    KeyRefused,
    /// The verifier cannot be asked at all: no token can be admitted, whatever it says.
    #[error("signatures cannot be checked")]
    Unavailable,
}

/// Re-encodes an ES256 signature from the form of a JWS (`r || s`, 64 bytes, RFC 7518 §3.4) to the
/// one Envoy's `verify_signature` takes (DER ECDSA-Sig-Value, RFC 3279 §2.2.3).
///
/// `None` if it has another length: it is then no signature.
pub fn ecdsa_signature_to_der(raw: &[u8]) -> Option<Vec<u8>> {
    let raw: &[u8; 64] = raw.try_into().ok()?;
    let (r, s) = raw.split_at(32);
    integers(r, s).ok()
}

/// A DER SEQUENCE of two non-negative INTEGERs, given big-endian.
fn integers(first: &[u8], second: &[u8]) -> der::Result<Vec<u8>> {
    [UintRef::new(first)?, UintRef::new(second)?].to_der()
}

const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const PRIME256V1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
/// SEC 1 §2.3.3: both coordinates follow.
const UNCOMPRESSED: u8 = 4;
