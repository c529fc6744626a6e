//! The report as a self-contained HTML page with tables and plots.

use askama::Template;

use super::{
    Report,
    figure::{Mark, Written},
    table::Table,
    wanted::{WANTED, Wanted},
};

/// Width of a plot in its own units.
const WIDTH: f64 = 600.0;

#[derive(Template)]
#[template(path = "report.html")]
struct Page<'r> {
    report: &'r Report,
    goals: Vec<Goal>,
    others: Vec<Line>,
    sections: Vec<Section<'r>>,
}

/// A figure with a target.
struct Goal {
    line: Line,
    must: String,
    aim: String,
    mark: &'static str,
    bar: Bar,
    /// Positions of `must` and `aim` on the plot.
    must_at: f64,
    aim_at: f64,
}

/// A figure without a target.
struct Line {
    id: &'static str,
    what: &'static str,
    value: String,
}

struct Section<'r> {
    bench: &'r str,
    tables: Vec<Drawn<'r>>,
}

/// A table and the plot of its first plotted column.
struct Drawn<'r> {
    table: &'r Table,
    rows: Vec<Cells<'r>>,
    plotted: &'r str,
}

struct Cells<'r> {
    name: &'r str,
    values: Vec<String>,
    bar: Bar,
}

/// A bar of a plot and its label.
#[derive(Clone, Debug, Default)]
struct Bar {
    width: f64,
    label: String,
}

/// Renders the page of a report.
pub(super) fn of(report: &Report) -> String {
    let known = || WANTED.iter().filter_map(|wanted| Some((wanted, *report.figures.get(wanted.id)?)));
    let page = Page {
        report,
        goals: known().filter_map(|(wanted, value)| Goal::of(wanted, value)).collect(),
        others: known()
            .filter(|(wanted, value)| wanted.target.mark(*value) == Mark::None)
            .map(|(wanted, value)| Line::of(wanted, value))
            .collect(),
        sections: report.tables.iter().map(|(bench, tables)| Section::of(bench, tables)).collect(),
    };
    page.render().expect("numbers and words can be written")
}

impl Goal {
    fn of(wanted: &'static Wanted, value: f64) -> Option<Self> {
        let (must, aim) = wanted.target.limits()?;
        let written = |value| Written(value, wanted.unit).to_string();
        let widest = value.max(must).max(aim) * 1.1;
        let at = |value: f64| value / widest * WIDTH;
        Some(Self {
            line: Line::of(wanted, value),
            must: written(must),
            aim: written(aim),
            mark: wanted.target.mark(value).word(),
            bar: Bar { width: at(value), label: written(value) },
            must_at: at(must),
            aim_at: at(aim),
        })
    }
}

impl Line {
    fn of(wanted: &'static Wanted, value: f64) -> Self {
        Self { id: wanted.id, what: wanted.what, value: Written(value, wanted.unit).to_string() }
    }
}

impl<'r> Section<'r> {
    fn of(bench: &'r str, tables: &'r [Table]) -> Self {
        Self { bench, tables: tables.iter().map(Drawn::of).collect() }
    }
}

impl<'r> Drawn<'r> {
    fn of(table: &'r Table) -> Self {
        let plotted = table.columns.iter().position(|column| column.plotted);
        let values = || table.rows.iter().filter_map(|row| row.value(plotted?));
        let most = values().fold(f64::MIN_POSITIVE, f64::max);
        let rows = table.rows.iter().map(|row| {
            let unit = |index: usize| table.columns.get(index).map(|column| column.unit);
            let values = (0..table.columns.len()).filter_map(|index| Some(row.written(index, unit(index)?)));
            let bar = plotted.and_then(|index| {
                Some(Bar { width: row.value(index)? / most * WIDTH, label: row.written(index, unit(index)?) })
            });
            Cells { name: &row.name, values: values.collect(), bar: bar.unwrap_or_default() }
        });
        let plotted = plotted.and_then(|index| table.columns.get(index));
        Self { table, rows: rows.collect(), plotted: plotted.map_or("", |column| column.name.as_str()) }
    }
}
