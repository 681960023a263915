//! A session through the five steps of a CloudXR connection, as NVIDIA counts them.

use std::sync::Arc;

use berth_client::signaling::Signal;
use berth_client::{
    ConnectError, Connection, Departure, Family, Session, Target, rtsp_exchange, signaling_exchange,
};
use berth_runtime_emulator::{Emulator, How, SessionRecord, Stage};
use berth_tests::{Algorithm, Error, Instance, Seen, World, wait_until};
use x509_parser::parse_x509_certificate;

use crate::SOON;
use crate::failure::{Failure, Problem, expect};

/// Who walks.
pub(crate) struct Walker {
    title: &'static str,
    family: Family,
    pool: &'static str,
    subject: &'static str,
    algorithm: Algorithm,
    carrier: &'static str,
    last_stage: Stage,
}

/// As CloudXR.js does: no headers, so the token is in the query.
pub(crate) const WEB: Walker = Walker {
    title: "A web session (CloudXR.js)",
    family: Family::Web,
    pool: "web",
    subject: "wendy",
    algorithm: Algorithm::Rs256,
    carrier: "in the query",
    last_stage: Stage::Answered,
};

/// As a CloudXR Framework app does.
pub(crate) const NATIVE: Walker = Walker {
    title: "A native session (CloudXR Framework)",
    family: Family::Native,
    pool: "native",
    subject: "nathan",
    algorithm: Algorithm::Es256,
    carrier: "in the Authorization header",
    last_stage: Stage::Introduced,
};

/// Where a session ended up.
struct Place {
    instance: Instance,
    emulator: Arc<Emulator>,
}

/// Walks one session from its connection to its end.
pub(crate) async fn walk(world: &World, walker: &Walker) -> Result<(), Failure> {
    println!("\n{}", walker.title);
    let at =
        |step| move |problem| Failure::at(format!("{} session, step {step}", walker.pool), problem);
    let (target, token) = target(world, walker).map_err(at(CONNECTED))?;
    let connection = connected(&target).await.map_err(at(CONNECTED))?;
    let mut session = match connection.upgrade().await {
        Ok(session) => session,
        Err(error) => {
            let unauthenticated = matches!(
                error,
                ConnectError::Refused {
                    status: 401 | 403,
                    ..
                }
            );
            let step = if unauthenticated {
                AUTHENTICATED
            } else {
                PLACED
            };
            return Err(at(step)(error.into()));
        }
    };
    let name = authenticated(world, walker)
        .await
        .map_err(at(AUTHENTICATED))?;
    let place = placed(world, &name, &token).await.map_err(at(PLACED))?;
    signaling(&mut session, walker, &place)
        .await
        .map_err(at(SIGNALING))?;
    closed(world, session, &place).await.map_err(at(CLOSED))
}

/// What the walker asks for, and its token.
fn target(world: &World, walker: &Walker) -> Result<(Target, String), Problem> {
    let token = world
        .token()
        .algorithm(walker.algorithm)
        .subject(walker.subject);
    let mut client = world.client(walker.pool)?.token(token.clone());
    if walker.family == Family::Web {
        client = client
            .query("client_type", "6")
            .subprotocol("x-nv-sessionid.demo");
    }
    Ok((client.target()?, token.sign().map_err(Error::from)?))
}

async fn connected(target: &Target) -> Result<Connection, Problem> {
    let connection = Connection::open(target).await?;
    let tls = connection.tls();
    let certificate = tls.as_ref().and_then(|tls| tls.certificate.as_ref());
    let (Some(tls), Some(certificate)) = (&tls, certificate) else {
        return Err(unexpected("TLS and a certificate", "neither"));
    };
    let (_, parsed) = parse_x509_certificate(certificate)
        .map_err(|error| unexpected("a certificate", &error.to_string()))?;
    // The client has checked it: there is no connection where it does not chain up to the CA or names another host.
    say(
        CONNECTED,
        &format!(
            "to {} by {}; its certificate for {} validates, issued by {}",
            connection.peer_address()?,
            tls.version,
            target.host(),
            parsed.issuer(),
        ),
    );
    Ok(connection)
}

