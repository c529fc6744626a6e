//! The tables in README, `benches/README.md` and `docs/scaling.md`, generated from the last report.

use std::{fmt::Write as _, fs};

use super::{
    Report, capacity,
    figure::{Mark, Written},
    last,
    wanted::{self, WANTED, Wanted},
};

/// Figures in the README.
const SHORT: &[&str] = &[
    "loopback.hyper",
    "loopback.nginx",
    "loopback.p99",
    "loopback.store_local",
    "loopback.store_remote",
    "check.instructions",
    "check.allocations",
    "scale.million",
    "scale.session",
    "scale.rest",
    "scale.cold_start",
    "edge.traefik_tls",
];

/// Writes each table between the two comments that mark its place.
pub(crate) fn refresh() {
    let report = last();
    let short: Vec<_> = SHORT.iter().map(|id| wanted::named(id)).collect();
    let all: Vec<_> = WANTED.iter().filter(|wanted| wanted.target.limits().is_some()).collect();
    let others: Vec<_> = WANTED.iter().filter(|wanted| wanted.target.limits().is_none()).collect();
    put("README.md", &[("bench", targets(&report, &short))]);
    put("benches/README.md", &[("targets", targets(&report, &all)), ("others", plain(&report, &others))]);
    put("docs/scaling.md", &capacity::tables(&report));
}

fn targets(report: &Report, figures: &[&Wanted]) -> String {
    let mut text = format!("{}\n\n| measure | must | aim | measured | |\n|---|---|---|---|---|\n", headline(report));
    for wanted in figures {
        let Some((must, aim)) = wanted.target.limits() else { continue };
        let written = |value| Written(value, wanted.unit).to_string();
        let (measured, mark) = match report.figures.get(wanted.id) {
            Some(value) => (written(*value), wanted.target.mark(*value)),
            None => ("–".to_owned(), Mark::None),
        };
        writeln!(text, "| {} | {} | {} | **{measured}** | {} |", wanted.what, written(must), written(aim), mark.word())
            .expect("memory takes text");
    }
    text
}

fn plain(report: &Report, figures: &[&Wanted]) -> String {
    let mut text = "| measure | measured |\n|---|---|\n".to_owned();
    for wanted in figures {
        let measured = report.figures.get(wanted.id).map(|value| Written(*value, wanted.unit).to_string());
        writeln!(text, "| {} | {} |", wanted.what, measured.unwrap_or_else(|| "–".to_owned()))
            .expect("memory takes text");
    }
    text
}

fn headline(report: &Report) -> String {
    let day = report.date.split('T').next().unwrap_or_default();
    format!("Measured on {day}, commit {}: {}.", report.commit, report.machine)
}

/// Writes each text between `<!-- name -->` and `<!-- /name -->`.
fn put(file: &str, texts: &[(&str, String)]) {
    let mut page = fs::read_to_string(file).expect("the document is there");
    for (name, text) in texts {
        let (begin, end) = (format!("<!-- {name} -->\n"), format!("<!-- /{name} -->"));
        let split = page.split_once(&begin).and_then(|(head, rest)| Some((head, rest.split_once(&end)?.1)));
        let Some((head, tail)) = split else { panic!("{file} has no place for {name}") };
        page = format!("{head}{begin}{text}{end}{tail}");
    }
    fs::write(file, page).expect("the document can be written");
    println!("{file} tells what was measured");
}
