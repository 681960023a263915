use crate::credential::{self, Agreed};
use crate::jwt::{Claims, Token};
use crate::label::Asked;
use crate::path::Target;
use crate::subprotocol::Offer;
use crate::{
    Admission, Family, Kind, Owner, Policy, Reason, Request, UnixSeconds, UpstreamEdits, Verdict,
    VerifySignature,
};

/// Decides whether `request` may open a session, as whom, and in which pool.
///
/// `now` is the wall clock's time; `verifier` does the arithmetic of signatures. The order of the
/// checks is part of the answer, and stands in this crate's README.
pub fn admit(
    policy: &Policy,
    request: &Request<'_>,
    now: UnixSeconds,
    verifier: &impl VerifySignature,
) -> Verdict {
    match decide(policy, request, now, verifier) {
        Ok(admission) => Verdict::Admit(Box::new(admission)),
        Err(reason) => Verdict::Refuse(reason),
    }
}

fn decide(
    policy: &Policy,
    request: &Request<'_>,
    now: UnixSeconds,
    verifier: &impl VerifySignature,
) -> Result<Admission, Reason> {
    let target = Target::parse(request.path).ok_or(Reason::NotFound)?;
    if request.method != b"GET" {
        return Err(Reason::MethodNotAllowed);
    }
    let mut labels = Asked::of(policy.labels());
    let path = target.edit_query(policy.query_parameter(), &mut labels);
    for (name, value) in request.labels {
        labels.header(name, value);
    }
    let offer = request
        .sec_websocket_protocol
        .map_or_else(Offer::nothing, Offer::parse);

    let mut resume_key = path.resume_key;
    resume_key.add(request.resume_key.unwrap_or_default().into());
    let resume_key = credential::resume_key(resume_key)?;
    let labels = labels.agreed()?;

    let token = match credential::bearer(request.authorization.unwrap_or_default())
        .and(path.token)
        .and(offer.token)
    {
        Agreed::Nothing => return Err(Reason::NoToken),
        Agreed::One(token) => token,
        Agreed::Disagreed => return Err(Reason::MalformedToken),
    };
    let token = Token::parse(&token)?;
    let issuer = policy
        .issuer(token.claimed_issuer()?)
        .ok_or(Reason::WrongIssuer)?;
    let claims = token.verify(issuer, verifier)?;

    let expires_at = claims.check(issuer, now)?;
    let subject = claims.subject()?.to_owned();
    let tenant = policy
        .tenant_claim()
        .map_or(Ok(None), |claim| claims.name(claim))?
        .unwrap_or_default()
        .to_owned();
    let priority = policy
        .priority_claim()
        .map_or(Ok(None), |claim| claims.priority(claim))?
        .unwrap_or_default();
    let pool = choose_pool(policy, &target, &claims)?.to_owned();

    Ok(Admission {
        kind: kind(request.upgrade.unwrap_or_default()),
        family: target.family,
        pool,
        owner: Owner {
            issuer: issuer.name.clone(),
            subject,
            tenant,
            resume_key,
        },
        priority,
        labels,
        expires_at: Some(expires_at),
        upstream: UpstreamEdits {
            path: path.upstream,
            sec_websocket_protocol: offer.header,
        },
        answer_subprotocol: offer.first,
    })
}

/// The pool the path names; or else the only one of the family that the token names; or else the
/// family's default. And the token has to permit it.
fn choose_pool<'a>(
    policy: &'a Policy,
    target: &Target<'_>,
    claims: &Claims,
) -> Result<&'a str, Reason> {
    let permitted = match policy.pools_claim() {
        Some(claim) => Some(claims.list(claim)?.unwrap_or_default()),
        None => None,
    };
    let chosen = match target.pool {
        Some(segment) => std::str::from_utf8(segment)
            .ok()
            .and_then(|name| policy.pool(target.family, name)),
        None => only_pool(
            policy,
            target.family,
            permitted.as_deref().unwrap_or_default(),
        )
        .or_else(|| policy.default_pool(target.family)),
    };
    let chosen = chosen.ok_or(Reason::NoSuchPool)?;
    if permitted.is_some_and(|permitted| !permitted.contains(&chosen)) {
        return Err(Reason::PoolForbidden);
    }
    Ok(chosen)
}

/// The one pool of this family among these names, if it is one and not several.
fn only_pool<'a>(policy: &'a Policy, family: Family, names: &[&str]) -> Option<&'a str> {
    let mut pools = names.iter().filter_map(|name| policy.pool(family, name));
    let only = pools.next()?;
    pools.all(|pool| pool == only).then_some(only)
}

fn kind(upgrade: &[u8]) -> Kind {
    let mut protocols = upgrade.split(|byte| *byte == b',');
    if protocols.any(|protocol| protocol.trim_ascii().eq_ignore_ascii_case(b"websocket")) {
        Kind::Upgrade
    } else {
        Kind::Check
    }
}
