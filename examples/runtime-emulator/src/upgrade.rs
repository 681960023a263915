//! The HTTP request that asks for a WebSocket, by hand rather than by an HTTP server: some faults are
//! about the socket underneath.

use std::io;

use berth_client::Family;
use hyper::header::{
    ALLOW, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, SEC_WEBSOCKET_PROTOCOL, UPGRADE,
};
use hyper::{HeaderMap, Response, StatusCode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::handshake::machine::TryParse as _;
use tokio_tungstenite::tungstenite::handshake::server::{Request, create_response, write_response};

use crate::config::Subprotocol;
use crate::socket::Socket;

/// An upgrade request that may be granted.
#[derive(Debug)]
pub(crate) struct Upgrade {
    pub(crate) request: Request,
    /// The 101.
    pub(crate) response: Response<()>,
    /// What the client sent after its request without waiting for the answer.
    pub(crate) early_bytes: Vec<u8>,
}

/// Why a connection does not become a session.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoUpgrade {
    /// The client is to be told.
    #[error("{status}: {message}")]
    Refuse {
        status: StatusCode,
        message: &'static str,
    },
    /// There is nobody to tell.
    #[error("network: {0}")]
    Io(#[from] io::Error),
}

/// Reads a request and checks that it asks for the family's WebSocket.
pub(crate) async fn read_upgrade(
    socket: &mut Socket,
    family: Family,
    subprotocol: Subprotocol,
) -> Result<Upgrade, NoUpgrade> {
    let mut bytes = Vec::new();
    let (request, length) = loop {
        match Request::try_parse(&bytes) {
            Ok(Some((length, request))) => break (request, length),
            Ok(None) if bytes.len() < HEAD_LIMIT => {}
            Ok(None) => {
                return Err(refuse(
                    StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                    "too much of a request",
                ));
            }
            Err(error) => return Err(unreadable(family, &error)),
        }
        if socket.read_buf(&mut bytes).await? == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
    };
    let response = judge(family, subprotocol, &request)?;
    let early_bytes = bytes.split_off(length);
    Ok(Upgrade {
        request,
        response,
        early_bytes,
    })
}

/// What a runtime answers to a request.
fn judge(
    family: Family,
    subprotocol: Subprotocol,
    request: &Request,
) -> Result<Response<()>, NoUpgrade> {
    let response = create_response(request);
    let asks_for_upgrade = !matches!(
        response,
        Err(Error::Protocol(
            ProtocolError::MissingConnectionUpgradeHeader
                | ProtocolError::MissingUpgradeWebSocketHeader
        ))
    );
    if !asks_for_upgrade && family == Family::Native {
        return Err(refuse(
            StatusCode::NOT_IMPLEMENTED,
            "this port takes RTSP over WebSocket",
        ));
    }
    if request.uri().path() != path(family) {
        return Err(refuse(StatusCode::NOT_FOUND, "no such path"));
    }
    if !asks_for_upgrade {
        return Err(refuse(
            StatusCode::UPGRADE_REQUIRED,
            "this path takes WebSockets",
        ));
    }
    let Ok(mut response) = response else {
        return Err(refuse(StatusCode::BAD_REQUEST, "not a WebSocket handshake"));
    };
    if let Some(selected) = select(subprotocol, request.headers()) {
        response
            .headers_mut()
            .insert(SEC_WEBSOCKET_PROTOCOL, selected);
    }
    Ok(response)
}

fn unreadable(family: Family, error: &Error) -> NoUpgrade {
    match (family, error) {
        (Family::Native, _) => refuse(
            StatusCode::NOT_IMPLEMENTED,
            "this port takes RTSP over WebSocket",
        ),
        (Family::Web, Error::Protocol(ProtocolError::WrongHttpMethod)) => {
            refuse(StatusCode::METHOD_NOT_ALLOWED, "only GET")
        }
        (Family::Web, _) => refuse(StatusCode::BAD_REQUEST, "not an HTTP/1.1 request"),
    }
}

fn select(subprotocol: Subprotocol, headers: &HeaderMap) -> Option<HeaderValue> {
    match subprotocol {
        Subprotocol::None => None,
        Subprotocol::FirstOffered => {
            let offer = headers.get(SEC_WEBSOCKET_PROTOCOL)?.as_bytes();
            let first = offer.split(|byte| *byte == b',').next()?.trim_ascii();
            HeaderValue::from_bytes(first).ok()
        }
    }
}

const fn path(family: Family) -> &'static str {
    match family {
        Family::Native => "/rtsp",
        Family::Web => "/sign_in",
    }
}

