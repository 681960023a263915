//! Requests over connections that stay open, one under way on each.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use berth_tests::Envoy;
use futures_util::future::{join_all, try_join_all};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use crate::BenchError;

/// What a side takes for one request.
#[derive(Clone, Copy)]
pub(super) struct Cost {
    pub(super) per_second: f64,
    /// Processor time of Envoy's worker, in microseconds.
    pub(super) worker: f64,
}

/// Sends each connection's share of `count` requests, these in turn, and has every one answered with `status`.
///
/// By one thread, which is quicker than any of the sides: what limits them is Envoy's one worker.
pub(super) async fn measure(
    envoy: &Envoy,
    address: SocketAddr,
    requests: &Arc<[Vec<u8>]>,
    count: u32,
    status: u16,
) -> Result<Cost, BenchError> {
    let before = envoy.worker_time()?;
    let requests = Arc::clone(requests);
    let took = spawn_blocking(move || on_one_thread(address, &requests, count, status));
    let took = took.await.map_err(BenchError::Client)??;
    let worker = envoy.worker_time()?.saturating_sub(before);
    let count = f64::from(count);
    Ok(Cost {
        per_second: count / took.as_secs_f64(),
        worker: worker.as_secs_f64() * 1e6 / count,
    })
}

/// The status of the answer to one request.
pub(super) async fn status(address: SocketAddr, request: &[u8]) -> Result<u16, BenchError> {
    let mut connection = Connection::open(address).await?;
    connection.ask(request).await?;
    connection.status().ok_or(NO_ANSWER)
}

fn on_one_thread(
    address: SocketAddr,
    requests: &[Vec<u8>],
    count: u32,
    status: u16,
) -> Result<Duration, BenchError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    runtime.block_on(async {
        let opened = (0..CONNECTIONS).map(|_| Connection::open(address));
        let connections = try_join_all(opened).await?;
        let begun = Instant::now();
        let all = connections.into_iter().enumerate();
        let all = all.map(|(number, connection)| {
            let requests = requests.iter().cycle().skip(number);
            connection.ask_all(requests, count / CONNECTIONS, status)
        });
        for outcome in join_all(all).await {
            outcome?;
        }
        Ok(begun.elapsed())
    })
}

struct Connection {
    stream: TcpStream,
    /// What was read last, and how long a whole answer is once one has been seen: all to the same request are.
    answer: Vec<u8>,
    length: Option<usize>,
}

impl Connection {
    async fn open(address: SocketAddr) -> Result<Self, BenchError> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            answer: Vec::new(),
            length: None,
        })
    }

    async fn ask_all<'a>(
        mut self,
        requests: impl Iterator<Item = &'a Vec<u8>>,
        count: u32,
        status: u16,
    ) -> Result<(), BenchError> {
        for (request, _) in requests.zip(0..count) {
            self.ask(request).await?;
            let seen = self.status().ok_or(NO_ANSWER)?;
            if seen != status {
                return Err(BenchError::Status(seen));
            }
        }
        Ok(())
    }

    async fn ask(&mut self, request: &[u8]) -> Result<(), BenchError> {
        self.stream.write_all(request).await?;
        self.answer.clear();
        loop {
            if self.stream.read_buf(&mut self.answer).await? == 0 {
                return Err(NO_ANSWER);
            }
            if self.length.is_none() {
                self.length = whole(&self.answer);
            }
            if self
                .length
                .is_some_and(|length| self.answer.len() >= length)
            {
                return Ok(());
            }
        }
    }

    fn status(&self) -> Option<u16> {
        let digits = self.answer.strip_prefix(b"HTTP/1.1 ")?.get(..3)?;
        std::str::from_utf8(digits).ok()?.parse().ok()
    }
}

/// The length of an answer whose head is there.
fn whole(answer: &[u8]) -> Option<usize> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut head = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(body_at) = head.parse(answer).ok()? else {
        return None;
    };
    let mut headers = head.headers.iter();
    let length = headers.find(|header| header.name.eq_ignore_ascii_case("content-length"))?;
    let length: usize = std::str::from_utf8(length.value).ok()?.parse().ok()?;
    Some(body_at + length)
}

const NO_ANSWER: BenchError = BenchError::Side("a proxy that does not answer");
/// Enough to keep one worker busy.
const CONNECTIONS: u32 = 16;
const MAX_HEADERS: usize = 32;
