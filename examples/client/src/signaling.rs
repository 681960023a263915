//! The web family's signaling: JSON text messages that introduce two peers and carry their WebRTC
//! negotiation. NVIDIA does not publish it; this is what independent clients of the same protocol family
//! are seen to send. Both peers acknowledge by number whatever carries an `ackid`.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

use crate::session::{Session, SessionError};

/// One signaling message, told apart by its members. Members it does not know are ignored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Signal {
    /// Introduces the sender.
    PeerInfo {
        /// To be acknowledged.
        ackid: u64,
        /// Who it is.
        peer_info: PeerInfo,
    },
    /// Something for the other peer.
    PeerMessage {
        /// To be acknowledged.
        ackid: u64,
        /// What, from whom, to whom.
        peer_msg: PeerMessage,
    },
    /// Acknowledges the message that carried this number.
    Ack {
        /// The other side's `ackid`.
        ack: u64,
    },
    /// Sent every few seconds by both sides for as long as the session lasts.
    Heartbeat {
        /// Always 1.
        hb: u64,
    },
    /// The server gives up on the peer; it closes next.
    Error {
        /// Such as `peerRemoved`.
        error: String,
    },
}

/// Who a peer is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerInfo {
    /// [`SERVER`] or [`CLIENT`].
    pub id: u64,
    /// Free text.
    #[serde(default)]
    pub name: String,
    /// The protocol's version, 2.
    #[serde(default)]
    pub version: u64,
}

/// A message between peers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerMessage {
    /// The sender's id.
    pub from: u64,
    /// The receiver's id.
    pub to: u64,
    /// A [`Negotiation`], as JSON within the JSON.
    pub msg: String,
}

/// What two WebRTC peers tell each other (W3C WebRTC, `RTCSessionDescription` and `RTCIceCandidate`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Negotiation {
    /// An offer or an answer.
    Description {
        /// Which of the two.
        #[serde(rename = "type")]
        kind: DescriptionKind,
        /// RFC 8866.
        sdp: String,
    },
    /// One trickled ICE candidate.
    Candidate {
        /// RFC 8839 §5.1.
        candidate: String,
        /// The media section it belongs to, by its `a=mid`.
        #[serde(rename = "sdpMid")]
        mid: String,
        /// The same, by position.
        #[serde(rename = "sdpMLineIndex")]
        line: u64,
    },
}

/// Which half of a negotiation a description is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DescriptionKind {
    /// The runtime's.
    Offer,
    /// The client's.
    Answer,
}

impl Signal {
    /// Something for the other peer to be negotiated.
    ///
    /// # Errors
    /// [`serde_json::Error`] where the negotiation cannot be written as JSON.
    pub fn negotiation(
        ackid: u64,
        from: u64,
        to: u64,
        negotiation: &Negotiation,
    ) -> Result<Self, serde_json::Error> {
        let msg = serde_json::to_string(negotiation)?;
        Ok(Self::PeerMessage {
            ackid,
            peer_msg: PeerMessage { from, to, msg },
        })
    }

    /// The signal in a text message; `None` if the text is anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// The text message that carries it.
    ///
    /// # Errors
    /// [`serde_json::Error`] where it cannot be written as JSON.
    pub fn to_message(&self) -> Result<Message, serde_json::Error> {
        Ok(Message::text(serde_json::to_string(self)?))
    }

    /// The number that the other side has to acknowledge.
    #[must_use]
    pub const fn ackid(&self) -> Option<u64> {
        match self {
            Self::PeerInfo { ackid, .. } | Self::PeerMessage { ackid, .. } => Some(*ackid),
            Self::Ack { .. } | Self::Heartbeat { .. } | Self::Error { .. } => None,
        }
    }
}

/// What a client saw of the server while they introduced themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exchange {
    /// The server's introduction.
    pub peer: Option<PeerInfo>,
    /// The SDP it offered.
    pub offer: Option<String>,
    /// The ICE candidates it trickled.
    pub candidates: Vec<String>,
    /// How many of the client's messages it acknowledged.
    pub acks: usize,
}

