//! What the emulator says back, one message at a time. No I/O and no clock.

use std::net::IpAddr;

use berth_client::signaling::{
    CLIENT, DescriptionKind, Negotiation, PeerInfo, SERVER, Signal, VERSION,
};
use tokio_tungstenite::tungstenite::Message;

use crate::ledger::Stage;
use crate::rtsp;

/// The server's half of a session's signaling.
#[derive(Debug)]
pub(crate) enum Conversation {
    Native { stage: Stage },
    Web(WebPeer),
}

/// The web family's server peer.
#[derive(Debug)]
pub(crate) struct WebPeer {
    stage: Stage,
    address: IpAddr,
    last_ackid: u64,
}

impl Conversation {
    pub(crate) const fn native() -> Self {
        Self::Native {
            stage: Stage::Silent,
        }
    }

    /// `address` is where the offered media would be.
    pub(crate) const fn web(address: IpAddr) -> Self {
        Self::Web(WebPeer {
            stage: Stage::Silent,
            address,
            last_ackid: 0,
        })
    }

    /// How far signaling has got.
    pub(crate) const fn stage(&self) -> Stage {
        match self {
            Self::Native { stage } => *stage,
            Self::Web(peer) => peer.stage,
        }
    }

    /// What is sent back for a message: an answer to signaling, an echo of any other text and of every
    /// binary message, nothing for control frames.
    pub(crate) fn hear(&mut self, message: Message) -> Vec<Message> {
        let text = match &message {
            Message::Text(text) => text.as_str(),
            Message::Binary(_) => return vec![message],
            _ => return Vec::new(),
        };
        let answers = match self {
            Self::Native { stage } => rtsp::answer(text).map(|answer| {
                *stage = Stage::Introduced;
                vec![Message::text(answer)]
            }),
            Self::Web(peer) => Signal::parse(text).map(|signal| peer.hear(&signal)),
        };
        answers.unwrap_or_else(|| vec![message])
    }
}

impl WebPeer {
    fn hear(&mut self, signal: &Signal) -> Vec<Message> {
        let mut answers: Vec<Signal> = signal
            .ackid()
            .map(|ack| Signal::Ack { ack })
            .into_iter()
            .collect();
        match signal {
            Signal::PeerInfo { .. } if self.stage == Stage::Silent => {
                self.stage = Stage::Introduced;
                answers.extend(self.introduction());
            }
            Signal::PeerMessage { peer_msg, .. } if is_answer(&peer_msg.msg) => {
                self.stage = self.stage.max(Stage::Answered);
            }
            _ => {}
        }
        answers
            .iter()
            .filter_map(|answer| answer.to_message().ok())
            .collect()
    }

    /// Who we are, what we offer, and where it could be had.
    fn introduction(&mut self) -> Vec<Signal> {
        let peer_info = PeerInfo {
            id: SERVER,
            name: "berth-runtime-emulator".to_owned(),
            version: VERSION,
        };
        let offer = Negotiation::Description {
            kind: DescriptionKind::Offer,
            sdp: OFFER_SDP.to_owned(),
        };
        let candidate = Negotiation::Candidate {
            candidate: format!(
                "candidate:1 1 udp 2130706431 {} {MEDIA_PORT} typ host",
                self.address
            ),
            mid: "0".to_owned(),
            line: 0,
        };
        let mut signals = vec![Signal::PeerInfo {
            ackid: self.next_ackid(),
            peer_info,
        }];
        for negotiation in [offer, candidate] {
            signals.extend(Signal::negotiation(
                self.next_ackid(),
                SERVER,
                CLIENT,
                &negotiation,
            ));
        }
        signals
    }

    const fn next_ackid(&mut self) -> u64 {
        self.last_ackid += 1;
        self.last_ackid
    }
}

fn is_answer(msg: &str) -> bool {
    let negotiation = serde_json::from_str(msg);
    matches!(
        negotiation,
        Ok(Negotiation::Description {
            kind: DescriptionKind::Answer,
            ..
        })
    )
}

/// Where a runtime has a web client's media.
const MEDIA_PORT: u16 = 47998;

