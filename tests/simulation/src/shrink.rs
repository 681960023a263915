use crate::schedule::{Schedule, Step};
use crate::world::run;

/// Leaves steps out of a schedule for as long as the same invariant fails; the schedule that is left.
pub fn shrink(schedule: &Schedule) -> Schedule {
    let Some(violation) = run(schedule, false).violation else {
        return schedule.clone();
    };
    let fails = |steps: &[Step]| {
        let shorter = schedule.with_steps(steps.to_vec());
        let found = run(&shorter, false).violation;
        found.is_some_and(|found| found.invariant == violation.invariant)
    };
    let mut steps = schedule.steps.clone();
    let mut chunk = steps.len() / 2;
    while chunk > 0 {
        let mut at = 0;
        while at < steps.len() {
            let rest = steps.iter().enumerate();
            let without: Vec<Step> = rest
                .filter(|(index, _)| !(at..at + chunk).contains(index))
                .map(|(_, step)| step.clone())
                .collect();
            if fails(&without) {
                steps = without;
            } else {
                at += chunk;
            }
        }
        chunk /= 2;
    }
    schedule.with_steps(steps)
}
