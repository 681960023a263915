//! What it costs to tell very many proxies that an instance changed, and what it costs when all of them come back, or
//! refuse, at once. Beside go-control-plane where its server is at hand.

mod bed;
mod crowd;
mod node;
mod scan;
mod server;
mod table;

use berth_tests::Ports;
use clap::Args;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

pub(crate) use crowd::StreamError;

use crate::BenchError;
use crate::figure::Figure;
use bed::Bed;
use scan::Protocol;
use server::Side;

/// How large it is to be.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// xds: how many nodes are connected
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u16).range(1..))]
    nodes: u16,
    /// xds: the sizes of the pool
    #[arg(long, value_delimiter = ',', default_values_t = [100, 1_000, 10_000], value_parser = clap::value_parser!(u16).range(1..))]
    instances: Vec<u16>,
    /// xds: the variants of the protocol
    #[arg(long, value_delimiter = ',', default_values = ["delta", "sotw"])]
    protocols: Vec<Protocol>,
    /// xds: the servers
    #[arg(long, value_delimiter = ',', default_values = ["xds-alone", "berth-serve", "go-control-plane"])]
    sides: Vec<Side>,
    /// xds: how often all sides are measured in turn
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
}

pub(crate) async fn run(options: &Options) -> Result<Vec<Figure>, BenchError> {
    allow_many_sockets()?;
    let mut sides = options.sides.clone();
    if !Side::GoControlPlane.is_at_hand()? {
        sides.retain(|side| *side != Side::GoControlPlane);
        println!(
            "BERTH_GO_CONTROL_PLANE is not set: only Berth is measured, and there are no ratios."
        );
    }
    println!(
        "xds: {} nodes on a connection each, which subscribe as Envoy does and do not decode what they get;\n\
         a pool whose instances change one at a time, {} times in each of {} rounds, sides in turn.",
        options.nodes,
        bed::CHANGES,
        options.rounds,
    );
    let mut figures = Vec::new();
    for instances in &options.instances {
        for protocol in &options.protocols {
            figures.extend(measure(options, &sides, usize::from(*instances), *protocol).await?);
        }
    }
    Ok(figures)
}

async fn measure(
    options: &Options,
    sides: &[Side],
    instances: usize,
    protocol: Protocol,
) -> Result<Vec<Figure>, BenchError> {
    let mut ports = Ports::new();
    let mut beds = Vec::new();
    for side in sides {
        let nodes = usize::from(options.nodes);
        beds.push(Bed::start(*side, protocol, instances, nodes, &mut ports).await?);
    }
    for round in 0..options.rounds {
        for bed in in_turn(&mut beds, round) {
            bed.change().await?;
        }
    }
    for bed in &mut beds {
        bed.note_peak()?;
    }
    for round in 0..options.rounds {
        for bed in in_turn(&mut beds, round) {
            bed.be_refused().await?;
            bed.reconnect().await?;
        }
    }
    eprintln!("measured: {instances} instances, {protocol:?}");
    table::figures(&beds, instances, protocol)
}

/// All of them, from one end and then from the other.
fn in_turn(beds: &mut [Bed], round: u16) -> Box<dyn Iterator<Item = &mut Bed> + '_> {
    if round.is_multiple_of(2) {
        Box::new(beds.iter_mut())
    } else {
        Box::new(beds.iter_mut().rev())
    }
}

/// A socket for each node and side, here and in the servers, which inherit this. Most systems let a process have a
/// thousand files unless it asks.
fn allow_many_sockets() -> Result<(), BenchError> {
    let files = Resource::RLIMIT_NOFILE;
    let (_, most) = getrlimit(files).map_err(std::io::Error::from)?;
    Ok(setrlimit(files, most, most).map_err(std::io::Error::from)?)
}
