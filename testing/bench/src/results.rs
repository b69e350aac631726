//! What was measured, and ratios of it: each within one round of one session.

use std::fmt::Write as _;

use crate::remote::Sample;
use crate::scenario::Scenario;

/// Of the samples of one round, in nanoseconds.
#[derive(Clone, Copy)]
pub(crate) struct Stat {
    pub(crate) median: u64,
    pub(crate) p99: u64,
    pub(crate) min: u64,
}

/// Which of the two figures of a spawn.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Figure {
    /// Until the spawn returned.
    Held,
    /// Until the child was reaped.
    Total,
}

/// A peer at a point.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cell {
    pub(crate) scenario: Scenario,
    pub(crate) x: u64,
    pub(crate) peer: &'static str,
}

/// A round of a cell.
pub(crate) struct Row {
    pub(crate) cell: Cell,
    /// Workers that were alive together have the same one.
    pub(crate) session: usize,
    pub(crate) round: usize,
    pub(crate) samples: usize,
    pub(crate) held: Stat,
    pub(crate) total: Stat,
}

/// The median over rounds, and the extremes.
#[derive(Clone, Copy)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

#[derive(Default)]
pub(crate) struct Results {
    pub(crate) rows: Vec<Row>,
}

impl Stat {
    /// Of samples, of which there is one at least.
    fn of(mut values: Vec<u64>) -> Self {
        values.sort_unstable();
        let nearest = |percent: usize| values[(values.len() * percent).div_ceil(100) - 1];
        Self { median: nearest(50), p99: nearest(99), min: values[0] }
    }
}

impl Row {
    pub(crate) fn new(cell: Cell, session: usize, round: usize, samples: &[Sample]) -> Self {
        let held = Stat::of(samples.iter().map(|sample| sample.0).collect());
        let total = Stat::of(samples.iter().map(|sample| sample.1).collect());
        Self { cell, session, round, samples: samples.len(), held, total }
    }

    pub(crate) fn stat(&self, figure: Figure) -> Stat {
        if figure == Figure::Held { self.held } else { self.total }
    }
}

impl Spread {
    fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (&min, &max) = (values.first()?, values.last()?);
        Some(Self {
            median: f64::midpoint(values[(values.len() - 1) / 2], values[values.len() / 2]),
            min,
            max,
        })
    }
}

/// Exact below 2^53: a hundred days.
#[allow(clippy::cast_precision_loss)]
fn float(nanoseconds: u64) -> f64 {
    nanoseconds as f64
}

impl Results {
    fn rows_of(&self, cell: Cell) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(move |row| row.cell == cell)
    }

    /// What `pick` takes of each round's figure.
    pub(crate) fn spread(
        &self,
        cell: Cell,
        figure: Figure,
        pick: impl Fn(Stat) -> u64,
    ) -> Option<Spread> {
        Spread::of(self.rows_of(cell).map(|row| float(pick(row.stat(figure)))).collect())
    }

    /// `cell` by `base`: of medians, each in the same round of the same session.
    pub(crate) fn ratio(&self, cell: Cell, base: Cell, figure: Figure) -> Option<Spread> {
        let median = |row: &Row| float(row.stat(figure).median);
        let mut ratios = Vec::new();
        for row in self.rows_of(cell) {
            let same = |other: &&Row| (other.session, other.round) == (row.session, row.round);
            ratios.extend(self.rows_of(base).find(same).map(|other| median(row) / median(other)));
        }
        Spread::of(ratios)
    }

    /// The points that were measured, in order.
    pub(crate) fn points(&self, scenario: Scenario) -> Vec<u64> {
        let mut points: Vec<_> = self
            .rows
            .iter()
            .filter(|row| row.cell.scenario == scenario)
            .map(|row| row.cell.x)
            .collect();
        points.sort_unstable();
        points.dedup();
        points
    }

    /// All rows. A batch's figures are those of its 16 children together.
    pub(crate) fn csv(&self) -> String {
        let mut text = String::from(
            "scenario,x,peer,session,round,n,held_median_ns,held_p99_ns,held_min_ns,\
             total_median_ns,total_p99_ns,total_min_ns\n",
        );
        for Row { cell, session, round, samples, held, total } in &self.rows {
            let Cell { scenario, x, peer } = cell;
            let _ = writeln!(
                text,
                "{},{x},{peer},{session},{round},{samples},{},{},{},{},{},{}",
                scenario.name(),
                held.median,
                held.p99,
                held.min,
                total.median,
                total.p99,
                total.min,
            );
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::{Cell, Figure, Results, Row};
    use crate::scenario::Scenario;

    fn cell(peer: &'static str) -> Cell {
        Cell { scenario: Scenario::Plain, x: 0, peer }
    }

    #[test]
    fn median_and_p99_are_the_nearest_samples() {
        let samples: Vec<_> = (1..=200).map(|n| (n, n * 10)).collect();
        let row = Row::new(cell("a"), 0, 0, &samples);
        assert_eq!((row.held.median, row.held.p99, row.held.min), (100, 198, 1));
        assert_eq!(row.total.median, 1000);
        let row = Row::new(cell("a"), 0, 0, &[(7, 9)]);
        assert_eq!((row.held.median, row.held.p99, row.total.min), (7, 7, 9));
    }

    #[test]
    fn a_ratio_is_taken_within_a_round_of_a_session() {
        let mut results = Results::default();
        for (session, round, a, b) in [(0, 0, 10, 5), (0, 1, 40, 10), (1, 0, 9, 3)] {
            results.rows.push(Row::new(cell("a"), session, round, &[(a, a)]));
            results.rows.push(Row::new(cell("b"), session, round, &[(b, b)]));
        }
        results.rows.push(Row::new(cell("a"), 1, 1, &[(99, 99)]));
        let ratio = results.ratio(cell("a"), cell("b"), Figure::Held).unwrap();
        assert_eq!((ratio.median.round(), ratio.min.round(), ratio.max.round()), (3.0, 2.0, 4.0));
        assert!(results.ratio(cell("a"), cell("c"), Figure::Held).is_none());
    }
}
