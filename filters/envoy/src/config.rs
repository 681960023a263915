//! The plugin configuration.

use std::rc::Rc;
use std::time::Duration;

use berth_admission::{Policy, PolicyConfig, PolicyError};
use serde::Deserialize;

use crate::session::WhenAway;
use crate::vm::Cadence;

/// What a root context is configured with. Its streams share it; live ones keep it when a new configuration comes.
#[derive(Debug)]
pub(crate) struct Plugin {
    pub(crate) policy: Policy,
    pub(crate) control_plane: ControlPlane,
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
    /// It is not the JSON that is expected; says where and which field.
    #[error("{0}")]
    Json(#[from] serde_json::Error),
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
    /// Reads the plugin configuration.
    ///
    /// # Errors
    /// When a field is missing, unknown, of the wrong type or out of bounds.
    pub(crate) fn parse(json: &[u8]) -> Result<Rc<Self>, ConfigError> {
        let config: Config = serde_json::from_slice(json)?;
        let control_plane = config.control_plane.check()?;
        let policy = Policy::compile(config.admission)?;
        Ok(Rc::new(Self {
            policy,
            control_plane,
        }))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    admission: PolicyConfig,
    control_plane: ControlPlaneConfig,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ControlPlaneConfig {
    cluster: String,
    when_away: WhenAwayConfig,
    hold_ms: u64,
    tick_ms: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum WhenAwayConfig {
    Wait,
    Refuse,
}

impl ControlPlaneConfig {
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
            when_away: match self.when_away {
                WhenAwayConfig::Wait => WhenAway::Wait,
                WhenAwayConfig::Refuse => WhenAway::Refuse,
            },
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