/// One video section that will never carry anything.
const OFFER_SDP: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n\
    m=video 9 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=sendonly\r\n\
    a=rtpmap:96 H264/90000\r\n";

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn web() -> Conversation {
        Conversation::web(Ipv4Addr::LOCALHOST.into())
    }

    fn texts(messages: &[Message]) -> Vec<String> {
        messages
            .iter()
            .map(|message| message.to_text().unwrap().to_owned())
            .collect()
    }

    /// The wire format by its bytes, since both ends here share its types.
    #[test]
    fn an_introduction_is_acknowledged_and_answered_with_an_offer() {
        let mut conversation = web();
        let said = texts(&conversation.hear(Message::text(
            r#"{"ackid":7,"peer_info":{"id":2,"name":"peer-1","browser":"Chrome","version":2}}"#,
        )));
        assert_eq!(said.first().unwrap(), r#"{"ack":7}"#);
        assert!(
            said[1].starts_with(r#"{"ackid":1,"peer_info":{"id":1,"#),
            "{}",
            said[1]
        );
        assert!(
            said[2].starts_with(
                r#"{"ackid":2,"peer_msg":{"from":1,"to":2,"msg":"{\"type\":\"offer\",\"sdp\":\"v=0"#
            ),
            "{}",
            said[2]
        );
        assert!(
            said[3].contains(r#"\"candidate\":\"candidate:1 1 udp"#),
            "{}",
            said[3]
        );
        assert!(
            said[3].contains(r#"\"sdpMid\":\"0\",\"sdpMLineIndex\":0"#),
            "{}",
            said[3]
        );
        assert_eq!(said.len(), 4);
        assert_eq!(conversation.stage(), Stage::Introduced);
    }

    #[test]
    fn each_text_gets_its_answer() {
        let answer = r#"{"peer_msg":{"from":2,"to":1,"msg":"{\"type\":\"answer\",\"sdp\":\"v=0\"}"},"ackid":2}"#;
        let candidate = r#"{"peer_msg":{"from":2,"to":1,"msg":"{\"candidate\":\"\"}"},"ackid":3}"#;
        let cases: &[(&str, &[&str], Stage)] = &[
            (answer, &[r#"{"ack":2}"#], Stage::Answered),
            (candidate, &[r#"{"ack":3}"#], Stage::Silent),
            (r#"{"hb":1}"#, &[], Stage::Silent),
            (r#"{"ack":1}"#, &[], Stage::Silent),
            // Not signaling: echoed.
            ("hello", &["hello"], Stage::Silent),
            ("", &[""], Stage::Silent),
            (r#"{"a":1}"#, &[r#"{"a":1}"#], Stage::Silent),
            (r#"{"ack":"one"}"#, &[r#"{"ack":"one"}"#], Stage::Silent),
            (
                "OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n",
                &["OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n"],
                Stage::Silent,
            ),
        ];
        for (text, expected, stage) in cases {
            let mut conversation = web();
            assert_eq!(
                texts(&conversation.hear(Message::text(*text))),
                *expected,
                "{text}"
            );
            assert_eq!(conversation.stage(), *stage, "{text}");
        }
    }

    #[test]
    fn a_second_introduction_is_only_acknowledged() {
        let mut conversation = web();
        let introduction = r#"{"ackid":1,"peer_info":{"id":2}}"#;
        conversation.hear(Message::text(introduction));
        assert_eq!(
            texts(&conversation.hear(Message::text(introduction))),
            [r#"{"ack":1}"#]
        );
    }

    #[test]
    fn native_answers_rtsp_and_echoes_web_signaling() {
        let mut conversation = Conversation::native();
        assert_eq!(
            texts(&conversation.hear(Message::text(r#"{"hb":1}"#))),
            [r#"{"hb":1}"#]
        );
        assert_eq!(conversation.stage(), Stage::Silent);
        let said =
            texts(&conversation.hear(Message::text("OPTIONS * RTSP/1.0\r\nCSeq: 3\r\n\r\n")));
        assert!(
            said[0].starts_with("RTSP/1.0 200 OK\r\nCSeq: 3\r\n"),
            "{}",
            said[0]
        );
        assert_eq!(conversation.stage(), Stage::Introduced);
    }

    #[test]
    fn only_data_is_echoed() {
        let binary = Message::binary(vec![0, 255, 1]);
        assert_eq!(web().hear(binary.clone()), [binary]);
        assert_eq!(web().hear(Message::Ping(vec![1].into())), []);
        assert_eq!(web().hear(Message::Pong(vec![1].into())), []);
    }
}
