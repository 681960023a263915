use std::sync::Arc;

use crate::carrier::{Credential, Reading};
use crate::config::PoolSource;
use crate::cors::Cors;
use crate::explain::{
    attempts_facts, credential_facts, escaped, origin_facts, quoted, resume_key_facts, source_name,
};
use crate::jwt::{Token, Unverified};
use crate::memory::VerifiedToken;
use crate::path::Target;
use crate::policy::{Issuer, Pool};
use crate::user::{ApiKey, Permitted, User};
use crate::{
    Admission, Decision, Family, Kind, Memory, Policy, Reason, Request, Trace, Undecided,
    UnixSeconds, Verdict, VerifySignature, Wish, credential,
};

/// Decides whether `request` may open a session, as whom, and in which pool.
///
/// `now` is the wall clock's time; `verifier` does the arithmetic of signatures; `memory` is of the same policy. The order
/// of the checks is part of the answer, and stands in this crate's README.
pub fn admit(
    policy: &Policy,
    memory: &mut Memory,
    request: &Request<'_>,
    now: UnixSeconds,
    verifier: &impl VerifySignature,
) -> Verdict {
    explain(policy, memory, request, now, verifier, &mut ())
}

/// The same, and tells `trace` each step.
pub fn explain(
    policy: &Policy,
    memory: &mut Memory,
    request: &Request<'_>,
    now: UnixSeconds,
    verifier: &impl VerifySignature,
    trace: &mut impl Trace,
) -> Verdict {
    let target = Target::parse(request.path);
    let mut reading = Reading::of(policy, request, target.as_ref());
    let cors = Cors::of(policy, request);
    let edits = std::mem::take(&mut reading.edits);
    let mut case = Case {
        policy,
        memory,
        request,
        now,
        verifier,
        trace,
        remembered: None,
    };
    let decision = case.decide(target, &cors, reading);
    Verdict {
        decision: decision.unwrap_or_else(Decision::Refuse),
        edits,
        remembered: case.remembered,
        cors: cors.headers,
    }
}

/// One request, and what it is decided by.
struct Case<'c, 'a, V, T> {
    policy: &'c Policy,
    memory: &'c mut Memory,
    request: &'c Request<'a>,
    now: UnixSeconds,
    verifier: &'c V,
    trace: &'c mut T,
    remembered: Option<bool>,
}

