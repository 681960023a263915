//! What happens to the world from outside, by one seed: a list of steps, each at its time, so that a failing schedule can
//! be shortened.

use std::fmt;
use std::time::Duration;

use crate::placement::RevocationSpan;
use crate::random::Random;

/// Which instances have an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Agents {
    /// Every one: no overlap can be excused.
    All,
    /// Every other one.
    Mixed,
    /// None.
    None,
}

/// What the control plane remembers when it starts again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// Its leases.
    Journal,
    /// Nothing.
    None,
}

/// How much goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Clients come and go, messages are late and reordered.
    Mild,
    /// Single parts fail.
    Rough,
    /// Everything fails, and clocks jump.
    Brutal,
}

/// One run of the world.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// Everything follows from it.
    pub seed: u64,
    /// Which instances have an agent.
    pub agents: Agents,
    /// What the control plane remembers.
    pub memory: Memory,
    /// How much goes wrong.
    pub severity: Severity,
    /// In the order of their times.
    pub steps: Vec<Step>,
}

/// Something that happens to the world from outside.
#[derive(Clone, Debug)]
pub struct Step {
    /// Its place in the whole schedule of its seed.
    pub number: usize,
    /// When, from the start.
    pub at: Duration,
    /// What.
    pub action: Action,
}

/// What can happen. Numbers name things modulo how many there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// A device asks for a session.
    Come {
        /// Which device.
        device: usize,
        /// By which proxy.
        proxy: usize,
        /// By which of its workers.
        worker: usize,
        /// From which pool.
        pool: usize,
        /// It asks for the label that only some instances have.
        picky: bool,
        /// How urgent.
        priority: u8,
    },
    /// A client closes.
    Leave(usize),
    /// A client vanishes without a word.
    Vanish(usize),
    /// An instance closes its session.
    Hangup(usize),
    /// A filter VM traps.
    VmCrash {
        /// Of which proxy.
        proxy: usize,
        /// Which of its workers.
        worker: usize,
    },
    /// A proxy is killed.
    ProxyCrash {
        /// Which.
        proxy: usize,
        /// Its host goes with it, and closes no connection.
        host: bool,
        /// For how long.
        down: Duration,
    },
    /// A proxy is stopped; its connections stay.
    ProxyPause {
        /// Which.
        proxy: usize,
        /// For how long.
        span: Duration,
    },
    /// A proxy and the control plane do not hear each other.
    CutPlane {
        /// Which proxy.
        proxy: usize,
        /// For how long.
        span: Duration,
    },
    /// A proxy and an instance do not hear each other.
    CutInstance {
        /// Which proxy.
        proxy: usize,
        /// Which instance.
        instance: usize,
        /// For how long.
        span: Duration,
    },
    /// An agent and the control plane do not hear each other.
    CutAgent {
        /// Of which instance.
        instance: usize,
        /// For how long.
        span: Duration,
    },
    /// The network loses and delays.
    Weather {
        /// For how long.
        span: Duration,
        /// How many of a hundred messages are lost.
        loss: u64,
    },
    /// The control plane is killed.
    PlaneCrash {
        /// For how long.
        down: Duration,
    },
    /// The control plane is stopped; its clock stands still for it.
    PlanePause {
        /// For how long.
        span: Duration,
    },
    /// The control plane's clock jumps ahead, unseen.
    ClockJump(Duration),
    /// The time that the journal is written in jumps.
    WallJump {
        /// By how much.
        by: Duration,
        /// Back.
        back: bool,
    },
    /// Writing takes long.
    DiskStall(Duration),
    /// An instance is killed.
    InstanceCrash {
        /// Which.
        instance: usize,
        /// For how long.
        down: Duration,
        /// Its agent goes with it.
        host: bool,
    },
    /// An instance accepts connections and says nothing.
    Hang {
        /// Which.
        instance: usize,
        /// For how long.
        span: Duration,
    },
    /// An instance does not come free by itself after its next session.
    Wedge(usize),
    /// A probe of an instance fails though nothing is wrong with it.
    Flap(usize),
    /// An agent is killed.
    AgentCrash {
        /// Of which instance.
        instance: usize,
        /// For how long.
        down: Duration,
    },
    /// An agent takes long to do what it is told.
    AgentSlow {
        /// Of which instance.
        instance: usize,
        /// For how long.
        span: Duration,
    },
    /// An instance is drained.
    Drain(usize, bool),
    /// An instance is quarantined.
    Quarantine(usize, bool),
    /// Somebody uses a session's id that is not theirs, or a fence of another time.
    Impostor(usize),
    /// A session is terminated.
    Terminate(usize),
    /// Something is revoked, for so long.
    Revoke(Target, RevocationSpan),
    /// A revocation is lifted.
    Lift(usize),
    /// A pool's rules are drawn anew.
    Policy(usize, u64),
    /// A proxy acknowledges an instance, or its removal.
    Reach {
        /// Which proxy.
        proxy: usize,
        /// Which instance.
        instance: usize,
        /// It can be sent there.
        reached: bool,
    },
    /// A proxy moves to another zone.
    Zone(usize, usize),
}

