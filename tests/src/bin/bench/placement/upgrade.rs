//! What placement adds to an upgrade, apart from what admission and asking add.

use std::iter;

use berth_tests::Ports;

use super::fixed::FixedAnswer;
use crate::BenchError;
use crate::beside::{self, Filters};
use crate::figure::Figure;
use crate::upgrade::{BLOCK, PAUSES, Side, how, measure, world};

pub(super) async fn run() -> Result<Vec<Figure>, BenchError> {
    println!(
        "placement, upgrade: {}\n\
         Fixed answer: Berth's filter, which checks the token and asks as ever, but a server in this very process, which\n\
         grants every session the same instance at once: no lease, no queue, no process of its own to wake.\n\
         What it takes longer than the bare Envoy is admission's (and the asking), what Berth takes longer than it is\n\
         placement's; a difference of p99s is one of two tails, not the tail of a difference.",
        how()
    );
    let world = world().await?;
    let instances = world.berth().instances().await?;
    let first = instances
        .first()
        .ok_or(BenchError::Configuration("instance"))?;
    let cluster = beside::cluster_name(&world).await?;
    let fixed = FixedAnswer::start(cluster, first.address.clone()).await?;
    let mut ports = Ports::new();
    let kinds = [Filters::Bare, Filters::Asking(fixed.address())];
    let [bare, asking] = beside::add(&world, &mut ports, kinds).await?;
    let mut all = Vec::new();
    for (when, pause) in PAUSES {
        let mut sides = [
            Side::new("bare Envoy", bare, false),
            Side::new("fixed answer", asking, true),
            Side::new("Berth", world.https(), true),
        ];
        measure(&world, &mut sides, pause).await?;
        all.extend(figures(&sides, when));
    }
    Ok(all)
}

fn figures([bare, fixed, berth]: &[Side; 3], when: &str) -> Vec<Figure> {
    let mut figures = Vec::new();
    for (percent, block) in [(50, 1), (99, BLOCK)] {
        let mut added = |what: &str, side: &Side, to: &Side| {
            let (with, without) = (
                side.percentiles(percent, block),
                to.percentiles(percent, block),
            );
            let values: Vec<f64> = iter::zip(with, without)
                .map(|(with, without)| with - without)
                .collect();
            figures.push(Figure::lower(
                format!("p{percent}, {what} adds{when}"),
                " ms",
                &values,
            ));
        };
        added("placement", berth, fixed);
        added("admission", fixed, bare);
    }
    for side in [bare, fixed, berth] {
        for (percent, block) in [(50, 1), (99, BLOCK)] {
            let name = format!("p{percent}, {}{when}", side.name);
            let values = side.percentiles(percent, block);
            figures.push(Figure::lower(name, " ms", &values));
        }
    }
    figures
}