/// What a credential comes to.
enum Identity<'p> {
    Known(User<'p>),
    Undecided(&'p Issuer, Reason),
}

impl<'c, V: VerifySignature, T: Trace> Case<'c, '_, V, T> {
    fn decide(
        &mut self,
        target: Option<Target<'_>>,
        cors: &Cors,
        reading: Reading<'c, '_>,
    ) -> Result<Decision, Reason> {
        self.trace.step("path", || match &target {
            Some(target) => format!("signaling of the family {}", target.family),
            None => "neither /rtsp nor /sign_in nor /<pool>/sign_in".to_owned(),
        });
        let target = target.ok_or(Reason::NotFound)?;
        let request = self.request;
        self.trace.step("origin", || origin_facts(request, cors));
        cors.check()?;
        self.trace.step("method", || escaped(request.method));
        if cors.preflight {
            return Ok(Decision::Preflight);
        }
        if request.method != b"GET" {
            return Err(Reason::MethodNotAllowed);
        }
        let Reading {
            credential,
            resume_key,
            labels,
            subprotocol,
            edits: _,
        } = reading;
        self.trace
            .step("resume key", || resume_key_facts(&resume_key));
        let resume_key = credential::resume_key(resume_key)?;
        self.trace.step("labels", || labels.facts());
        let labels = labels.agreed()?;
        let wish = Wish {
            kind: kind(&request.header("upgrade").unwrap_or_default()),
            family: target.family,
            answer_subprotocol: subprotocol,
        };
        let user = match self.identify(credential)? {
            Identity::Known(user) => user,
            Identity::Undecided(issuer, reason) => {
                let undecided = Undecided {
                    issuer: issuer.name.clone(),
                    reason,
                    path: request.path.to_vec(),
                    headers: self.read_headers(),
                };
                return Ok(Decision::Undecided(wish, Box::new(undecided)));
            }
        };
        let pool = self.choose_pool(&target, &user)?;
        self.may_use(pool, &user)?;
        let tags = self.policy.tags();
        let admission = Admission {
            pool: pool.name.clone(),
            owner: user.owner(resume_key),
            priority: user.priority,
            labels,
            tags: tags.log(&user, &pool.name),
            headers: tags.headers(&user, &pool.name),
            token_id: user.token_id,
            expires_at: user.expires_at,
            closes_at: user.closes_at,
        };
        Ok(Decision::Admit(wish, Box::new(admission)))
    }

    /// The headers that whoever decides instead has to see.
    fn read_headers(&self) -> Vec<(String, Vec<u8>)> {
        let headers = self.request.headers.iter();
        headers
            .filter(|(name, _)| self.policy.reads(name))
            .cloned()
            .collect()
    }

    fn identify(&mut self, credential: Credential<'c, '_>) -> Result<Identity<'c>, Reason> {
        self.trace
            .step("credential", || credential_facts(&credential));
        let (_, presented) = match credential {
            Credential::Nothing => return self.by_certificate().map(Identity::Known),
            Credential::One(carrier, presented) => (carrier, presented),
            Credential::Disagreed => return Err(Reason::MalformedToken),
        };
        if let Some(token) = self.memory.tokens.get(&presented, self.now) {
            self.remembered = Some(true);
            self.trace
                .step("signature", || "verified before".to_owned());
            return self.by_token(token).map(Identity::Known);
        }
        let client = self.request.client;
        let may_try = self.memory.attempts.may_try(client, self.now);
        self.trace
            .step("attempts", || attempts_facts(client, may_try));
        if !may_try {
            return Err(Reason::TooManyAttempts);
        }
        let identity = if looks_like_a_token(&presented) {
            self.verify(&presented)
        } else {
            self.by_api_key(&presented)
        };
        if identity
            .as_ref()
            .is_err_and(|reason| reason.status() == 401)
        {
            self.memory.attempts.failed(client, self.now);
        }
        identity
    }

    fn by_certificate(&mut self) -> Result<User<'c>, Reason> {
        let certificate = &self.request.certificate;
        self.trace
            .step("client certificate", || format!("{certificate:?}"));
        let mut rules = self.policy.client_certificates().iter();
        let user = rules.find_map(|rule| rule.user(certificate));
        user.unwrap_or(Err(Reason::NoToken))
    }

    fn by_api_key(&mut self, presented: &[u8]) -> Result<Identity<'c>, Reason> {
        let keys = self.policy.api_keys();
        self.trace.step("API key", || {
            format!("one of the {} in the policy?", keys.len())
        });
        if keys.is_empty() {
            return Err(Reason::MalformedToken);
        }
        let key = ApiKey::find(keys, presented).ok_or(Reason::UnknownApiKey)?;
        Ok(Identity::Known(key.user()))
    }

    fn verify(&mut self, presented: &[u8]) -> Result<Identity<'c>, Reason> {
        self.trace
            .step("token", || format!("{} bytes", presented.len()));
        let token = Token::parse(presented)?;
        let claimed = token.claimed_issuer()?;
        self.trace.step("issuer", || quoted(claimed));
        let (index, issuer) = self.policy.issuer(claimed).ok_or(Reason::WrongIssuer)?;
        self.trace.step("typ", || token.type_facts(issuer));
        token.check_type(issuer)?;
        self.trace.step("signature", || token.key_facts(issuer));
        self.remembered = Some(false);
        let claims = match token.verify(issuer, self.verifier) {
            Ok(claims) => claims,
            Err(Unverified::Refused(reason)) => return Err(reason),
            Err(Unverified::Undecided(reason)) => return Ok(Identity::Undecided(issuer, reason)),
        };
        let token = Arc::new(VerifiedToken {
            issuer: index,
            claims,
        });
        let user = self.by_token(Arc::clone(&token))?;
        self.memory.tokens.insert(presented, token, self.now);
        Ok(Identity::Known(user))
    }

    /// What a token whose signature is right comes to now.
    fn by_token(&mut self, token: Arc<VerifiedToken>) -> Result<User<'c>, Reason> {
        let policy = self.policy;
        let issuer = policy.issuers().get(token.issuer).ok_or(Reason::Internal)?;
        let claims = &token.claims;
        let now = self.now;
        self.trace.step("time", || claims.time_facts(issuer, now));
        let expiry = claims.time(issuer, now)?;
        self.trace
            .step("audience", || claims.audience_facts(&issuer.audiences));
        claims.audience(&issuer.audiences)?;
        self.trace.step("user", || claims.user_facts());
        let subject = claims.subject()?;
        self.trace
            .step("subjects and claims", || issuer.rules_facts(claims));
        issuer.lets_in(subject, claims)?;
        self.trace
            .step("what the user has", || claims.entitlement_facts(policy));
        let tenant = policy.tenant_claim().map(|claim| claims.name(claim));
        let priority = policy.priority_claim().map(|claim| claims.priority(claim));
        let permitted = policy.pools_claim().map(|claim| claims.list(claim));
        Ok(User {
            issuer: &issuer.name,
            subject: subject.to_owned(),
            tenant: tenant.transpose()?.flatten().unwrap_or_default().to_owned(),
            priority: priority.transpose()?.flatten().unwrap_or_default(),
            permitted: match permitted.transpose()? {
                None => Permitted::All,
                Some(names) => {
                    let names = names.unwrap_or_default().into_iter().map(str::to_owned);
                    Permitted::These(names.collect())
                }
            },
            token_id: claims.token_id()?.to_owned(),
            expires_at: Some(expiry.accepted_until),
            closes_at: issuer.close_when_expired.then_some({
                // Let in after its end, within the skew, it has until that is over.
                if now < expiry.exp {
                    expiry.exp
                } else {
                    expiry.accepted_until
                }
            }),
            token: Some(token),
        })
    }

    /// The pool that the first source names which names any; or else the only one of the family that the credential
    /// permits; or else the family's default.
    fn choose_pool(&mut self, target: &Target<'_>, user: &User<'_>) -> Result<&'c Pool, Reason> {
        let policy = self.policy;
        let named = policy
            .pool_from()
            .iter()
            .find_map(|source| Some((source, self.named_by(source, target, user)?)));
        let unwanted = target.pool.is_some() && !policy.pool_from().contains(&PoolSource::Path);
        let pool = match &named {
            _ if unwanted => None,
            Some((_, name)) => policy.pool(target.family, name),
            None => only_pool(policy, target.family, user.permitted.names())
                .or_else(|| policy.default_pool(target.family)),
        };
        self.trace.step("pool", || match (&named, pool) {
            _ if unwanted => "the path names one, which here it may not".to_owned(),
            (Some((source, name)), Some(_)) => {
                format!("{}, named by the {}", quoted(name), source_name(source))
            }
            (Some((source, name)), None) => format!(
                "{}, named by the {}, is none of the family {}",
                quoted(name),
                source_name(source),
                target.family
            ),
            (None, Some(pool)) => format!("`{}`, as none is named", pool.name),
            (None, None) => "none is named, and there is no default".to_owned(),
        });
        pool.ok_or(Reason::NoSuchPool)
    }

    /// The pool that a source names. What is not UTF-8 names none that there is.
    fn named_by(
        &self,
        source: &PoolSource,
        target: &Target<'_>,
        user: &User<'_>,
    ) -> Option<String> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match source {
            PoolSource::Path => target.pool.map(text),
            PoolSource::Header(name) => {
                let value = self.request.header(name)?;
                Some(text(value.trim_ascii())).filter(|name| !name.is_empty())
            }
            PoolSource::Claim(claim) => user.token.as_ref()?.claims.text(claim),
        }
    }

    fn may_use(&mut self, pool: &Pool, user: &User<'_>) -> Result<(), Reason> {
        let claims = user.token.as_ref().map(|token| &token.claims);
        if let Some(claims) = claims {
            self.trace.step("audience of the pool", || {
                claims.audience_facts(&pool.audiences)
            });
            claims.audience(&pool.audiences)?;
        }
        self.trace.step("permission", || match &user.permitted {
            Permitted::All => "the credential permits every pool".to_owned(),
            Permitted::These(names) => format!("the credential permits {names:?}"),
        });
        if !user.permitted.permits(&pool.name) {
            return Err(Reason::PoolForbidden);
        }
        let rule = pool.allow.iter().position(|rule| rule.fits(user));
        self.trace.step("allow", || match (rule, pool.allow.len()) {
            (_, 0) => "the pool is for everybody who is let in".to_owned(),
            (Some(index), _) => format!("allow[{index}] fits"),
            (None, rules) => format!("none of the pool's {rules} rules fits"),
        });
        if rule.is_none() && !pool.allow.is_empty() {
            return Err(Reason::PoolForbidden);
        }
        Ok(())
    }
}

/// The one pool of this family among these names, if it is one and not several.
fn only_pool<'p>(policy: &'p Policy, family: Family, names: &[String]) -> Option<&'p Pool> {
    let mut pools = names.iter().filter_map(|name| policy.pool(family, name));
    let only = pools.next()?;
    pools.all(|pool| pool.name == only.name).then_some(only)
}

fn kind(upgrade: &[u8]) -> Kind {
    let mut protocols = upgrade.split(|byte| *byte == b',');
    if protocols.any(|protocol| protocol.trim_ascii().eq_ignore_ascii_case(b"websocket")) {
        Kind::Upgrade
    } else {
        Kind::Check
    }
}

/// RFC 7515 §7.1: three parts. Anything else may be an API key.
fn looks_like_a_token(presented: &[u8]) -> bool {
    presented.iter().filter(|byte| **byte == b'.').count() == 2
}