/// What is revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// A session that is known.
    Session(usize),
    /// The user of a device.
    Subject {
        /// The device.
        device: usize,
        /// Only as one issuer says it.
        of_one: bool,
    },
    /// The token of a device.
    Token {
        /// The device.
        device: usize,
        /// Only as one issuer says it.
        of_one: bool,
    },
}

impl Action {
    /// Its name, for the report.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Come { .. } => "come",
            Self::Leave(_) => "leave",
            Self::Vanish(_) => "vanish",
            Self::Hangup(_) => "hangup",
            Self::VmCrash { .. } => "vm crash",
            Self::ProxyCrash { host: false, .. } => "proxy crash",
            Self::ProxyCrash { host: true, .. } => "proxy host crash",
            Self::ProxyPause { .. } => "proxy pause",
            Self::CutPlane { .. } => "cut proxy from control plane",
            Self::CutInstance { .. } => "cut proxy from instance",
            Self::CutAgent { .. } => "cut agent from control plane",
            Self::Weather { .. } => "weather",
            Self::PlaneCrash { .. } => "control plane crash",
            Self::PlanePause { .. } => "control plane pause",
            Self::ClockJump(_) => "clock jump",
            Self::WallJump { .. } => "wall clock jump",
            Self::DiskStall(_) => "disk stall",
            Self::InstanceCrash { host: false, .. } => "instance crash",
            Self::InstanceCrash { host: true, .. } => "instance host crash",
            Self::Hang { .. } => "hang",
            Self::Wedge(_) => "wedge",
            Self::Flap(_) => "flap",
            Self::AgentCrash { .. } => "agent crash",
            Self::AgentSlow { .. } => "agent slow",
            Self::Drain(_, true) => "drain",
            Self::Drain(_, false) => "undrain",
            Self::Quarantine(_, true) => "quarantine",
            Self::Quarantine(_, false) => "end of quarantine",
            Self::Impostor(_) => "impostor",
            Self::Terminate(_) => "terminate",
            Self::Revoke(Target::Session(_), _) => "revoke a session",
            Self::Revoke(Target::Subject { .. }, _) => "revoke a user",
            Self::Revoke(Target::Token { .. }, _) => "revoke a token",
            Self::Lift(_) => "lift",
            Self::Policy(..) => "policy",
            Self::Reach { reached: true, .. } => "reach",
            Self::Reach { reached: false, .. } => "reach no more",
            Self::Zone(..) => "zone",
        }
    }
}

impl Schedule {
    /// The schedule of a seed.
    pub fn generate(seed: u64) -> Self {
        let mut random = Random::new(seed ^ 0x5eed);
        let agents = match random.below(3) {
            0 => Agents::All,
            1 => Agents::Mixed,
            _ => Agents::None,
        };
        let memory = match random.below(5) {
            0 | 1 => Memory::None,
            _ => Memory::Journal,
        };
        let severity = match random.below(4) {
            0 => Severity::Mild,
            1 | 2 => Severity::Rough,
            _ => Severity::Brutal,
        };
        let pace = random.below(900) + 100;
        let mut at = Duration::ZERO;
        let steps = (0..random.below(100) + 40).map(|number| {
            at += random.millis(0..pace);
            Step {
                number: usize::try_from(number).unwrap_or(usize::MAX),
                at,
                action: Action::draw(&mut random, severity),
            }
        });
        Self {
            steps: steps.collect(),
            seed,
            agents,
            memory,
            severity,
        }
    }

    /// The schedule with only those steps that are kept.
    #[must_use]
    pub fn with_steps(&self, steps: Vec<Step>) -> Self {
        Self {
            steps,
            ..self.clone()
        }
    }
}

impl Action {
    fn draw(random: &mut Random, severity: Severity) -> Self {
        let faults = match severity {
            Severity::Mild => 6,
            Severity::Rough => 20,
            Severity::Brutal => 40,
        };
        if !random.percent(faults) {
            return Self::draw_use(random);
        }
        // Mild schedules have no fault that lets an overlap happen: what fails there recovers in time.
        match (severity, random.below(3)) {
            (_, 0) => Self::draw_operator(random),
            (Severity::Mild, _) => Self::draw_small_fault(random),
            (Severity::Rough, 1) => Self::draw_small_fault(random),
            (Severity::Rough, _) => Self::draw_fault(random, 1_000..12_000),
            (Severity::Brutal, _) => Self::draw_fault(random, 200..40_000),
        }
    }

