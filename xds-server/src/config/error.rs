use std::{
    fmt, io,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use berth_admission::{Family, PolicyProblem};
use humantime::format_duration;

use crate::certificates::CertificateError;
use crate::keys::{KeySetError, UrlProblem};
use crate::xds::NodeMatch;

use super::{
    field::{FieldPath, Position},
    name::NameError,
};

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file is missing, or closed to us.
    #[error("cannot read {}: {error}; name the right file with --config", path.display())]
    Unreadable {
        /// The YAML file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The file is there, and this has to be changed in it.
    #[error("{}", Lines(path, problems))]
    Invalid {
        /// The YAML file.
        path: PathBuf,
        /// At least one, in the order of the file.
        problems: Vec<Problem>,
    },
}

/// One thing to change in the file.
#[derive(Debug)]
pub struct Problem {
    /// Where it is, or where what is missing would be.
    pub position: Position,
    /// The field; empty for the document itself.
    pub field: FieldPath,
    /// What is wrong with it, and what to do.
    pub fault: Fault,
}

/// What can be wrong with a field. Each says what it found and then, after a colon, the remedy.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// Not YAML.
    #[error("{0}: check indentation, quotes and brackets up to here")]
    Yaml(String),
    /// Nothing at all.
    #[error("the file is empty: begin with berth.example.yaml")]
    NoDocument,
    /// A second document after the first.
    #[error("another document begins here: keep one of them, and put the other into its own file")]
    SecondDocument,
    /// A field that means nothing.
    #[error("is not a field of the configuration: here go {}", expected.join(", "))]
    UnknownField {
        /// The fields that do.
        expected: Vec<&'static str>,
    },
    /// A field that cannot be left out.
    #[error("is missing: berth.example.yaml shows what to write")]
    MissingField,
    /// The same field again.
    #[error("is there already: remove one of the two")]
    DuplicateField,
    /// A value of another kind.
    #[error("is of the wrong kind: write {expected}")]
    Kind {
        /// The right kind.
        expected: &'static str,
    },
    /// Nothing where something is needed.
    #[error("is empty: {remedy}")]
    Empty {
        /// What to write.
        remedy: &'static str,
    },
    /// Not an IP address with a port.
    #[error(
        "`{0}` is not ip:port: write an IP address and a port from 1 to 65535, such as 10.0.0.1:49100 or [fd00::1]:49100 (names are not looked up)"
    )]
    SocketAddress(String),
    /// Not an IP address.
    #[error("`{0}` is not an IP address: write one, such as 0.0.0.0 or ::")]
    IpAddress(String),
    /// Not a port.
    #[error("{0} is not a port: write a number from 1 to 65535")]
    Port(i64),
    /// An address that no single host has.
    #[error("{0} is not the address of one host: write the instance's own")]
    NotOneHost(IpAddr),
    /// Plaintext that others could read.
    #[error(
        "{0} is not a loopback address, and what is said there is not encrypted: listen on 127.0.0.1 or [::1], or set `allow_plaintext: true` beside it if every host of that network is trusted"
    )]
    Plaintext(SocketAddr),
    /// Plaintext where there is none.
    #[error("nothing is said in plaintext where there is `tls`: remove one of the two")]
    PlaintextBesideTls,
    /// Said twice where once is right.
    #[error("`{value}` is used by {first} already: {remedy}")]
    Duplicate {
        /// What is there twice.
        value: String,
        /// Where it is for the first time.
        first: FieldPath,
        /// What to do.
        remedy: &'static str,
    },
    /// Not a time.
    #[error("`{0}` is not a duration: write a number and its unit, such as 250ms, 8s or 5m")]
    Duration(String),
    /// A time that cannot work.
    #[error(
        "{} is out of range: choose from {} to {}",
        format_duration(*value),
        format_duration(*least),
        format_duration(*most)
    )]
    DurationRange {
        /// What was written.
        value: Duration,
        /// The least that works.
        least: Duration,
        /// The most that works.
        most: Duration,
    },
    /// Finer than the place it goes to can say.
    #[error("{} is not whole seconds: round it", format_duration(*.0))]
    NotWholeSeconds(Duration),
    /// Native clients would be gone before they are answered.
    #[error(
        "hold, timing.handshake_timeout and timing.tick are {} together, and native clients give up near {}: shorten the hold",
        format_duration(*sum),
        format_duration(*limit)
    )]
    ClientGivesUp {
        /// How long a request may take.
        sum: Duration,
        /// When clients give up.
        limit: Duration,
    },
    /// A number that cannot work.
    #[error("{value} is out of range: choose from {least} to {most}")]
    NumberRange {
        /// What was written.
        value: i64,
        /// The least that works.
        least: u32,
        /// The most that works.
        most: u32,
    },
    /// More than there is.
    #[error("{reserved} instances are reserved for tenants, and {limit} is {available}: {remedy}")]
    OverReserved {
        /// The sum of what is reserved.
        reserved: u64,
        /// What it is held against.
        limit: &'static str,
        /// How much that is.
        available: u64,
        /// What to do.
        remedy: &'static str,
    },
    /// More for a tenant than it may use.
    #[error(
        "{reserved} instances are reserved, and at most {max_sessions} can be used: lower `reserved` or raise `max_sessions`"
    )]
    UselessReserve {
        /// What is reserved for the tenant.
        reserved: u32,
        /// How many sessions it may have.
        max_sessions: u32,
    },
    /// Tenants where nothing tells them.
    #[error(
        "nothing says who is of which tenant: name the claim that does as `admission.tenant_claim`, or give API keys or client certificates a `tenant`"
    )]
    NoTenantClaim,
    /// More than a request should have to be compared with.
    #[error("there are {count}: keep at most {most}")]
    TooMany {
        /// How many there are.
        count: usize,
        /// How many there may be.
        most: usize,
    },
    /// A number of probes that cannot work.
    #[error("{0} is not a number of probes: write 1 or more")]
    ProbeCount(i64),
    /// Two kinds of probes at once.
    #[error("a probe is either `tcp` or `http`: remove one")]
    TwoProbes,
    /// Not the path of a URL.
    #[error("`{0}` is not a path: begin it with `/` and leave out spaces and `#`")]
    HttpPath(String),
    /// Not one of a few words.
    #[error("`{value}` is not known here: write {choices}")]
    Choice {
        /// What was written.
        value: String,
        /// What may be.
        choices: &'static str,
    },
    /// A word that stands for nothing.
    #[error("`{found}` is not known here: write {}", forms(expected))]
    Variant {
        /// What was written.
        found: String,
        /// What may be.
        expected: Vec<&'static str>,
    },
    /// Not a name.
    #[error("`{value}` cannot be a name here: {error}")]
    Name {
        /// What was written.
        value: String,
        /// What is wrong with it.
        error: NameError,
    },
    /// A pool that is not there.
    #[error("there is no pool `{0}`: name one of `pools`")]
    UnknownPool(String),
    /// A listener that is not there.
    #[error("there is no listener `{0}`: name one of `listeners`")]
    UnknownListener(String),
    /// A profile after one that everybody fits.
    #[error("{0} is for every proxy, so none comes as far as this: put that one last")]
    NobodyLeft(FieldPath),
    /// Dots that could be read in too many ways: which are between two keys, and which in one.
    #[error("has {0} dots: write a path of at most {most}", most = NodeMatch::MAX_DOTS)]
    MetadataPath(usize),
    /// An issuer that is not there.
    #[error(
        "nobody has the issuer `{0}`: name one of `admission.issuers`, or `api_key` or `client_certificate` if there are such"
    )]
    UnknownIssuer(String),
    /// A pool, but for other clients.
    #[error("pool `{pool}` is for {family} clients: name a pool of the family")]
    WrongFamily {
        /// The pool.
        pool: String,
        /// Its family.
        family: Family,
    },
    /// A file that the configuration names cannot be read.
    #[error(
        "cannot read {}: {error}; a relative path starts at the folder of this file",
        path.display()
    )]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// A file does not hold the certificate or the key that it should.
    #[error(transparent)]
    Certificate(CertificateError),
    /// No module in the file.
    #[error("{} is no WebAssembly module: name berth_filter.wasm, as `./just filter` builds it", .0.display())]
    NoModule(PathBuf),
    /// Not JSON.
    #[error(
        "{} is not JSON: {error}; it must hold a JWK Set, `{{\"keys\": [...]}}` (RFC 7517)",
        path.display()
    )]
    Json {
        /// The file.
        path: PathBuf,
        /// What the parser says.
        error: serde_json::Error,
    },
    /// Keys that admission cannot work with.
    #[error("{} {error}", path.display())]
    KeySet {
        /// The file.
        path: PathBuf,
        /// What is wrong with the set.
        error: KeySetError,
    },
    /// Nowhere to take keys from.
    #[error(
        "nothing says where its keys are: write `jwks_file`, `jwks_url` or, if it is an OpenID Provider, `discovery: true`"
    )]
    NoKeySource,
    /// Keys from here and from there.
    #[error("its keys come from `{first}` already: keep one of the two")]
    TwoKeySources {
        /// The other.
        first: &'static str,
    },
    /// Something about the web for what is not fetched from there.
    #[error("is for keys that are fetched, and these are in a file: leave it out")]
    NotForKeyFile,
    /// Nothing can be fetched from there.
    #[error("`{url}` {problem}")]
    KeyUrl {
        /// What was written.
        url: String,
        /// What is wrong with it.
        problem: UrlProblem,
    },
    /// A rule that everybody would fit.
    #[error(
        "is a rule without a condition: say whom it is for, or leave `allow` out if the pool is for everybody"
    )]
    NoCondition,
    /// A policy that makes no sense.
    #[error("{0}{remedy}", remedy = remedy(.0))]
    Policy(PolicyProblem),
}

