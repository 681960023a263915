//! The signature check, by the proxy: in the VM it would take some fifteen times as long.

use berth_admission::{
    Algorithm, KeyMaterial, VerifyError, VerifySignature, ecdsa_signature_to_der,
};
use prost::Message;

use crate::host::{Host, Unavailable};

/// Envoy's foreign function `verify_signature`.
pub(crate) struct HostVerifier<'a, H>(pub(crate) &'a H);

impl<H: Host> VerifySignature for HostVerifier<'_, H> {
    fn verify(
        &self,
        algorithm: Algorithm,
        key: &KeyMaterial,
        message: &[u8],
        signature: &[u8],
    ) -> Result<bool, VerifyError> {
        let (hash_function, scheme) = known_to_envoy(algorithm).ok_or(VerifyError::NotHere)?;
        let KeyMaterial::Public(key) = key else {
            return Err(VerifyError::KeyRefused);
        };
        let signature = match scheme {
            Scheme::Pkcs1v15 => signature.to_vec(),
            Scheme::Ecdsa => match ecdsa_signature_to_der(algorithm, signature) {
                Some(der) => der,
                None => return Ok(false),
            },
        };
        let arguments = VerifySignatureArguments {
            hash_function: hash_function.to_owned(),
            public_key: key.spki_der().to_vec(),
            signature,
            text: message.to_vec(),
        };
        let answer = self
            .0
            .foreign_function("verify_signature", &arguments.encode_to_vec());
        match answer {
            Ok(bytes) => VerifySignatureResult::decode(bytes.as_slice())
                .map(|result| result.result)
                .map_err(|_| VerifyError::Unavailable),
            Err(Unavailable::Refused) => Err(VerifyError::KeyRefused),
            Err(Unavailable::Failed) => Err(VerifyError::Unavailable),
        }
    }
}

/// The hash by Envoy's name, and what is done with it; `None` if Envoy 1.40 cannot do it. Whether it
/// is RSA or ECDSA, Envoy sees by the key: it does PKCS #1 v1.5 with the one, and never PSS.
const fn known_to_envoy(algorithm: Algorithm) -> Option<(&'static str, Scheme)> {
    match algorithm {
        Algorithm::Rs256 => Some(("sha256", Scheme::Pkcs1v15)),
        Algorithm::Rs384 => Some(("sha384", Scheme::Pkcs1v15)),
        Algorithm::Rs512 => Some(("sha512", Scheme::Pkcs1v15)),
        Algorithm::Es256 => Some(("sha256", Scheme::Ecdsa)),
        Algorithm::Es384 => Some(("sha384", Scheme::Ecdsa)),
        Algorithm::Es512 => Some(("sha512", Scheme::Ecdsa)),
        Algorithm::Hs256
        | Algorithm::Hs384
        | Algorithm::Hs512
        | Algorithm::Ps256
        | Algorithm::Ps384
        | Algorithm::Ps512
        | Algorithm::EdDsa => None,
    }
}

enum Scheme {
    Pkcs1v15,
    Ecdsa,
}

/// `envoy.source.extensions.common.wasm.VerifySignatureArguments`.
#[derive(Clone, PartialEq, Message)]
struct VerifySignatureArguments {
    #[prost(string, tag = "1")]
    hash_function: String,
    /// DER SubjectPublicKeyInfo.
    #[prost(bytes = "vec", tag = "2")]
    public_key: Vec<u8>,
    /// RSA: as it is. ECDSA: DER ECDSA-Sig-Value.
    #[prost(bytes = "vec", tag = "3")]
    signature: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    text: Vec<u8>,
}

/// `envoy.source.extensions.common.wasm.VerifySignatureResult`.
#[derive(Clone, PartialEq, Message)]
struct VerifySignatureResult {
    #[prost(bool, tag = "1")]
    result: bool,
    #[prost(string, tag = "2")]
    error: String,
}
