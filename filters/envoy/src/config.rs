//! The plugin configuration.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use berth_admission::json::{Members, Mismatch, number};
use berth_admission::{Json, Memory, Policy, PolicyConfig, PolicyError, UnixSeconds};

use crate::session::{FailedAttempt, WhenAway};
use crate::vm::Cadence;

/// What a root context is configured with. Its streams share it; live ones keep it when a new configuration comes.
#[derive(Debug)]
pub(crate) struct Plugin {
    pub(crate) policy: Policy,
    pub(crate) control_plane: ControlPlane,
    memory: RefCell<Remembered>,
}

/// What is remembered under one policy.
#[derive(Debug)]
struct Remembered {
    memory: Memory,
    /// How many revocations the control plane counted when it was last used.
    revocations: u64,
}

/// How sessions are placed.
#[derive(Debug)]
pub(crate) struct ControlPlane {
    /// The Envoy cluster that is asked.
    pub(crate) cluster: String,
    pub(crate) when_away: WhenAway,
    /// How long the control plane may hold a request.
    pub(crate) hold: Duration,
    /// How often the VM states its sessions.
    pub(crate) cadence: Cadence,
}

/// Why a configuration is not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// It is not JSON; says where.
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    /// A field is missing, unknown or of the wrong type; says which.
    #[error("{0}")]
    Field(#[from] Mismatch),
    /// The policy makes no sense.
    #[error("admission.{0}")]
    Admission(#[from] PolicyError),
    /// A text is too short or too long.
    #[error("{field}: must have {least} to {most} bytes")]
    Length {
        field: &'static str,
        least: usize,
        most: usize,
    },
    /// A number is too small or too large.
    #[error("{field}: must be between {least} and {most}")]
    Range {
        field: &'static str,
        least: u64,
        most: u64,
    },
}

impl Plugin {
    /// Reads the plugin configuration. `seed` is random.
    ///
    /// # Errors
    /// When a field is missing, unknown, of the wrong type or out of bounds.
    pub(crate) fn parse(json: &[u8], seed: u64) -> Result<Rc<Self>, ConfigError> {
        let config = Config::read(&Json::parse(json)?)?;
        let control_plane = config.control_plane.check()?;
        let policy = Policy::compile(config.admission)?;
        let memory = Remembered {
            memory: Memory::new(&policy, seed),
            revocations: 0,
        };
        Ok(Rc::new(Self {
            policy,
            control_plane,
            memory: RefCell::new(memory),
        }))
    }

    /// Somebody's credential was refused by the control plane.
    pub(crate) fn failed(&self, FailedAttempt { client }: FailedAttempt, now: UnixSeconds) {
        self.memory.borrow_mut().memory.failed(client, now);
    }

    /// Decides something with what is remembered. Tokens are not once the control plane counts other revocations.
    ///
    /// Borrowed while the proxy checks a signature, which does not come back into the VM.
    pub(crate) fn remembering<R>(
        &self,
        revocations: u64,
        decide: impl FnOnce(&mut Memory) -> R,
    ) -> R {
        let remembered = &mut *self.memory.borrow_mut();
        if remembered.revocations != revocations {
            remembered.revocations = revocations;
            remembered.memory.forget_tokens();
        }
        decide(&mut remembered.memory)
    }
}

struct Config {
    admission: PolicyConfig,
    control_plane: ControlPlaneConfig,
}

impl Config {
    fn read(json: &Json) -> Result<Self, Mismatch> {
        let mut members = Members::of(json);
        let admission = members.needed("admission", PolicyConfig::read);
        let control_plane = members.needed("control_plane", ControlPlaneConfig::read);
        match members.end((admission, control_plane))? {
            (Some(admission), Some(control_plane)) => Ok(Self {
                admission,
                control_plane,
            }),
            // Neither can be without a mismatch.
            _ => Err(Mismatch::new("must be an object")),
        }
    }
}

struct ControlPlaneConfig {
    cluster: String,
    when_away: WhenAway,
    hold_ms: u64,
    tick_ms: u64,
}

fn when_away(json: &Json) -> Result<WhenAway, Mismatch> {
    match json.as_text() {
        Some("wait") => Ok(WhenAway::Wait),
        Some("refuse") => Ok(WhenAway::Refuse),
        _ => Err(Mismatch::new("must be wait or refuse")),
    }
}

impl ControlPlaneConfig {
    fn read(json: &Json) -> Result<Self, Mismatch> {
        let mut members = Members::of(json);
        let config = Self {
            cluster: members.text("cluster"),
            when_away: members
                .needed("when_away", when_away)
                .unwrap_or(WhenAway::Refuse),
            hold_ms: members.needed("hold_ms", number).unwrap_or_default(),
            tick_ms: members.needed("tick_ms", number).unwrap_or_default(),
        };
        members.end(config)
    }

    fn check(self) -> Result<ControlPlane, ConfigError> {
        if self.cluster.is_empty() || self.cluster.len() > CLUSTER_MAX {
            return Err(ConfigError::Length {
                field: "control_plane.cluster",
                least: 1,
                most: CLUSTER_MAX,
            });
        }
        Ok(ControlPlane {
            cluster: self.cluster,
            when_away: self.when_away,
            hold: milliseconds("control_plane.hold_ms", self.hold_ms, 0, 60_000)?,
            cadence: Cadence::new(milliseconds(
                "control_plane.tick_ms",
                self.tick_ms,
                50,
                60_000,
            )?),
        })
    }
}

fn milliseconds(
    field: &'static str,
    value: u64,
    least: u64,
    most: u64,
) -> Result<Duration, ConfigError> {
    if (least..=most).contains(&value) {
        return Ok(Duration::from_millis(value));
    }
    Err(ConfigError::Range { field, least, most })
}

/// What goes into the message that names the cluster to the host, which the SDK wants to be UTF-8: a length above 127
/// would not be.
const CLUSTER_MAX: usize = 120;
