use serde::Serialize;

/// One thing measured, over the parts of a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Figure {
    name: String,
    median: f64,
    min: f64,
    max: f64,
    unit: &'static str,
    target: Option<Target>,
    better: &'static str,
}

/// What a figure has to be.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Target {
    /// The median may be at most this.
    Median(f64),
    /// The median has to be at least this.
    Least(f64),
    /// Nothing that was seen may be more than this.
    Greatest(f64),
}

impl Figure {
    /// A figure of which less is better, from its value in each part of the run. Of no values it is NaN.
    pub(crate) fn lower(name: impl Into<String>, unit: &'static str, values: &[f64]) -> Self {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        Self {
            name: name.into(),
            median: percentile(&sorted, 50),
            min: percentile(&sorted, 0),
            max: percentile(&sorted, 100),
            unit,
            target: None,
            better: "lower",
        }
    }

    /// A figure of which more is better.
    pub(crate) fn higher(name: impl Into<String>, unit: &'static str, values: &[f64]) -> Self {
        Self {
            better: "higher",
            ..Self::lower(name, unit, values)
        }
    }

    /// The median may be at most this.
    pub(crate) fn at_most(mut self, target: f64) -> Self {
        self.target = Some(Target::Median(target));
        self
    }

    /// The median has to be at least this.
    pub(crate) fn at_least(mut self, target: f64) -> Self {
        self.target = Some(Target::Least(target));
        self
    }

    /// Nothing that was seen may be more than this.
    pub(crate) fn never_above(mut self, target: f64) -> Self {
        self.target = Some(Target::Greatest(target));
        self
    }

    fn judgement(&self) -> String {
        let met = |met| if met { "met" } else { "not met" };
        match self.target {
            None => "no target".to_owned(),
            Some(Target::Greatest(target)) => {
                format!(
                    "never above {target}{}: {}",
                    self.unit,
                    met(self.max <= target)
                )
            }
            Some(Target::Median(target)) => {
                self.of_median("at most", target, self.median <= target)
            }
            Some(Target::Least(target)) => {
                self.of_median("at least", target, self.median >= target)
            }
        }
    }

    fn of_median(&self, bound: &str, target: f64, met: bool) -> String {
        let margin = (target - self.median).abs();
        let spread = if self.max - self.min <= margin {
            ""
        } else {
            ", spread wider than the margin"
        };
        let met = if met { "met" } else { "not met" };
        format!("{bound} {target}{}: {met}{spread}", self.unit)
    }
}

/// Prints a line for each figure.
pub(crate) fn print(figures: &[Figure]) {
    let names = figures.iter().map(|figure| figure.name.chars().count());
    let width = names.max().unwrap_or_default();
    println!(
        "{:<width$} {:>11} {:>11} {:>11}  target",
        "", "median", "least", "greatest"
    );
    for figure in figures {
        let Figure {
            name,
            median,
            min,
            max,
            unit,
            ..
        } = figure;
        let shown = |value: &f64| format!("{value:.2}{unit}");
        println!(
            "{name:<width$} {:>11} {:>11} {:>11}  {}",
            shown(median),
            shown(min),
            shown(max),
            figure.judgement()
        );
    }
}

/// The value below which `percent` of the values lie, by nearest rank; NaN of none.
pub(crate) fn percentile(sorted: &[f64], percent: usize) -> f64 {
    let rank = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(rank).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_by_nearest_rank() {
        let hundred: Vec<f64> = (1..=100).map(f64::from).collect();
        let cases: [(&[f64], usize, f64); 7] = [
            (&hundred, 0, 1.0),
            (&hundred, 50, 50.0),
            (&hundred, 99, 99.0),
            (&hundred, 100, 100.0),
            (&[1.0, 2.0, 3.0], 50, 2.0),
            (&[1.0, 2.0, 3.0], 99, 3.0),
            (&[7.0], 50, 7.0),
        ];
        for (sorted, percent, expected) in cases {
            assert_eq!(
                percentile(sorted, percent),
                expected,
                "{percent} % of {sorted:?}"
            );
        }
        assert!(percentile(&[], 50).is_nan());
    }

    #[test]
    fn a_figure_is_judged_by_its_median_and_its_spread() {
        let cases: [(&[f64], &str); 3] = [
            (&[1.3, 1.1, 1.2], "at most 1.5x: met"),
            (
                &[1.3, 1.1, 1.6],
                "at most 1.5x: met, spread wider than the margin",
            ),
            (&[1.9, 2.0, 2.1], "at most 1.5x: not met"),
        ];
        for (values, expected) in cases {
            let figure = Figure::lower("ratio", "x", values).at_most(1.5);
            assert_eq!(figure.judgement(), expected, "{values:?}");
        }
        for (values, expected) in [
            ([1.3, 1.4, 1.35], "at least 1x: met"),
            ([0.6, 0.7, 0.65], "at least 1x: not met"),
        ] {
            let figure = Figure::higher("ratio", "x", &values).at_least(1.0);
            assert_eq!(figure.judgement(), expected, "{values:?}");
        }
        for (greatest, expected) in [(0.0, "never above 0: met"), (1.0, "never above 0: not met")] {
            let figure = Figure::lower("overlaps", "", &[0.0, 0.0, greatest]).never_above(0.0);
            assert_eq!(figure.judgement(), expected);
        }
        assert_eq!(
            Figure::lower("time", " ms", &[1.0]).judgement(),
            "no target"
        );
    }
}
