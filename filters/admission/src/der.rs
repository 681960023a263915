//! DER (X.690 §8 and §10), as far as public keys and signatures are written in it. Nothing is read.

/// An AlgorithmIdentifier (RFC 5280 §4.1.1.2): an object identifier, and parameters.
pub(crate) type AlgorithmIdentifier = [u8];

/// A SubjectPublicKeyInfo (RFC 5280 §4.1), of a key in parts.
pub(crate) fn subject_public_key_info(algorithm: &AlgorithmIdentifier, key: &[&[u8]]) -> Vec<u8> {
    let key: Vec<u8> = key.iter().copied().flatten().copied().collect();
    let bits = element(BIT_STRING, &[&[NO_UNUSED_BITS], &key]);
    element(SEQUENCE, &[algorithm, &bits])
}

/// A SEQUENCE of two numbers without a sign, given big-endian: an RSAPublicKey (RFC 8017 §A.1.1) or an ECDSA-Sig-Value
/// (RFC 3279 §2.2.3).
pub(crate) fn two_integers(first: &[u8], second: &[u8]) -> Vec<u8> {
    element(SEQUENCE, &[&integer(first), &integer(second)])
}

/// As short as it can be, but not so that its first bit looks like a sign.
fn integer(big_endian: &[u8]) -> Vec<u8> {
    let value = significant(big_endian);
    match value.first() {
        Some(first) if *first < 0x80 => element(INTEGER, &[value]),
        _ => element(INTEGER, &[&[0], value]),
    }
}

/// A tag, the length, and the content.
fn element(tag: u8, content: &[&[u8]]) -> Vec<u8> {
    let length: usize = content.iter().map(|part| part.len()).sum();
    let mut element = Vec::with_capacity(length + HEADER_BYTES);
    element.push(tag);
    let bytes = length.to_be_bytes();
    match significant(&bytes) {
        [] => element.push(0),
        [short] if *short < LONG => element.push(*short),
        long => {
            element.push(LONG | long.len() as u8);
            element.extend_from_slice(long);
        }
    }
    for part in content {
        element.extend_from_slice(part);
    }
    element
}

fn significant(big_endian: &[u8]) -> &[u8] {
    let zeros = big_endian.iter().take_while(|byte| **byte == 0).count();
    big_endian.get(zeros..).unwrap_or_default()
}

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const SEQUENCE: u8 = 0x30;

/// What a BIT STRING of whole bytes begins with.
const NO_UNUSED_BITS: u8 = 0;
/// In a length: so many bytes of it follow.
const LONG: u8 = 0x80;
/// The most that a tag and a length take here: nothing is longer than 65,535 bytes.
const HEADER_BYTES: usize = 4;

/// rsaEncryption, 1.2.840.113549.1.1.1, with NULL (RFC 3279 §2.3.1).
pub(crate) const RSA_ENCRYPTION: &AlgorithmIdentifier = &[
    SEQUENCE, 13, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1, 5, 0,
];
/// id-ecPublicKey, 1.2.840.10045.2.1, on secp256r1, 1.2.840.10045.3.1.7 (RFC 5480 §2.1.1).
pub(crate) const EC_P256: &AlgorithmIdentifier = &[
    SEQUENCE, 19, 6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3,
    1, 7,
];
/// The same on secp384r1, 1.3.132.0.34.
pub(crate) const EC_P384: &AlgorithmIdentifier = &[
    SEQUENCE, 16, 6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6, 5, 0x2b, 0x81, 4, 0, 34,
];
/// The same on secp521r1, 1.3.132.0.35.
pub(crate) const EC_P521: &AlgorithmIdentifier = &[
    SEQUENCE, 16, 6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6, 5, 0x2b, 0x81, 4, 0, 35,
];
/// id-Ed25519, 1.3.101.112, without parameters (RFC 8410 §3).
pub(crate) const ED25519: &AlgorithmIdentifier = &[SEQUENCE, 5, 6, 3, 0x2b, 101, 112];

#[cfg(test)]
mod tests {
    use der::asn1::{AnyRef, UintRef};
    use der::{Decode, Encode};
    use proptest::collection::vec;
    use proptest::prelude::*;
    use spki::{ObjectIdentifier, SubjectPublicKeyInfoRef};

    use super::*;

    #[test]
    fn algorithms_have_their_object_identifiers() {
        let curve = |oid: &str| Some(ObjectIdentifier::new(oid).unwrap());
        for (algorithm, oid, curve) in [
            (RSA_ENCRYPTION, "1.2.840.113549.1.1.1", None),
            (EC_P256, "1.2.840.10045.2.1", curve("1.2.840.10045.3.1.7")),
            (EC_P384, "1.2.840.10045.2.1", curve("1.3.132.0.34")),
            (EC_P521, "1.2.840.10045.2.1", curve("1.3.132.0.35")),
            (ED25519, "1.3.101.112", None),
        ] {
            let der = subject_public_key_info(algorithm, &[&[1, 2], &[3]]);
            let info = SubjectPublicKeyInfoRef::from_der(&der).unwrap();
            assert_eq!(info.algorithm.oid.to_string(), oid);
            assert_eq!(info.subject_public_key.raw_bytes(), [1, 2, 3]);
            let parameters = info.algorithm.parameters;
            match curve {
                Some(curve) => assert_eq!(parameters, Some(AnyRef::from(&curve))),
                None if algorithm == ED25519 => assert_eq!(parameters, None),
                None => assert_eq!(parameters, Some(AnyRef::NULL)),
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_what_der_writes(
            first in vec(prop_oneof![Just(0), Just(0x7f), Just(0x80), any::<u8>()], 1..300),
            second in vec(any::<u8>(), 1..1100),
        ) {
            let integers = [UintRef::new(&first).unwrap(), UintRef::new(&second).unwrap()];
            let written = two_integers(&first, &second);
            prop_assert_eq!(&written, &integers.to_der().unwrap());
            let info = subject_public_key_info(RSA_ENCRYPTION, &[&written]);
            let read = SubjectPublicKeyInfoRef::from_der(&info).unwrap();
            prop_assert_eq!(read.subject_public_key.raw_bytes(), &written);
            prop_assert_eq!(read.to_der().unwrap(), info);
        }
    }
}
