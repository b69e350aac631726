//! Pictures: lines for what grows along an axis, bars for the batch.

use std::error::Error;
use std::ops::Range;
use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;

use crate::peers::{PEERS, Peer};
use crate::report::per_second;
use crate::results::{Cell, Figure, Results};
use crate::scenario::Scenario;

type Drawn = Result<(), Box<dyn Error>>;
type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

const TEXT: RGBColor = RGBColor(40, 40, 40);
const GRID: RGBColor = RGBColor(225, 225, 225);
const LEGEND: i32 = 150;

/// A picture of each scenario that was measured.
pub(crate) fn draw(results: &Results, folder: &Path) -> Drawn {
    for scenario in Scenario::SCALING {
        if results.points(scenario).len() > 1 {
            scaling(results, scenario, &picture(folder, scenario))?;
        }
    }
    if !results.points(Scenario::Batch).is_empty() {
        batch(results, &picture(folder, Scenario::Batch))?;
    }
    Ok(())
}

fn picture(folder: &Path, scenario: Scenario) -> std::path::PathBuf {
    folder.join(scenario.name()).with_extension("svg")
}

fn font(size: i32) -> TextStyle<'static> {
    ("sans-serif", size).into_font().color(&TEXT)
}

/// The peers in pictures.
fn drawn() -> impl Iterator<Item = (&'static Peer, RGBColor)> {
    PEERS.iter().filter_map(|peer| Some((peer, peer.colour?)))
}

fn width(peer: &Peer) -> u32 {
    if peer.name == "rawspawn" { 4 } else { 2 }
}

/// A line of a peer: its figure in µs at each point that has one.
fn line(
    results: &Results,
    scenario: Scenario,
    peer: &'static str,
    figure: Figure,
) -> Vec<(i32, f64)> {
    let points = results.points(scenario);
    let value = |(index, &x): (usize, &u64)| {
        let cell = Cell { scenario, x, peer };
        let spread = results.spread(cell, figure, |stat| stat.median)?;
        Some((index as i32, spread.median / 1e3))
    };
    points.iter().enumerate().filter_map(value).collect()
}

fn scaling(results: &Results, scenario: Scenario, file: &Path) -> Drawn {
    let (size_x, size_y) = (980, 400);
    let root = SVGBackend::new(file, (size_x, size_y)).into_drawing_area();
    root.fill(&WHITE)?;
    let root = root.titled(scenario.title(), font(20))?;
    let (panels, legend) = root.split_horizontally(size_x as i32 - LEGEND);
    let panels = panels.split_evenly((1, 2));
    let figures = [("parent held, µs", Figure::Held), ("from spawn to exit, µs", Figure::Total)];
    for (area, (title, figure)) in panels.iter().zip(figures) {
        panel(results, scenario, area, title, figure)?;
    }
    key(results, scenario, &legend)?;
    root.present()?;
    Ok(())
}

/// What both panels show, so that they can be compared.
fn range(results: &Results, scenario: Scenario) -> Range<f64> {
    let (mut low, mut high) = (f64::MAX, 0.0_f64);
    for (peer, _) in drawn() {
        for figure in [Figure::Held, Figure::Total] {
            for (_, value) in line(results, scenario, peer.name, figure) {
                (low, high) = (low.min(value), high.max(value));
            }
        }
    }
    low / 1.2..high * 1.2
}

/// Those of 1, 2, 5, 10, 20, 50 and so on: others would not fit.
fn round_number(value: f64) -> String {
    let text = format!("{value:.0}");
    let is_round = ["1", "2", "5"].contains(&text.trim_end_matches('0'));
    if is_round { text } else { String::new() }
}

fn panel(
    results: &Results,
    scenario: Scenario,
    area: &Area<'_>,
    title: &str,
    figure: Figure,
) -> Drawn {
    let points = results.points(scenario);
    let lines: Vec<_> = drawn()
        .map(|(peer, colour)| (peer, colour, line(results, scenario, peer.name, figure)))
        .collect();
    let mut chart = ChartBuilder::on(area)
        .caption(title, font(15))
        .margin(8)
        .margin_right(24)
        .x_label_area_size(28)
        .y_label_area_size(56)
        .build_cartesian_2d(0..points.len() as i32 - 1, range(results, scenario).log_scale())?;
    let label =
        |index: &i32| points.get(*index as usize).map_or(String::new(), |&x| scenario.label(x));
    chart
        .configure_mesh()
        .x_labels(points.len())
        .x_label_formatter(&label)
        .y_label_formatter(&|&value| round_number(value))
        .label_style(font(13))
        .bold_line_style(GRID)
        .light_line_style(WHITE)
        .axis_style(TEXT)
        .draw()?;
    // The first rows of the table on top.
    for (peer, colour, line) in lines.iter().rev() {
        let style = colour.stroke_width(width(peer));
        chart.draw_series(LineSeries::new(line.clone(), style))?;
        let dot = |&point: &(i32, f64)| Circle::new(point, width(peer) + 1, colour.filled());
        chart.draw_series(line.iter().map(dot))?;
    }
    Ok(())
}

/// The peers in the order of their lines' ends in the left panel.
fn key(results: &Results, scenario: Scenario, area: &Area<'_>) -> Drawn {
    let mut ends: Vec<_> = drawn()
        .filter_map(|(peer, colour)| {
            let end = line(results, scenario, peer.name, Figure::Held).last()?.1;
            Some((peer, colour, end))
        })
        .collect();
    ends.sort_by(|a, b| b.2.total_cmp(&a.2));
    for (index, (peer, colour, _)) in ends.iter().enumerate() {
        let y = 60 + 24 * index as i32;
        let style = colour.stroke_width(width(peer));
        area.draw(&PathElement::new(vec![(0, y), (24, y)], style))?;
        area.draw(&Text::new(peer.name, (32, y - 6), font(14)))?;
    }
    Ok(())
}

/// A bar a peer, the fastest first.
fn batch(results: &Results, file: &Path) -> Drawn {
    let mut rates: Vec<_> = drawn()
        .filter_map(|(peer, colour)| Some((peer, colour, per_second(results, peer.name)?)))
        .collect();
    rates.sort_by(|a, b| b.2.total_cmp(&a.2));
    let most = rates.first().map_or(1.0, |rate| rate.2);
    let (left, full, step) = (140, 460, 30);
    let size = (720, 60 + step as u32 * rates.len() as u32);
    let root = SVGBackend::new(file, size).into_drawing_area();
    root.fill(&WHITE)?;
    let root =
        root.titled("Children per second: 16 from one thread, then all are waited for", font(18))?;
    for (index, (peer, colour, rate)) in rates.iter().enumerate() {
        let y = 14 + step * index as i32;
        let end = left + (rate / most * f64::from(full)) as i32;
        root.draw(&Text::new(peer.name, (12, y + 3), font(14)))?;
        root.draw(&Rectangle::new([(left, y), (end, y + step - 10)], colour.filled()))?;
        root.draw(&Text::new(format!("{rate:.0}"), (end + 8, y + 3), font(14)))?;
    }
    root.present()?;
    Ok(())
}
