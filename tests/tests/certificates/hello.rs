//! A client's first message of TLS, written by hand, and the server's answer: for what no client of today offers.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What a client offers (RFC 8446, section 4.1.2; RFC 5246, section 7.4.1.2).
pub(super) struct ClientHello<'a> {
    pub(super) name: &'a str,
    /// 0x0301 to 0x0303: the highest, unless there are `versions`.
    pub(super) version: u16,
    /// What TLS 1.3 has for that.
    pub(super) versions: &'a [u16],
    pub(super) cipher_suites: &'a [u16],
    pub(super) groups: &'a [u16],
}

/// What a server says to it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It ends the handshake (RFC 8446, section 6.2).
    Alert(u8),
    /// It chooses. A group only in TLS 1.3, where it is told in this message.
    Chosen {
        version: u16,
        cipher_suite: u16,
        group: Option<u16>,
    },
}

impl ClientHello<'_> {
    pub(super) async fn send(&self, server: SocketAddr) -> Answer {
        let mut stream = TcpStream::connect(server).await.unwrap();
        stream.write_all(&self.to_bytes()).await.unwrap();
        let mut head = [0; 5];
        stream.read_exact(&mut head).await.unwrap();
        let mut fragment = vec![0; usize::from(u16::from_be_bytes([head[3], head[4]]))];
        stream.read_exact(&mut fragment).await.unwrap();
        match head[0] {
            ALERT => Answer::Alert(fragment[1]),
            HANDSHAKE => server_hello(&fragment),
            other => panic!("a record of type {other}"),
        }
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut body = self.version.to_be_bytes().to_vec();
        body.extend([7; 32]);
        // No session to resume.
        body.push(0);
        body.extend(with_length(&numbers(self.cipher_suites)));
        // No compression.
        body.extend([1, 0]);
        body.extend(with_length(&self.extensions()));
        let mut message = vec![CLIENT_HELLO, 0];
        message.extend(with_length(&body));
        let mut record = vec![HANDSHAKE, 3, 1];
        record.extend(with_length(&message));
        record
    }

    fn extensions(&self) -> Vec<u8> {
        let host_name = [&[0][..], &with_length(self.name.as_bytes())].concat();
        let mut extensions = vec![
            (SERVER_NAME, with_length(&host_name)),
            (SUPPORTED_GROUPS, with_length(&numbers(self.groups))),
            (EC_POINT_FORMATS, vec![1, 0]),
            (SIGNATURE_ALGORITHMS, with_length(&numbers(SIGNATURES))),
        ];
        if !self.versions.is_empty() {
            let versions = numbers(self.versions);
            let length = u8::try_from(versions.len()).unwrap();
            extensions.push((SUPPORTED_VERSIONS, [&[length][..], &versions].concat()));
            // None yet: the server names the group that it wants one of.
            extensions.push((KEY_SHARE, vec![0, 0]));
        }
        let extensions = extensions.iter().map(|(kind, content)| {
            let kind: u16 = *kind;
            [&kind.to_be_bytes()[..], &with_length(content)].concat()
        });
        extensions.collect::<Vec<_>>().concat()
    }
}

/// RFC 8446, section 4.1.3; RFC 5246, section 7.4.1.3.
fn server_hello(message: &[u8]) -> Answer {
    assert_eq!(message[0], SERVER_HELLO);
    let number = |bytes: &[u8], at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
    let mut version = number(message, 4);
    let session_id = usize::from(message[38]);
    let cipher_suite = number(message, 39 + session_id);
    let mut extensions = message.get(44 + session_id..).unwrap_or_default();
    let mut group = None;
    while let [a, b, c, d, rest @ ..] = extensions {
        let length = usize::from(u16::from_be_bytes([*c, *d]));
        let (content, others) = rest.split_at(length.min(rest.len()));
        match u16::from_be_bytes([*a, *b]) {
            SUPPORTED_VERSIONS => version = number(content, 0),
            KEY_SHARE => group = Some(number(content, 0)),
            _ => {}
        }
        extensions = others;
    }
    Answer::Chosen {
        version,
        cipher_suite,
        group,
    }
}

/// After its length in two bytes.
fn with_length(content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap();
    [&length.to_be_bytes()[..], content].concat()
}

fn numbers(numbers: &[u16]) -> Vec<u8> {
    numbers
        .iter()
        .flat_map(|number| number.to_be_bytes())
        .collect()
}

const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const SERVER_HELLO: u8 = 2;

const SERVER_NAME: u16 = 0;
const SUPPORTED_GROUPS: u16 = 10;
const EC_POINT_FORMATS: u16 = 11;
const SIGNATURE_ALGORITHMS: u16 = 13;
const SUPPORTED_VERSIONS: u16 = 43;
const KEY_SHARE: u16 = 51;

/// ECDSA on P-256 and RSA, as TLS 1.3 and 1.2 sign with them.
const SIGNATURES: &[u16] = &[0x0403, 0x0804, 0x0401];
