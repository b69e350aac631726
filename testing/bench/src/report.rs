//! The report: claims, then a table or two for each scenario.

use std::fmt::Write as _;

use crate::claims::{CLAIMS, Wanted};
use crate::peers::{FLOOR, GLIBC, PEERS};
use crate::results::{Cell, Figure, Results, Spread, Stat};
use crate::scenario::{BATCH, Scenario};
use crate::table::{row, table};

/// All of it, as markdown.
pub(crate) fn report(results: &Results, description: &str) -> String {
    let mut text = format!("# What a spawn costs\n\n{description}\n\n{INTRODUCTION}");
    let _ = write!(text, "\n## Claims\n\n{}", claims(results));
    for &scenario in &Scenario::ALL {
        if results.points(scenario).is_empty() {
            continue;
        }
        let _ = write!(text, "\n## {}\n\n", scenario.title());
        text += &if scenario == Scenario::Batch {
            batch(results)
        } else if Scenario::SCALING.contains(&scenario) {
            scaling(results, scenario)
        } else {
            single(results, scenario)
        };
    }
    let _ = write!(text, "\n## Peers\n\n{}", peers());
    text
}

/// Who is in the short table, and where.
const SUMMARY: &[&str] = &[
    "rawspawn",
    "rawspawn-all",
    "rawspawn-start",
    FLOOR,
    GLIBC,
    "glibc-closefrom",
    "musl",
    "std",
    "std-pre_exec",
    "python",
    "go",
];

/// The short table: how long the parent is held, in three states, and the batch.
pub(crate) fn summary(results: &Results, description: &str) -> String {
    let held = |scenario, x, peer| {
        let cell = Cell { scenario, x, peer };
        let time = micros(results, cell, Figure::Held, |stat| stat.median);
        let floor = Cell { peer: FLOOR, ..cell };
        let by = results.ratio(cell, floor, Figure::Held);
        by.map_or(time.clone(), |by| format!("{time} ({})", factor(by.median)))
    };
    let mut rows = vec![row([
        "parent held, µs (by floor)",
        "small parent",
        "19,000 descriptors",
        "8 GiB resident",
        "children per second, by 16",
    ])];
    for &peer in SUMMARY {
        rows.push(vec![
            peer.to_owned(),
            held(Scenario::Plain, 0, peer),
            held(Scenario::Fds, 19_000, peer),
            held(Scenario::Rss, 8192, peer),
            per_second(results, peer).map_or(String::new(), |rate| format!("{rate:.0}")),
        ]);
    }
    let mut text = format!("{}\n", table(&rows));
    for peer in PEERS.iter().filter(|peer| SUMMARY.contains(&peer.name)) {
        let _ = writeln!(text, "- **{}**: {}", peer.name, peer.text);
    }
    let _ = write!(text, "\n{description}\n");
    text
}

/// What stands around the short table in README.
const START: &str = "<!-- ./benchmark writes from here -->\n";
const END: &str = "<!-- to here -->\n";

/// `readme` with `summary` in its place.
pub(crate) fn with_summary(readme: &str, summary: &str) -> Option<String> {
    let (before, rest) = readme.split_once(START)?;
    let (_, after) = rest.split_once(END)?;
    Some([before, START, "\n", summary, "\n", END, after].concat())
}

const INTRODUCTION: &str = "\
Written by `./benchmark`. *Held* is the time from the call of the spawn until it returns, *to exit* until the
child is reaped, both in µs: the median over rounds of each round's median, and of its p99. Ratios are of
medians in the same round, in which peers take turns; in brackets the least and the largest of all rounds.
";

/// What was claimed, what was measured.
pub(crate) fn claims(results: &Results) -> String {
    let mut rows = vec![row(["claim", "wanted", "measured", "min–max", "met"])];
    for claim in CLAIMS {
        let wanted = match claim.wanted {
            Wanted::AtMost(limit) => format!("≤ {limit}"),
            Wanted::AtLeast(limit) => format!("≥ {limit}"),
        };
        let measured = claim.measured(results).map(|spread| {
            let met = if claim.wanted.is_met(spread.median) { "yes" } else { "NO" };
            [
                format!("{:.3}", spread.median),
                format!("{:.3}–{:.3}", spread.min, spread.max),
                met.into(),
            ]
        });
        let measured = measured.unwrap_or_else(|| ["not measured", "", ""].map(str::to_owned));
        rows.push([vec![claim.text.to_owned(), wanted], measured.to_vec()].concat());
    }
    table(&rows)
}

fn peers() -> String {
    let mut text = String::new();
    for peer in PEERS {
        let _ = writeln!(text, "- **{}**: {}", peer.name, peer.text);
    }
    text
}

/// The peers that were measured at some point of `scenario`.
fn measured(results: &Results, scenario: Scenario) -> impl Iterator<Item = &'static str> {
    let has = move |name: &&str| {
        results.rows.iter().any(|row| row.cell.scenario == scenario && row.cell.peer == *name)
    };
    PEERS.iter().map(|peer| peer.name).filter(has)
}