/// What an operator can do about it, where the policy itself cannot know.
const fn remedy(problem: &PolicyProblem) -> &'static str {
    match problem {
        PolicyProblem::Again | PolicyProblem::Duplicate(_) => ": remove one of the two",
        PolicyProblem::Hash => "; `berth api-key` makes a key and prints it",
        PolicyProblem::UnknownPool(_) => ": name one of `pools`",
        _ => "",
    }
}

/// How words are written that may be followed by something.
fn forms(words: &[&str]) -> String {
    let forms = words.iter().map(|word| {
        if WITH_VALUE.contains(word) {
            format!("`{word}: ...`")
        } else {
            format!("`{word}`")
        }
    });
    let forms: Vec<_> = forms.collect();
    match forms.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => String::new(),
    }
}

struct Lines<'a>(&'a PathBuf, &'a [Problem]);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(path, problems) = self;
        for (index, problem) in problems.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{}:{problem}", path.display())?;
        }
        Ok(())
    }
}

/// `line:column: field: fault`, without the file.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            position: Position { line, column },
            field,
            fault,
        } = self;
        if *field == FieldPath::default() {
            write!(f, "{line}:{column}: {fault}")
        } else {
            write!(f, "{line}:{column}: {field}: {fault}")
        }
    }
}

/// The words of matchers, carriers, pool sources and tags that are followed by what they are about.
const WITH_VALUE: &[&str] = &[
    "claim",
    "cookie",
    "exact",
    "header",
    "prefix",
    "query",
    "subprotocol",
    "subprotocol_base64url",
    "suffix",
];
