//! The signature check, by the proxy: in the VM it would take some fifteen times as long.

use berth_admission::{Algorithm, PublicKey, VerifyError, VerifySignature, ecdsa_signature_to_der};
use prost::Message;

use crate::host::{Host, Unavailable};

/// Envoy's foreign function `verify_signature`.
pub(crate) struct HostVerifier<'a, H>(pub(crate) &'a H);

impl<H: Host> VerifySignature for HostVerifier<'_, H> {
    fn verify(
        &self,
        algorithm: Algorithm,
        key: &PublicKey,
        message: &[u8],
        signature: &[u8],
    ) -> Result<bool, VerifyError> {
        let signature = match algorithm {
            Algorithm::Rs256 => signature.to_vec(),
            Algorithm::Es256 => match ecdsa_signature_to_der(signature) {
                Some(der) => der,
                None => return Ok(false),
            },
        };
        let arguments = VerifySignatureArguments {
            hash_function: "sha256".to_owned(),
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