/// A scenario of one point: a row a peer.
fn single(results: &Results, scenario: Scenario) -> String {
    let mut rows = vec![row([
        "peer",
        "held",
        "p99",
        "to exit",
        "p99",
        "held / floor",
        "held / glibc",
        "to exit / floor",
    ])];
    for peer in measured(results, scenario) {
        let cell = Cell { scenario, x: 0, peer };
        let by = |base, figure| ratio(results, cell, Cell { peer: base, ..cell }, figure);
        rows.push(vec![
            peer.to_owned(),
            micros(results, cell, Figure::Held, |stat| stat.median),
            micros(results, cell, Figure::Held, |stat| stat.p99),
            micros(results, cell, Figure::Total, |stat| stat.median),
            micros(results, cell, Figure::Total, |stat| stat.p99),
            by(FLOOR, Figure::Held),
            by(GLIBC, Figure::Held),
            by(FLOOR, Figure::Total),
        ]);
    }
    table(&rows)
}

/// A scenario with an axis: a column a point, a table a figure.
fn scaling(results: &Results, scenario: Scenario) -> String {
    let points = results.points(scenario);
    let (first, last) = (points[0], points[points.len() - 1]);
    let head = |name: &str| {
        let labels = points.iter().map(|&x| scenario.label(x));
        [name.to_owned()].into_iter().chain(labels).collect::<Vec<_>>()
    };
    let mut text = String::new();
    for (name, figure) in [("held, µs (p99)", Figure::Held), ("to exit, µs (p99)", Figure::Total)]
    {
        let mut rows = vec![head(name)];
        rows[0].push("last / first".to_owned());
        for peer in measured(results, scenario) {
            let cell = |x| Cell { scenario, x, peer };
            let mut row = vec![peer.to_owned()];
            row.extend(points.iter().map(|&x| {
                let median = micros(results, cell(x), figure, |stat| stat.median);
                format!("{median} ({})", micros(results, cell(x), figure, |stat| stat.p99))
            }));
            row.push(ratio(results, cell(last), cell(first), figure));
            rows.push(row);
        }
        text += &table(&rows);
        text.push('\n');
    }
    let is_measured = |name: &&str| measured(results, scenario).any(|peer| peer == *name);
    for base in [FLOOR, GLIBC].into_iter().filter(is_measured) {
        let mut rows = vec![head(&format!("held / {base}"))];
        for peer in measured(results, scenario).filter(|peer| *peer != base) {
            let by = |&x: &u64| {
                let cell = Cell { scenario, x, peer };
                ratio(results, cell, Cell { peer: base, ..cell }, Figure::Held)
            };
            rows.push([vec![peer.to_owned()], points.iter().map(by).collect()].concat());
        }
        text += &table(&rows);
        text.push('\n');
    }
    text.truncate(text.len() - 1);
    text
}

/// Children per second: of the time until all are reaped.
pub(crate) fn per_second(results: &Results, peer: &'static str) -> Option<f64> {
    let cell = Cell { scenario: Scenario::Batch, x: 0, peer };
    let total = results.spread(cell, Figure::Total, |stat| stat.median)?;
    Some(f64::from(BATCH) * 1e9 / total.median)
}

fn batch(results: &Results) -> String {
    let mut rows = vec![row([
        "peer",
        "children/s",
        "children/s / glibc",
        "all started, µs",
        "p99",
        "all reaped, µs",
        "p99",
    ])];
    for peer in measured(results, Scenario::Batch) {
        let cell = Cell { scenario: Scenario::Batch, x: 0, peer };
        rows.push(vec![
            peer.to_owned(),
            per_second(results, peer).map_or(String::new(), |rate| format!("{rate:.0}")),
            ratio(results, Cell { peer: GLIBC, ..cell }, cell, Figure::Total),
            micros(results, cell, Figure::Held, |stat| stat.median),
            micros(results, cell, Figure::Held, |stat| stat.p99),
            micros(results, cell, Figure::Total, |stat| stat.median),
            micros(results, cell, Figure::Total, |stat| stat.p99),
        ]);
    }
    table(&rows)
}

fn micros(results: &Results, cell: Cell, figure: Figure, pick: impl Fn(Stat) -> u64) -> String {
    results.spread(cell, figure, pick).map_or(String::new(), |spread| short(spread.median / 1e3))
}

fn ratio(results: &Results, cell: Cell, base: Cell, figure: Figure) -> String {
    let text = |Spread { median, min, max }| {
        format!("{} ({}–{})", factor(median), factor(min), factor(max))
    };
    results.ratio(cell, base, figure).map_or(String::new(), text)
}

/// In three or four digits.
fn short(value: f64) -> String {
    match value {
        ..10.0 => format!("{value:.2}"),
        ..100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

/// Two decimals, as limits have.
fn factor(value: f64) -> String {
    if value < 100.0 { format!("{value:.2}") } else { format!("{value:.0}") }
}

#[cfg(test)]
mod tests {
    use super::{END, START, with_summary};

    #[test]
    fn a_summary_takes_the_place_of_the_one_before() {
        let readme = format!("a\n{START}old\n{END}b\n");
        let new = with_summary(&readme, "new\n").unwrap();
        assert_eq!(new, format!("a\n{START}\nnew\n\n{END}b\n"));
        assert_eq!(with_summary(&new, "new\n"), Some(new));
        assert!(with_summary("a\n", "new\n").is_none());
    }
}
