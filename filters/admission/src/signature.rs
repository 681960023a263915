/// Checks signatures, since this crate has no arithmetic of its own: the Envoy host's `verify_signature` in the filter,
/// a native library elsewhere.
pub trait VerifySignature {
    /// Whether `signature`, in its JWS form (ES256: the 64 bytes `r || s`, RFC 7518 §3.4), is that of `message` under `key`.
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

/// An issuer's public key, checked for its shape.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PublicKey {
    spki_der: Vec<u8>,
}

impl PublicKey {
    /// The key as a DER SubjectPublicKeyInfo (RFC 5280 §4.1), which Envoy's `verify_signature` takes.
    pub fn spki_der(&self) -> &[u8] {
        &self.spki_der
    }
}

/// Why a signature could not be checked.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum VerifyError {
    /// The verifier does not take the key: no token signed with it can be admitted.
    #[error("the verifier does not accept the key")]
    KeyRefused,
    /// The verifier cannot be asked at all: no token can be admitted.
    #[error("signatures cannot be checked")]
    Unavailable,
}

/// Re-encodes an ES256 signature from the form of a JWS (`r || s`, 64 bytes, RFC 7518 §3.4) to the one Envoy's
/// `verify_signature` takes (DER ECDSA-Sig-Value, RFC 3279 §2.2.3). `None` if it has another length.
pub fn ecdsa_signature_to_der(raw: &[u8]) -> Option<Vec<u8>> {
    if raw.len() != 64 {
        return None;
    }
    let (r, s) = raw.split_at_checked(32)?;
    let (r, s) = (
        der::asn1::UintRef::new(r).ok()?,
        der::asn1::UintRef::new(s).ok()?,
    );
    let mut der = Vec::new();
    der::Encode::encode_to_vec(&vec![r, s], &mut der).ok()?;
    Some(der)
}
