//! Who is not let in, and what that client is told.

use berth_client::{Response, Session};
use berth_tests::{ClientBuilder, World};

use crate::SOON;
use crate::failure::{Failure, Problem, expect};

/// A client that is refused.
struct Refusal {
    who: &'static str,
    client: ClientBuilder,
    status: u16,
    reason: &'static str,
}

/// Shows four refusals, none of which an instance notices.
pub(crate) async fn refusals(world: &World) -> Result<(), Failure> {
    println!("\nRefusals");
    let preparing = |problem| Failure::at("preparing the refusals", problem);
    let everyone_free = by_credential(world).map_err(preparing)?;
    for refusal in everyone_free {
        show(world, refusal).await?;
    }
    let holders = fill(world).await.map_err(preparing)?;
    let latecomer = Refusal {
        who: "no instance free",
        client: world
            .client("web")
            .map_err(|error| preparing(error.into()))?,
        status: 503,
        reason: "no_instance",
    };
    show(world, latecomer).await?;
    leave(world, holders)
        .await
        .map_err(|problem| Failure::at("making room again", problem))?;
    Ok(())
}

fn by_credential(world: &World) -> Result<[Refusal; 3], Problem> {
    let client = || world.client("web");
    Ok([
        Refusal {
            who: "no token",
            client: client()?.without_token(),
            status: 401,
            reason: "no_token",
        },
        Refusal {
            who: "expired token",
            client: client()?.token(world.token().subject("late").expired()),
            status: 401,
            reason: "token_expired",
        },
        Refusal {
            who: "token for another pool",
            client: client()?.token(world.token().subject("astray").pools(["native"])),
            status: 403,
            reason: "pool_forbidden",
        },
    ])
}

/// A session on every instance of the pool, each of another user.
async fn fill(world: &World) -> Result<Vec<Session>, Problem> {
    let mut holders = Vec::new();
    for instance in world.berth().instances().await? {
        if instance.pool == "web" {
            holders.push(world.client("web")?.connect().await?);
        }
    }
    Ok(holders)
}

async fn leave(world: &World, holders: Vec<Session>) -> Result<(), Problem> {
    for session in holders {
        session.close(NORMAL_CLOSURE, "").await?;
    }
    for instance in world.berth().instances().await? {
        world.berth().wait_until_free(&instance.name, SOON).await?;
    }
    Ok(())
}

async fn show(world: &World, refusal: Refusal) -> Result<(), Failure> {
    let Refusal {
        who,
        client,
        status,
        reason,
    } = refusal;
    let refused = async {
        let before = noticed(world);
        let response = client.refusal().await?;
        expect("status", &response.status, &status)?;
        expect("reason", &response.reason(), &Some(reason))?;
        expect(
            "Retry-After present",
            &response.retry_after().is_some(),
            &(status == 503),
        )?;
        expect("requests at instances", &noticed(world), &before)?;
        Ok::<Response, Problem>(response)
    };
    let response = refused
        .await
        .map_err(|problem| Failure::at(format!("refusal, {who}"), problem))?;
    let later = response
        .retry_after()
        .map(|seconds| format!("; Retry-After: {seconds}"));
    println!("  {who:<26} {status} {reason}{}", later.unwrap_or_default());
    Ok(())
}

/// Upgrade requests that instances have seen.
fn noticed(world: &World) -> u64 {
    world
        .instances()
        .iter()
        .map(|instance| instance.requests())
        .sum()
}

/// RFC 6455 §7.4.1.
const NORMAL_CLOSURE: u16 = 1000;
