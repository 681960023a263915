//! How much memory an instance and a session keep, by what the process has resident.

use nix::unistd::{SysconfVar, sysconf};

use super::pairs::{Pairs, empty};
use crate::figure::Figure;

pub(super) fn run() -> Vec<Figure> {
    let Some(before) = resident() else {
        return Vec::new();
    };
    let placement = empty(COUNT);
    let with_instances = resident().unwrap_or(before);
    drop(placement);
    // Another one, in memory of its own as far as the first has not been given back.
    let mut pairs = Pairs::new(COUNT);
    let half = resident().unwrap_or(before);
    pairs.fill(COUNT / 2);
    let full = resident().unwrap_or(half);
    let each =
        |bytes: f64, count: usize| bytes / f64::from(u32::try_from(count).unwrap_or(u32::MAX));
    vec![
        Figure::lower(
            "memory of an instance",
            " B",
            &[each(with_instances - before, COUNT)],
        ),
        Figure::lower("memory of a session", " B", &[each(full - half, COUNT / 2)]),
    ]
}

/// Bytes, by `/proc/self/statm`; `None` where there is no such thing.
fn resident() -> Option<f64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: f64 = statm.split(' ').nth(1)?.parse().ok()?;
    let page = sysconf(SysconfVar::PAGE_SIZE).ok()??;
    Some(pages * f64::from(u32::try_from(page).ok()?))
}

const COUNT: usize = 100_000;