pub(crate) const fn refuse(status: StatusCode, message: &'static str) -> NoUpgrade {
    NoUpgrade::Refuse { status, message }
}

/// Sends the 101.
pub(crate) async fn grant(socket: &mut Socket, response: &Response<()>) -> io::Result<()> {
    socket.write_all(&head(response)?).await
}

/// Tells the client no, and ends the connection in order.
pub(crate) async fn turn_away(
    mut socket: Socket,
    status: StatusCode,
    message: &'static str,
) -> io::Result<()> {
    let mut response = Response::new(());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(message.len()));
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    match status {
        StatusCode::METHOD_NOT_ALLOWED => {
            headers.insert(ALLOW, HeaderValue::from_static("GET"));
        }
        StatusCode::UPGRADE_REQUIRED => {
            headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        }
        _ => {}
    }
    let mut bytes = head(&response)?;
    bytes.extend_from_slice(message.as_bytes());
    socket.write_all(&bytes).await?;
    socket.finish().await;
    Ok(())
}

fn head(response: &Response<()>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    write_response(&mut bytes, response).map_err(io::Error::other)?;
    Ok(bytes)
}

/// More than any proxy lets through.
const HEAD_LIMIT: usize = 128 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(request: &str) -> Request {
        Request::try_parse(request.as_bytes()).unwrap().unwrap().1
    }

    fn upgrade(path: &str, headers: &str) -> Request {
        parse(&format!(
            "GET {path} HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
        ))
    }

    #[test]
    fn requests_are_judged() {
        let v13 = "Sec-WebSocket-Version: 13\r\n";
        let cases = [
            (Family::Web, upgrade("/sign_in?peer_id=a", v13), 101),
            (Family::Web, upgrade("/sign_in", v13), 101),
            (Family::Native, upgrade("/rtsp", v13), 101),
            (
                Family::Web,
                upgrade("/sign_in", "Sec-WebSocket-Version: 8\r\n"),
                400,
            ),
            (Family::Web, upgrade("/sign_in", ""), 400),
            (Family::Web, upgrade("/rtsp", v13), 404),
            (Family::Web, upgrade("/pool/sign_in", v13), 404),
            (Family::Native, upgrade("/sign_in", v13), 404),
            (Family::Web, parse("GET /sign_in HTTP/1.1\r\n\r\n"), 426),
            (Family::Web, parse("GET / HTTP/1.1\r\n\r\n"), 404),
            (Family::Native, parse("GET /rtsp HTTP/1.1\r\n\r\n"), 501),
            (Family::Native, parse("GET / HTTP/1.1\r\n\r\n"), 501),
        ];
        for (family, request, expected) in cases {
            let status = match judge(family, Subprotocol::None, &request) {
                Ok(response) => response.status(),
                Err(NoUpgrade::Refuse { status, .. }) => status,
                Err(NoUpgrade::Io(error)) => panic!("{error}"),
            };
            assert_eq!(status.as_u16(), expected, "{family} {}", request.uri());
        }
    }

    #[test]
    fn a_subprotocol_is_selected_as_configured() {
        let cases = [
            (
                Subprotocol::FirstOffered,
                "Sec-WebSocket-Protocol: x-nv-sessionid.1, other\r\n",
                Some("x-nv-sessionid.1"),
            ),
            (Subprotocol::FirstOffered, "", None),
            (
                Subprotocol::None,
                "Sec-WebSocket-Protocol: x-nv-sessionid.1\r\n",
                None,
            ),
        ];
        for (subprotocol, headers, expected) in cases {
            let request = upgrade(
                "/sign_in",
                &format!("Sec-WebSocket-Version: 13\r\n{headers}"),
            );
            let response = judge(Family::Web, subprotocol, &request).unwrap();
            let selected = response
                .headers()
                .get(SEC_WEBSOCKET_PROTOCOL)
                .map(|value| value.to_str().unwrap());
            assert_eq!(selected, expected, "{subprotocol:?} {headers}");
        }
    }
}