/// Only the token names the subject, so the control plane knows it from a filter that has verified the token.
/// Answers the instance's name.
async fn authenticated(world: &World, walker: &Walker) -> Result<String, Problem> {
    let sessions = world.berth().sessions().await?;
    let session = sessions
        .iter()
        .find(|session| session.subject == walker.subject);
    let listed = session.and_then(|session| Some((session, session.instance.clone()?)));
    let Some((session, instance)) = listed else {
        return Err(unexpected(
            "a session of the token's subject",
            &format!("{sessions:?}"),
        ));
    };
    say(
        AUTHENTICATED,
        &format!(
            "as {} by an {} token {}; session {}",
            session.subject,
            walker.algorithm.name(),
            walker.carrier,
            session.id
        ),
    );
    Ok(instance)
}

async fn placed(world: &World, name: &str, token: &str) -> Result<Place, Problem> {
    let emulator = world.instance(name)?;
    emulator.wait_for(SOON, |ledger| ledger.live() == 1).await?;
    let (instance, fence) = wait_until("the lease to be active", SOON, async || {
        let instance = world.berth().instance(name).await?;
        Ok(match &instance.lease {
            Some(lease) if lease.state == "active" => {
                let fence = lease.fence.clone();
                Seen::Yes((instance, fence))
            }
            _ => Seen::NotYet(format!("{instance:?}")),
        })
    })
    .await?;
    let record = record(&emulator)?;
    if format!("{record:?}").contains(token) {
        return Err(unexpected("an instance that sees no token", "the token"));
    }
    say(
        PLACED,
        &format!(
            "{name} at {}, lease active with fence {fence}; it was asked for {} and saw no token",
            instance.address, record.path_and_query
        ),
    );
    Ok(Place { instance, emulator })
}

async fn signaling(session: &mut Session, walker: &Walker, place: &Place) -> Result<(), Problem> {
    let seen = match walker.family {
        Family::Web => {
            let exchange = signaling_exchange(session).await?;
            let offer = exchange
                .offer
                .ok_or_else(|| unexpected("an offer", "none"))?;
            heartbeat(session).await?;
            format!(
                "offer of {} bytes, {} candidates, our answer acknowledged, a heartbeat",
                offer.len(),
                exchange.candidates.len()
            )
        }
        Family::Native => {
            let reply = rtsp_exchange(session).await?;
            expect("RTSP status", &reply.status, &200)?;
            format!(
                "RTSP OPTIONS answered {}: {}",
                reply.status,
                reply.header("public").unwrap_or("-")
            )
        }
    };
    let reached = |record: &SessionRecord| record.is_live() && record.stage == walker.last_stage;
    place
        .emulator
        .wait_for(SOON, |ledger| ledger.records().last().is_some_and(reached))
        .await?;
    say(SIGNALING, &seen);
    Ok(())
}

async fn heartbeat(session: &mut Session) -> Result<(), Problem> {
    loop {
        let message = session.receive_data().await?;
        let signal = message.to_text().ok().and_then(Signal::parse);
        if let Some(Signal::Heartbeat { .. }) = signal {
            return Ok(());
        }
    }
}

async fn closed(world: &World, session: Session, place: &Place) -> Result<(), Problem> {
    let Place { instance, emulator } = place;
    let code = Some(NORMAL_CLOSURE);
    let departure = session.close(NORMAL_CLOSURE, "").await?;
    expect(
        "the answer",
        &departure,
        &Departure::Close {
            code,
            reason: String::new(),
        },
    )?;
    emulator.wait_for(SOON, |ledger| ledger.live() == 0).await?;
    let how = record(emulator)?.how().cloned();
    expect(
        "the record",
        &how,
        &Some(How::ClientClose {
            code,
            reason: String::new(),
        }),
    )?;
    world.berth().wait_until_free(&instance.name, SOON).await?;
    say(
        CLOSED,
        &format!(
            "with code {NORMAL_CLOSURE} on both sides; {} is free again",
            instance.name
        ),
    );
    Ok(())
}

fn record(emulator: &Emulator) -> Result<SessionRecord, Problem> {
    let last = emulator.records().pop();
    last.ok_or_else(|| unexpected("a record of the session", "none"))
}

fn unexpected(expected: &str, seen: &str) -> Problem {
    Problem::Unexpected {
        expected: expected.to_owned(),
        seen: seen.to_owned(),
    }
}

fn say(step: &str, seen: &str) {
    println!("  {step:<26} {seen}");
}

const CONNECTED: &str = "1 connected over WSS";
const AUTHENTICATED: &str = "2 authenticated";
const PLACED: &str = "3 instance connected";
const SIGNALING: &str = "4 signaling exchanged";
const CLOSED: &str = "5 closed";

/// RFC 6455 §7.4.1.
const NORMAL_CLOSURE: u16 = 1000;
