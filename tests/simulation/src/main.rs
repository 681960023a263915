//! Runs schedules until one fails, and says how to see it again.

use std::process::ExitCode;

use berth_simulation::{Coverage, EXPECTED, Schedule, run, shrink};
use clap::Parser;

#[derive(Debug, Parser)]
#[command(about = "Simulates placement under faults")]
struct Arguments {
    /// How many schedules to run.
    #[arg(long, default_value_t = 20_000)]
    seeds: u64,
    /// The first one's seed.
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// Runs one schedule only.
    #[arg(long, conflicts_with_all = ["seeds", "first"])]
    replay: Option<u64>,
    /// Of that schedule, only these steps.
    #[arg(long, value_delimiter = ',', requires = "replay")]
    steps: Option<Vec<usize>>,
    /// Tells all that happens.
    #[arg(long, requires = "replay")]
    trace: bool,
    /// Says which seed failed, and not why.
    #[arg(long)]
    no_shrink: bool,
    /// Tells how often what happened.
    #[arg(long)]
    report: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match arguments.replay {
        Some(seed) => replay(seed, arguments.steps.as_deref(), arguments.trace),
        None => simulate(&arguments),
    }
}

fn replay(seed: u64, only: Option<&[usize]>, trace: bool) -> ExitCode {
    let mut schedule = Schedule::generate(seed);
    if let Some(only) = only {
        schedule.steps.retain(|step| only.contains(&step.number));
    }
    print!("{schedule}");
    let ran = run(&schedule, trace);
    for line in ran.trace {
        println!("{line}");
    }
    match ran.violation {
        Some(violation) => {
            println!("{violation}");
            ExitCode::FAILURE
        }
        None => ExitCode::SUCCESS,
    }
}

fn simulate(arguments: &Arguments) -> ExitCode {
    let mut coverage = Coverage::default();
    for seed in arguments.first..arguments.first.saturating_add(arguments.seeds) {
        let schedule = Schedule::generate(seed);
        let ran = run(&schedule, false);
        coverage.merge(&ran.coverage);
        let done = seed - arguments.first + 1;
        if done.is_multiple_of(PROGRESS) {
            eprintln!("{done} of {} schedules", arguments.seeds);
        }
        if let Some(violation) = ran.violation {
            println!("seed {seed}: {violation}");
            if arguments.no_shrink {
                return ExitCode::FAILURE;
            }
            let shrunk = shrink(&schedule);
            print!("{shrunk}");
            let numbers: Vec<String> = shrunk
                .steps
                .iter()
                .map(|step| step.number.to_string())
                .collect();
            println!(
                "simulate --replay {seed} --steps {} --trace",
                numbers.join(",")
            );
            return ExitCode::FAILURE;
        }
    }
    if arguments.report {
        println!("{:>12}  schedules", arguments.seeds);
        for (what, count) in coverage.iter() {
            println!("{count:>12}  {what}");
        }
    }
    let missing: Vec<&str> = EXPECTED
        .iter()
        .copied()
        .filter(|what| coverage.count(what) == 0)
        .collect();
    if arguments.seeds >= ENOUGH && !missing.is_empty() {
        println!("never happened: {}", missing.join(", "));
        return ExitCode::FAILURE;
    }
    println!("{} schedules, and none breaks a rule", arguments.seeds);
    ExitCode::SUCCESS
}

/// Half a minute's worth, more or less.
const PROGRESS: u64 = 20_000;

/// In so many schedules everything is expected to happen.
const ENOUGH: u64 = 20_000;
