//! WebSockets over HTTP/2, from a server of the test's own.

use std::net::SocketAddr;

use berth_client::{
    ConnectError, Departure, HandshakeFault, Http2, Message, SessionError, Target, connect, get,
};
use berth_runtime_emulator::{Emulator, EmulatorConfig, Family};
use h2::ext::Protocol;
use h2::server::{Builder, SendResponse};
use h2::{Reason, RecvStream};
use hyper::body::Bytes;
use hyper::{HeaderMap, Method, Request, Response};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::tls::Terminator;

/// What the server does with a request for a WebSocket.
#[derive(Clone, Copy)]
enum Answer {
    /// Sends back the first frame as it came, then ends as told.
    Echo(End),
    Refuse,
    /// With this subprotocol.
    Accept(&'static str),
    Reset,
}

#[derive(Clone, Copy)]
enum End {
    InOrder,
    Reset,
}

/// Ends with its tasks.
struct Server {
    address: SocketAddr,
    _tasks: JoinSet<()>,
}

impl Server {
    async fn start(takes_websockets: bool, answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut settings = Builder::new();
            if takes_websockets {
                settings.enable_connect_protocol();
            }
            let mut streams = JoinSet::new();
            loop {
                let (tcp, _) = listener.accept().await.unwrap();
                let mut connection = settings.handshake(tcp).await.unwrap();
                while let Some(Ok((request, response))) = connection.accept().await {
                    streams.spawn(serve(request, response, answer));
                }
            }
        });
        Self {
            address,
            _tasks: tasks,
        }
    }

    fn target(&self) -> Target {
        let url = format!("ws://{}/sign_in?a=b", self.address);
        Target::new(&url).unwrap().http2()
    }
}

async fn serve(request: Request<RecvStream>, mut response: SendResponse<Bytes>, answer: Answer) {
    assert_eq!(request.uri().path_and_query().unwrap(), "/sign_in?a=b");
    let headers = request.headers();
    let has = |name: &str| headers.contains_key(name);
    assert!(!has("sec-websocket-key") && !has("upgrade") && !has("connection") && !has("host"));
    let with = |status: u16| Response::builder().status(status);
    if request.method() == Method::GET {
        let head = with(200).body(()).unwrap();
        let mut body = response.send_response(head, false).unwrap();
        return body.send_data("verdict".into(), true).unwrap();
    }
    let protocol = request.extensions().get::<Protocol>();
    assert_eq!(protocol.map(Protocol::as_str), Some("websocket"));
    assert_eq!(headers["sec-websocket-version"], "13");
    match answer {
        Answer::Echo(end) => {
            let mut receiving = request.into_body();
            let head = with(200).body(()).unwrap();
            let mut sending = response.send_response(head, false).unwrap();
            let frame = receiving.data().await.unwrap().unwrap();
            // A server does not mask (RFC 6455 §5.1).
            let [first, length, mask @ .., a, b] = &*frame else {
                panic!("{frame:?}");
            };
            let hidden = [a ^ mask[0], b ^ mask[1]];
            let echo = [*first, length & 0x7f, hidden[0], hidden[1]];
            sending
                .send_data(echo.to_vec().into(), matches!(end, End::InOrder))
                .unwrap();
            if let End::Reset = end {
                // Once it was read.
                while let Some(Ok(_)) = receiving.data().await {
                    sending.send_reset(Reason::CONNECT_ERROR);
                }
            }
        }
        Answer::Refuse => {
            let head = with(503)
                .header("x-berth-reason", "no_instance")
                .header("retry-after", "7");
            let head = head.body(()).unwrap();
            let mut body = response.send_response(head, false).unwrap();
            body.send_data("no".into(), true).unwrap();
        }
        Answer::Accept(subprotocol) => {
            let head = with(200).header("sec-websocket-protocol", subprotocol);
            drop(response.send_response(head.body(()).unwrap(), false));
        }
        Answer::Reset => response.send_reset(Reason::REFUSED_STREAM),
    }
}

#[tokio::test]
async fn sessions_share_a_connection_and_end_alone() {
    for (end, expected) in [
        (End::InOrder, Departure::Fin),
        (End::Reset, Departure::Reset),
    ] {
        let server = Server::start(true, Answer::Echo(end)).await;
        let target = server.target();
        let connection = Http2::open(&target).await.unwrap();
        let mut other = connection.upgrade(&target).await.unwrap();
        let mut session = connection.upgrade(&target).await.unwrap();
        assert_eq!(connection.get(&target).await.unwrap().body, "verdict");
        session.send(Message::text("hi")).await.unwrap();
        assert_eq!(session.receive_data().await.unwrap(), Message::text("hi"));
        let _unless_it_ended = session.send(Message::text("ho")).await;
        assert_eq!(session.departure().await.unwrap(), expected);
        drop(session);
        other.send(Message::text("yo")).await.unwrap();
        assert_eq!(other.receive_data().await.unwrap(), Message::text("yo"));
        connection.abort();
        let over = other.receive().await.unwrap_err();
        assert!(matches!(over, SessionError::Ended(_)), "{over:?}");
    }
}

#[tokio::test]
async fn what_is_no_session_is_told_apart() {
    let refused = |error: &ConnectError| {
        let ConnectError::Refused {
            status,
            reason,
            retry_after,
            body,
            ..
        } = error
        else {
            return false;
        };
        (*status, reason.as_deref(), *retry_after, body.as_str())
            == (503, Some("no_instance"), Some(7), "no")
    };
    type Case = (bool, Answer, fn(&ConnectError) -> bool);
    let cases: [Case; 4] = [
        (true, Answer::Refuse, refused),
        (true, Answer::Accept("b"), |error| {
            matches!(
                error,
                ConnectError::Handshake(HandshakeFault::UnofferedSubprotocol)
            )
        }),
        (
            true,
            Answer::Reset,
            |error| matches!(error, ConnectError::Http2(error) if error.reason() == Some(Reason::REFUSED_STREAM)),
        ),
        (false, Answer::Refuse, |error| {
            matches!(error, ConnectError::NoWebSockets)
        }),
    ];
    for (takes_websockets, answer, expected) in cases {
        let server = Server::start(takes_websockets, answer).await;
        let target = server.target().subprotocol("a").unwrap();
        let error = connect(&target).await.unwrap_err();
        assert!(expected(&error), "{error:?}");
        // A verdict needs no WebSockets.
        let verdict = get(&target).await.unwrap();
        assert_eq!((verdict.status, verdict.body.as_str()), (200, "verdict"));
        assert_eq!(verdict.headers, HeaderMap::new());
    }
}

#[tokio::test]
async fn http2_has_to_be_agreed_on() {
    let emulator = Emulator::start(EmulatorConfig::default()).await.unwrap();
    let terminator = Terminator::start(emulator.address(Family::Web)).await;
    let url = format!("wss://localhost:{}/sign_in", terminator.address.port());
    let target = Target::new(&url)
        .unwrap()
        .ca_file(terminator.ca.path())
        .unwrap();
    let target = target.connect_to(terminator.address).http2();
    let error = connect(&target).await.unwrap_err();
    assert!(matches!(error, ConnectError::NoHttp2), "{error:?}");
}
