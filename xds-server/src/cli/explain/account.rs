//! The account of a decision, for people and for programs.

use std::{
    fmt::Write,
    time::{Duration, UNIX_EPOCH},
};

use berth_admission::{Admission, UnixSeconds, Wish};
use serde_json::{Map, Value, json};

use super::{
    super::table::{printable, table},
    decision::{Decided, Outcome},
    request::Asked,
};

/// For people. The last line says what becomes of the request.
pub(super) fn text(decided: &Decided, asked: &Asked, now: UnixSeconds) -> String {
    let steps: Vec<_> = decided
        .steps
        .iter()
        .map(|(name, facts)| [(*name).to_owned(), facts.clone()])
        .collect();
    let mut text = table(["STEP", "WHAT IS FOUND"], &steps);
    text.push('\n');
    if decided.by_control_plane {
        text.push_str(
            "The filter cannot decide this one: it goes to `berth` with the request for an instance.\n\n",
        );
    }
    match &decided.outcome {
        Outcome::Admitted(wish, admission) => {
            section(
                &mut text,
                "The instance sees:",
                &upstream(decided, asked, admission),
            );
            let tags = admission.tags.iter();
            let tags = tags.map(|(name, value)| (name.clone(), value.clone()));
            section(
                &mut text,
                "The access log may say:",
                &tags.collect::<Vec<_>>(),
            );
            section(&mut text, "The session:", &session(wish, admission, now));
            let owner = &admission.owner;
            let user = format!("`{}` of `{}`", owner.subject, owner.issuer);
            line(
                &mut text,
                &format!("admitted to the pool `{}` as {user}", admission.pool),
            );
        }
        Outcome::Preflight => {
            let cors = decided.cors.iter();
            let cors = cors.map(|(name, value)| ((*name).to_owned(), value.clone()));
            section(&mut text, "The browser is told:", &cors.collect::<Vec<_>>());
            line(&mut text, "answered (204): the page may ask");
        }
        Outcome::Refused(reason) => {
            let (status, message) = (reason.status(), reason.message());
            line(
                &mut text,
                &format!("refused: {reason} ({status}): {message}"),
            );
        }
    }
    text
}

/// For programs.
pub(super) fn json(decided: &Decided, asked: &Asked) -> String {
    let steps = decided.steps.iter();
    let steps = steps.map(|(name, facts)| json!({"step": name, "found": facts}));
    let mut account = json!({
        "steps": steps.collect::<Vec<_>>(),
        "decided_by": if decided.by_control_plane { "control_plane" } else { "filter" },
    });
    let more = match &decided.outcome {
        Outcome::Admitted(wish, admission) => admitted(decided, asked, wish, admission),
        Outcome::Preflight => json!({
            "verdict": "preflight",
            "cors": members(decided.cors.iter().map(|(name, value)| (*name, value.as_str()))),
        }),
        Outcome::Refused(reason) => json!({
            "verdict": "refused",
            "reason": reason.label(),
            "status": reason.status(),
            "message": reason.message(),
        }),
    };
    if let (Some(account), Value::Object(more)) = (account.as_object_mut(), more) {
        account.extend(more);
    }
    format!("{account:#}\n")
}

fn admitted(decided: &Decided, asked: &Asked, wish: &Wish, admission: &Admission) -> Value {
    let seconds = |time: Option<UnixSeconds>| time.map(|UnixSeconds(seconds)| seconds);
    let owner = &admission.owner;
    json!({
        "verdict": "admitted",
        "family": wish.family,
        "pool": admission.pool,
        "issuer": owner.issuer,
        "subject": owner.subject,
        "tenant": owner.tenant,
        "token_id": admission.token_id,
        "priority": admission.priority,
        "labels": members(pairs(&admission.labels)),
        "expires_at": seconds(admission.expires_at),
        "closes_at": seconds(admission.closes_at),
        "subprotocol": wish.answer_subprotocol,
        "path": path(decided, asked),
        "removed_headers": removed(decided),
        "changed_headers": members(changed(decided).iter().map(|(name, value)| (*name, value.as_str()))),
        "added_headers": members(pairs(&admission.headers)),
        "session_id_headers": decided.session_headers,
        "tags": members(pairs(&admission.tags)),
    })
}

