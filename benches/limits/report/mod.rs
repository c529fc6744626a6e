//! The report of the benches: `report.json`, `report.html`, and the tables in the documents.

mod capacity;
pub(crate) mod documents;
pub(crate) mod figure;
mod machine;
mod page;
pub(crate) mod part;
pub(crate) mod table;
mod wanted;

use std::{collections::BTreeMap, fs};

use doorward::clock::Clock;
use serde::{Deserialize, Serialize};

use self::{machine::Machine, part::Part, table::Table};

/// Folder of the results.
pub(crate) const FOLDER: &str = "target/bench";

/// The whole report.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Report {
    /// RFC 3339.
    date: String,
    version: String,
    commit: String,
    machine: Machine,
    /// Figures by name, see [`wanted`].
    figures: BTreeMap<String, f64>,
    /// Tables by bench.
    tables: Vec<(String, Vec<Table>)>,
}

/// Writes the report from the saved results of these benches, whenever they ran.
pub(crate) fn write<'b>(benches: impl Iterator<Item = &'b str>) {
    let parts: Vec<(&str, Part)> = benches.filter_map(|bench| Some((bench, Part::load(bench)?))).collect();
    let report = Report {
        date: Clock::System.now().to_string(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        commit: machine::said("git", &["rev-parse", "--short=12", "HEAD"]),
        machine: Machine::this(),
        figures: parts.iter().flat_map(|(_, part)| part.figures.clone()).collect(),
        tables: parts.into_iter().map(|(bench, part)| (bench.to_owned(), part.tables)).collect(),
    };
    let json = serde_json::to_string_pretty(&report).expect("numbers and words can be written");
    fs::write(format!("{FOLDER}/report.json"), json).expect("the target folder takes files");
    fs::write(format!("{FOLDER}/report.html"), page::of(&report)).expect("the target folder takes files");
    println!("\n{FOLDER}/report.html and {FOLDER}/report.json are written");
}

/// Returns the last report.
fn last() -> Report {
    let text = fs::read_to_string(format!("{FOLDER}/report.json")).expect("there is a report: make bench");
    serde_json::from_str(&text).expect("the file was written by this program")
}
