//! Result of one bench: figures and tables, saved in a file until the report is written.

use std::{collections::BTreeMap, fs, path::PathBuf};

use serde::{Deserialize, Serialize};

use super::{FOLDER, figure::Written, table::Table, wanted};

/// The result of one bench.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Part {
    /// Figures by name, see [`wanted`].
    pub(crate) figures: BTreeMap<String, f64>,
    pub(crate) tables: Vec<Table>,
}

impl Part {
    /// Adds a figure and prints it.
    pub(crate) fn figure(&mut self, id: &str, value: f64) {
        let wanted = wanted::named(id);
        let mark = wanted.target.mark(value).word();
        println!("{:>12}  {} ({id}) {mark}", Written(value, wanted.unit).to_string(), wanted.what);
        self.figures.insert(id.to_owned(), value);
    }

    /// Adds a table and prints it.
    pub(crate) fn table(&mut self, table: Table) {
        println!("\n{table}");
        self.tables.push(table);
    }

    /// Saves it for the report.
    pub(crate) fn save(&self, bench: &str) {
        fs::create_dir_all(PathBuf::from(FOLDER).join("parts")).expect("the target folder takes files");
        let text = serde_json::to_string_pretty(self).expect("numbers and words can be written");
        fs::write(file(bench), text).expect("the target folder takes files");
    }

    /// Returns the saved result of a bench, if there is one.
    pub(crate) fn load(bench: &str) -> Option<Self> {
        let text = fs::read_to_string(file(bench)).ok()?;
        Some(serde_json::from_str(&text).expect("the file was written by this bench"))
    }
}

fn file(bench: &str) -> PathBuf {
    PathBuf::from(FOLDER).join("parts").join(format!("{bench}.json"))
}