    fn draw_use(random: &mut Random) -> Self {
        match random.below(100) {
            0..62 => Self::Come {
                device: random.index(DEVICES),
                proxy: random.index(8),
                worker: random.index(8),
                pool: random.index(8),
                picky: random.percent(12),
                priority: u8::from(random.percent(20)),
            },
            62..88 => Self::Leave(random.index(64)),
            88..92 => Self::Vanish(random.index(64)),
            _ => Self::Hangup(random.index(8)),
        }
    }

    fn draw_operator(random: &mut Random) -> Self {
        let instance = random.index(8);
        match random.below(18) {
            13..=15 => Self::draw_revocation(random),
            16 | 17 => Self::Lift(random.index(8)),
            12 => Self::Impostor(random.index(64)),
            0 => Self::Drain(instance, true),
            1 | 2 => Self::Drain(instance, false),
            3 => Self::Quarantine(instance, true),
            4 | 5 => Self::Quarantine(instance, false),
            6 | 7 => Self::Terminate(random.index(64)),
            8 => Self::Policy(random.index(8), random.next()),
            9 => Self::Reach {
                proxy: random.index(8),
                instance,
                reached: false,
            },
            10 => Self::Reach {
                proxy: random.index(8),
                instance,
                reached: true,
            },
            _ => Self::Zone(random.index(8), random.index(3)),
        }
    }

    fn draw_revocation(random: &mut Random) -> Self {
        let (device, of_one) = (random.index(DEVICES), random.percent(50));
        let target = match random.below(3) {
            0 => Target::Session(random.index(64)),
            1 => Target::Subject { device, of_one },
            _ => Target::Token { device, of_one },
        };
        let span = random.millis(2_000..40_000);
        Self::Revoke(target, RevocationSpan::new(span).unwrap_or_default())
    }

    fn draw_small_fault(random: &mut Random) -> Self {
        let (proxy, instance, worker) = (random.index(8), random.index(8), random.index(8));
        let span = random.millis(50..1_500);
        match random.below(10) {
            0 => Self::VmCrash { proxy, worker },
            1 => Self::ProxyPause { proxy, span },
            2 => Self::CutPlane { proxy, span },
            3 => Self::CutAgent { instance, span },
            4 => Self::Weather { span, loss: 5 },
            5 => Self::PlanePause { span },
            6 => Self::Flap(instance),
            7 => Self::InstanceCrash {
                instance,
                down: span,
                host: false,
            },
            8 => Self::DiskStall(span),
            _ => Self::AgentSlow { instance, span },
        }
    }

    fn draw_fault(random: &mut Random, spans: std::ops::Range<u64>) -> Self {
        let (proxy, instance, worker) = (random.index(8), random.index(8), random.index(8));
        let down = random.millis(50..spans.end / 4);
        let span = random.millis(spans);
        let host = random.percent(30);
        match random.below(26) {
            0 => Self::VmCrash { proxy, worker },
            1 | 2 => Self::ProxyCrash { proxy, host, down },
            3..=5 => Self::ProxyPause { proxy, span },
            6 | 7 => Self::CutPlane { proxy, span },
            8 | 9 => Self::CutInstance {
                proxy,
                instance,
                span,
            },
            10 => Self::CutAgent { instance, span },
            11 => Self::Weather {
                span,
                loss: random.below(40),
            },
            12..=15 => Self::PlaneCrash { down },
            16 => Self::PlanePause { span },
            17 if random.percent(30) => Self::ClockJump(span),
            17 => Self::WallJump {
                by: span,
                back: random.percent(50),
            },
            18 => Self::DiskStall(down),
            19 => Self::InstanceCrash {
                instance,
                down,
                host,
            },
            20 => Self::Hang { instance, span },
            21 | 22 => Self::Wedge(instance),
            23 => Self::Flap(instance),
            24 => Self::AgentCrash { instance, down },
            _ => Self::AgentSlow { instance, span },
        }
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            seed,
            agents,
            memory,
            severity,
            steps,
        } = self;
        writeln!(
            f,
            "seed {seed}: agents {agents:?}, journal {}, {severity:?}, {} steps",
            *memory == Memory::Journal,
            steps.len()
        )?;
        for step in steps {
            let at = step.at.as_secs_f64();
            writeln!(f, "{:>5}  {at:>8.3}s  {:?}", step.number, step.action)?;
        }
        Ok(())
    }
}

/// Two a user.
pub(crate) const DEVICES: usize = 10;