/// What changes of the request before the instance has it.
fn upstream(decided: &Decided, asked: &Asked, admission: &Admission) -> Vec<(String, String)> {
    let mut seen = vec![("path".to_owned(), path(decided, asked))];
    let row = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    let changed = changed(decided);
    seen.extend(changed.iter().map(|(name, value)| row((name, value))));
    seen.extend(pairs(&admission.headers).map(row));
    let id = decided.session_headers.iter();
    seen.extend(id.map(|name| row((name, "(the session's id)"))));
    let removed = removed(decided).into_iter();
    seen.extend(removed.map(|name| row((name, "(removed)"))));
    seen
}

fn path(decided: &Decided, asked: &Asked) -> String {
    let mut edits = decided.edits.iter();
    let path = edits.find_map(|(name, value)| value.filter(|_| name == PATH));
    path.map_or_else(
        || asked.path.clone(),
        |path| String::from_utf8_lossy(path).into_owned(),
    )
}

/// The headers whose value is another one, without credentials.
fn changed(decided: &Decided) -> Vec<(&str, String)> {
    let edits = decided.edits.iter().filter(|(name, _)| *name != PATH);
    edits
        .filter_map(|(name, value)| Some((name, String::from_utf8_lossy(value?).into_owned())))
        .collect()
}

/// The headers that are taken out. A tag of the same name is put there instead.
fn removed(decided: &Decided) -> Vec<&str> {
    let tags: &[_] = match &decided.outcome {
        Outcome::Admitted(_, admission) => &admission.headers,
        Outcome::Preflight | Outcome::Refused(_) => &[],
    };
    let id = decided.session_headers.iter().map(String::as_str);
    let added: Vec<&str> = pairs(tags).map(|(name, _)| name).chain(id).collect();
    let gone = decided.edits.iter().filter(|(_, value)| value.is_none());
    gone.map(|(name, _)| name)
        .filter(|name| !added.contains(name))
        .collect()
}

fn session(wish: &Wish, admission: &Admission, now: UnixSeconds) -> Vec<(String, String)> {
    let owner = &admission.owner;
    let labels = pairs(&admission.labels).map(|(name, value)| format!("{name}={value}"));
    let until = |at: UnixSeconds| format!("accepted until {}", moment(at, now));
    let closed = |at| match admission.closes_at {
        Some(closes) => format!(
            "{}; the session is closed at {}",
            until(at),
            moment(closes, now)
        ),
        None => format!("{}; the session may go on", until(at)),
    };
    let token = admission.expires_at.map(closed).unwrap_or_default();
    let rows = [
        ("pool", format!("{} ({})", admission.pool, wish.family)),
        ("user", owner.subject.clone()),
        ("issuer", owner.issuer.clone()),
        ("tenant", owner.tenant.clone()),
        ("token id", admission.token_id.clone()),
        ("priority", admission.priority.to_string()),
        ("labels", labels.collect::<Vec<_>>().join(", ")),
        (
            "subprotocol",
            wish.answer_subprotocol.clone().unwrap_or_default(),
        ),
        ("token", token),
    ];
    let rows = rows.into_iter().filter(|(_, value)| !value.is_empty());
    rows.map(|(name, value)| (name.to_owned(), value)).collect()
}

/// A time in words. One that no calendar has is a number.
fn moment(UnixSeconds(at): UnixSeconds, UnixSeconds(now): UnixSeconds) -> String {
    let time = UNIX_EPOCH.checked_add(Duration::from_secs(at));
    let Some(time) = time.filter(|_| at <= LAST_WRITABLE) else {
        return format!("{at} s after 1970");
    };
    let time = humantime::format_rfc3339_seconds(time);
    let left = humantime::format_duration(Duration::from_secs(at.saturating_sub(now)));
    format!("{time}, in {left}")
}

fn section(text: &mut String, title: &str, rows: &[(String, String)]) {
    let width = rows.iter().map(|(name, _)| name.chars().count()).max();
    let width = width.unwrap_or_default();
    line(text, title);
    for (name, value) in rows {
        line(text, &format!("  {name:width$}  {value}"));
    }
    text.push('\n');
}

/// What comes from a request or a token may hold orders for a terminal.
fn line(text: &mut String, line: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{}", printable(line));
}

fn pairs(pairs: &[(String, String)]) -> impl Iterator<Item = (&str, &str)> {
    pairs
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
}

fn members<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Map<String, Value> {
    pairs
        .map(|(name, value)| (name.to_owned(), value.into()))
        .collect()
}

const PATH: &str = ":path";
/// 9999-12-31T23:59:59Z, after which RFC 3339 has no years.
const LAST_WRITABLE: u64 = 253_402_300_799;
