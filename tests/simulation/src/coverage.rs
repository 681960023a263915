use std::collections::BTreeMap;

/// How often what happened.
#[derive(Clone, Debug, Default)]
pub struct Coverage(BTreeMap<&'static str, u64>);

impl Coverage {
    /// It happened.
    pub fn add(&mut self, what: &'static str) {
        *self.0.entry(what).or_default() += 1;
    }

    /// Adds what happened elsewhere.
    pub fn merge(&mut self, other: &Self) {
        for (what, count) in &other.0 {
            *self.0.entry(what).or_default() += count;
        }
    }

    /// How often it happened.
    pub fn count(&self, what: &str) -> u64 {
        self.0.get(what).copied().unwrap_or(0)
    }

    /// All that happened, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        self.0.iter().map(|(what, count)| (*what, *count))
    }
}

/// What has to happen in a run of tens of thousands of schedules, or it shows less than it seems to.
pub const EXPECTED: &[&str] = &[
    "agent crash",
    "agent slow",
    "asked again",
    "call broken",
    "clock jump",
    "close: expired",
    "close: fenced",
    "close: resumed",
    "close: revoked",
    "close: taken over",
    "close: terminated",
    "close: too slow",
    "come",
    "commit",
    "control plane crash",
    "control plane pause",
    "cut agent from control plane",
    "cut by a firewall",
    "cut proxy from control plane",
    "cut proxy from instance",
    "disk stall",
    "drain",
    "end of quarantine",
    "established",
    "flap",
    "granted",
    "hang",
    "hangup",
    "impostor",
    "instance crash",
    "instance host crash",
    "lease: activated",
    "lease: adopted",
    "lease: ended",
    "lease: ended, resumable",
    "lease: freed",
    "lease: given up",
    "lease: orphaned",
    "lease: reclaimed",
    "lease: reserved",
    "leave",
    "lift",
    "message lost",
    "not upgraded",
    "order: close",
    "order: open",
    "order: recycle",
    "over: berth",
    "over: client",
    "over: closed",
    "over: given up",
    "over: instance",
    "over: max age",
    "over: not established",
    "over: token expired",
    "over: unlisted",
    "overlap: cut off from the instance",
    "overlap: forgotten, and unheard while learning",
    "overlap: silent for too long",
    "policy",
    "proxy crash",
    "proxy host crash",
    "proxy pause",
    "quarantine",
    "reach",
    "reach no more",
    "recycled",
    "refused: cancelled",
    "refused: id in use",
    "refused: learning",
    "refused: no instance",
    "refused: no such pool",
    "refused: queue full",
    "refused: revoked",
    "refused: session exists",
    "refused: superseded",
    "refused: terminated",
    "refused: too many of tenant",
    "refused: too many of user",
    "restored leases",
    "restored revocations",
    "revoke a session",
    "revoke a token",
    "revoke a user",
    "terminate",
    "turned away by a firewall",
    "undrain",
    "vanish",
    "vm crash",
    "wall clock jump",
    "weather",
    "wedge",
    "why: adopted",
    "why: least recently used",
    "why: packed",
    "why: resumed",
    "why: spread",
    "why: took over",
    "zone",
];
