//! The native family's signaling: RTSP in WebSocket messages. How CloudXR uses it is not public, so only
//! the one request is made that every RTSP server answers.

use std::time::Duration;

use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

use crate::session::Session;
use crate::signaling::SignalingError;

/// What an RTSP server answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// RFC 2326 §7.1.1.
    pub status: u16,
    /// In the order they came.
    pub headers: Vec<(String, String)>,
}

impl Reply {
    /// Reads a reply without a body; `None` if the text is anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut lines = text.split("\r\n");
        let (version, rest) = lines.next()?.split_once(' ')?;
        if version != "RTSP/1.0" {
            return None;
        }
        let status = rest
            .split_once(' ')
            .map_or(rest, |(status, _phrase)| status)
            .parse()
            .ok()?;
        let headers = lines
            .take_while(|line| !line.is_empty())
            .map(|line| {
                line.split_once(':')
                    .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
            })
            .collect::<Option<_>>()?;
        Some(Self { status, headers })
    }

    /// The first header of this name, in whatever case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self
            .headers
            .iter()
            .find(|(candidate, _)| candidate.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
}

/// Asks what the server can do (`OPTIONS`, RFC 2326 §10.1) and waits at most 30 s for its reply.
///
/// # Errors
/// [`SignalingError`]; [`SignalingError::Unexpected`] if the reply is to no question of ours.
pub async fn rtsp_exchange(session: &mut Session) -> Result<Reply, SignalingError> {
    session
        .send(Message::text("OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n"))
        .await?;
    let message = timeout(EXCHANGE_LIMIT, session.receive_data()).await;
    let message = message.map_err(|_elapsed| SignalingError::Timeout(EXCHANGE_LIMIT))??;
    let Message::Text(text) = message else {
        return Err(SignalingError::Unexpected);
    };
    let reply = Reply::parse(text.as_str()).ok_or(SignalingError::Unexpected)?;
    if reply.header("CSeq") == Some("1") {
        Ok(reply)
    } else {
        Err(SignalingError::Unexpected)
    }
}

const EXCHANGE_LIMIT: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_read() {
        let reply =
            Reply::parse("RTSP/1.0 200 OK\r\nCSeq: 7\r\nPublic: OPTIONS\r\n\r\nbody: no header")
                .unwrap();
        assert_eq!(reply.status, 200);
        assert_eq!(reply.header("cseq"), Some("7"));
        assert_eq!(reply.header("body"), None);
    }

    #[test]
    fn anything_else_is_no_reply() {
        for text in [
            "",
            "RTSP/1.0",
            "HTTP/1.1 200 OK\r\n",
            "RTSP/1.0 fine\r\n",
            "RTSP/1.0 200 OK\r\nno colon\r\n",
        ] {
            assert_eq!(Reply::parse(text), None, "{text:?}");
        }
    }
}