/// Why an exchange came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum SignalingError {
    /// The session ended first.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The server reported an error of its own, such as `peerRemoved`.
    #[error("the server reported `{0}`")]
    Server(String),
    /// The server sent what the protocol has no place for.
    #[error("the server sent what is no signaling message")]
    Unexpected,
    /// The server sent less than it should have before time was up.
    #[error("signaling did not come about within {0:?}")]
    Timeout(Duration),
    /// Something of ours cannot be written as JSON.
    #[error("JSON: {0}")]
    Json(#[from] serde_json::Error),
}

/// Introduces the client, takes the server's offer, answers it, and is done when the answer has been
/// acknowledged. At most 30 s, which a runtime's first connection after boot may well take.
///
/// # Errors
/// [`SignalingError`].
pub async fn signaling_exchange(session: &mut Session) -> Result<Exchange, SignalingError> {
    let exchange = timeout(EXCHANGE_LIMIT, exchange(session)).await;
    exchange.map_err(|_elapsed| SignalingError::Timeout(EXCHANGE_LIMIT))?
}

async fn exchange(session: &mut Session) -> Result<Exchange, SignalingError> {
    let mut seen = Exchange::default();
    let peer_info = PeerInfo {
        id: CLIENT,
        name: "berth-client".to_owned(),
        version: VERSION,
    };
    session
        .send(
            Signal::PeerInfo {
                ackid: INTRODUCTION,
                peer_info,
            }
            .to_message()?,
        )
        .await?;
    loop {
        let signal = next_signal(session).await?;
        if let Some(ack) = signal.ackid() {
            session.send(Signal::Ack { ack }.to_message()?).await?;
        }
        match signal {
            Signal::PeerInfo { peer_info, .. } => seen.peer = Some(peer_info),
            Signal::PeerMessage { peer_msg, .. } => match serde_json::from_str(&peer_msg.msg) {
                Ok(Negotiation::Description {
                    kind: DescriptionKind::Offer,
                    sdp,
                }) => {
                    seen.offer = Some(sdp);
                    let answer = Negotiation::Description {
                        kind: DescriptionKind::Answer,
                        sdp: ANSWER_SDP.to_owned(),
                    };
                    session
                        .send(Signal::negotiation(ANSWER, CLIENT, SERVER, &answer)?.to_message()?)
                        .await?;
                }
                Ok(Negotiation::Candidate { candidate, .. }) => seen.candidates.push(candidate),
                _ => return Err(SignalingError::Unexpected),
            },
            Signal::Ack { ack } => {
                seen.acks += 1;
                if ack == ANSWER {
                    return Ok(seen);
                }
            }
            Signal::Heartbeat { .. } => {}
            Signal::Error { error } => return Err(SignalingError::Server(error)),
        }
    }
}

async fn next_signal(session: &mut Session) -> Result<Signal, SignalingError> {
    match session.receive_data().await? {
        Message::Text(text) => Signal::parse(text.as_str()).ok_or(SignalingError::Unexpected),
        _ => Err(SignalingError::Unexpected),
    }
}

/// The server's peer id.
pub const SERVER: u64 = 1;
/// The client's peer id.
pub const CLIENT: u64 = 2;
/// The version of the protocol spoken here.
pub const VERSION: u64 = 2;
/// How often each side sends a heartbeat.
pub const HEARTBEAT: Duration = Duration::from_secs(5);

const INTRODUCTION: u64 = 1;
const ANSWER: u64 = 2;
const EXCHANGE_LIMIT: Duration = Duration::from_secs(30);

/// An answer that accepts nothing: port 0 rejects the one media section (RFC 3264 §6).
const ANSWER_SDP: &str = "v=0\r\no=- 2 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n\
    m=video 0 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=inactive\r\n";
