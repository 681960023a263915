//! Tokens that the proxy cannot check: they go to the control plane with the question for an instance.

use std::iter;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use berth_client::Family;
use berth_tests::raw::{Connection, Dial};
use berth_tests::{AUDIENCE, ISSUER, Ports, World, berth};
use futures_util::future::try_join_all;
use serde_json::Value;
use tokio::process::Command;
use tokio::time::Instant;

use crate::BenchError;
use crate::beside::{self, Filters};
use crate::figure::Figure;

pub(super) async fn run() -> Result<Vec<Figure>, BenchError> {
    println!(
        "admission, through the server: a GET for a verdict, {CONNECTIONS} at once over TLS connections that stay. Berth asks\n\
         its control plane, which checks the signature and says whether an instance could be had; jwt_authn checks it\n\
         itself and sends the request to an instance. {ROUNDS} rounds of {REQUESTS} requests a side, in turn."
    );
    let folder = tempfile::tempdir()?;
    let mut keys = Vec::new();
    for algorithm in ALGORITHMS {
        keys.push(new_key(folder.path(), algorithm).await?);
    }
    let world = World::builder()
        .pool("web", Family::Web, |pool| {
            let pool = pool.instances(2);
            pool.probe(Duration::from_secs(30), 1, 3)
        })
        .more_keys(keys)
        .envoy_workers(1)
        .start()
        .await?;
    let mut ports = Ports::new();
    let [native] = beside::add(&world, &mut ports, [Filters::JwtAuthn]).await?;
    let mut all = Vec::new();
    let undecided = async || {
        let count = world.envoy(0)?.stat(UNDECIDED).await?;
        Ok::<_, BenchError>(count.unwrap_or_default())
    };
    for algorithm in ALGORITHMS {
        let before = undecided().await?;
        let request = |token: &str| {
            format!("GET /sign_in?token={token} HTTP/1.1\r\nhost: localhost\r\n\r\n").into_bytes()
        };
        let token = token(folder.path(), algorithm).await?;
        let good = request(&token);
        let altered = request(&altered(&token));
        let mut sides = Vec::new();
        for address in [world.https(), native] {
            sides.push(Side::open(&world, address, &good, &altered).await?);
        }
        let [berth, native] = sides.as_mut_slice() else {
            return Err(BenchError::Configuration("two sides"));
        };
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for round in 0..=ROUNDS {
            let rates = if round % 2 == 0 {
                let ours = berth.measure(&good).await?;
                (ours, native.measure(&good).await?)
            } else {
                let theirs = native.measure(&good).await?;
                (berth.measure(&good).await?, theirs)
            };
            // The first round warms everything up.
            if round > 0 {
                ours.push(rates.0);
                theirs.push(rates.1);
            }
        }
        // Nothing of it was remembered, or decided in the proxy.
        if undecided().await? - before < u64::from(REQUESTS) * ROUNDS as u64 {
            return Err(BenchError::Side("a filter that should have asked"));
        }
        let ratios = iter::zip(&ours, &theirs).map(|(ours, theirs)| ours / theirs);
        let name = |side: &str| format!("through the server, {algorithm}: {side}");
        all.extend([
            Figure::higher(name("Berth to jwt_authn"), "x", &ratios.collect::<Vec<_>>()),
            Figure::higher(name("Berth"), "/s", &ours),
            Figure::higher(name("jwt_authn"), "/s", &theirs),
        ]);
    }
    Ok(all)
}

struct Side {
    connections: Vec<Connection>,
    /// What answers a good token.
    status: u16,
}

impl Side {
    /// Whoever listens there has to tell a good token from one that was altered.
    async fn open(
        world: &World,
        address: SocketAddr,
        good: &[u8],
        altered: &[u8],
    ) -> Result<Self, BenchError> {
        let dial = Dial::new(address, world.ca_file());
        let opened = (0..CONNECTIONS).map(|_| dial.open(SOON));
        let mut connections = try_join_all(opened).await?;
        let mut statuses = Vec::new();
        for (connection, request) in connections.iter_mut().zip([good, altered]) {
            statuses.push(ask(connection, request).await?);
        }
        match *statuses.as_slice() {
            [status, refused] if status != refused && refused >= 400 => Ok(Self {
                connections,
                status,
            }),
            _ => Err(BenchError::Side("a side that does not look at tokens")),
        }
    }

    /// Requests a second.
    async fn measure(&mut self, request: &[u8]) -> Result<f64, BenchError> {
        let status = self.status;
        let begun = Instant::now();
        let asked = self.connections.iter_mut().map(async |connection| {
            for _ in 0..REQUESTS / CONNECTIONS {
                let seen = ask(connection, request).await?;
                if seen != status {
                    return Err(BenchError::Status(seen));
                }
            }
            Ok(())
        });
        try_join_all(asked).await?;
        Ok(f64::from(REQUESTS) / begun.elapsed().as_secs_f64())
    }
}

async fn ask(connection: &mut Connection, request: &[u8]) -> Result<u16, BenchError> {
    connection.write(request).await?;
    Ok(connection.answer(SOON).await?.status)
}

/// The same token with another first character of its signature.
fn altered(token: &str) -> String {
    let (message, signature) = token.rsplit_once('.').unwrap_or_default();
    let mut rest = signature.chars();
    let first = if rest.next() == Some('A') { 'B' } else { 'A' };
    format!("{message}.{first}{}", rest.as_str())
}

/// Makes a key of this algorithm's name, and says what the issuer publishes of it.
async fn new_key(folder: &Path, algorithm: &str) -> Result<Value, BenchError> {
    let (key, set) = (format!("{algorithm}.key"), format!("{algorithm}.json"));
    let files = ["--key-out", &key, "--jwks-out", &set];
    let make = ["--new-key", algorithm, "--kid", algorithm];
    berth_token(folder, &[&make[..], &files].concat()).await?;
    let set: Value = serde_json::from_slice(&std::fs::read(folder.join(set))?)?;
    let key = set.pointer("/keys/0").cloned();
    key.ok_or(BenchError::Configuration("key"))
}

async fn token(folder: &Path, algorithm: &str) -> Result<String, BenchError> {
    let key = format!("{algorithm}.key");
    let how = ["--key", &key, "--algorithm", algorithm, "--kid", algorithm];
    let whom = [
        "--issuer",
        ISSUER,
        "--audience",
        AUDIENCE,
        "--subject",
        "alice",
    ];
    let what = ["--claim", r#"pools=["web"]"#];
    let token = berth_token(folder, &[&how[..], &whom, &what].concat()).await?;
    Ok(token.trim_end().to_owned())
}

async fn berth_token(folder: &Path, arguments: &[&str]) -> Result<String, BenchError> {
    let mut command = Command::new(berth()?);
    command.arg("token").args(arguments).current_dir(folder);
    let output = command.output().await?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(BenchError::Side("`berth token`, which signs what"))
    }
}

/// What Envoy's own function for signatures does not compute.
const ALGORITHMS: [&str; 2] = ["PS256", "EdDSA"];
/// Counts what the filter left to the control plane.
const UNDECIDED: &str = "wasmcustom.berth.admission.undecided";
const CONNECTIONS: u32 = 8;
const ROUNDS: usize = 10;
const REQUESTS: u32 = 2_000;
const SOON: Duration = Duration::from_secs(20);
