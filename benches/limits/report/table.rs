//! Tables of figures for the terminal, the JSON and the page.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::figure::{Unit, Written};

/// A table.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Table {
    pub(crate) title: String,
    pub(crate) columns: Vec<Column>,
    pub(crate) rows: Vec<Row>,
}

/// Description of a column.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) unit: Unit,
    /// `true` if the page plots it.
    pub(crate) plotted: bool,
}

/// One row.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) name: String,
    /// Values in the order of the columns, some of them absent.
    pub(crate) values: Vec<Option<f64>>,
}

impl Column {
    /// A column of numbers.
    pub(crate) fn of(name: &str, unit: Unit) -> Self {
        Self { name: name.to_owned(), unit, plotted: false }
    }

    /// A column that is plotted as well.
    pub(crate) fn plotted(name: &str, unit: Unit) -> Self {
        Self { plotted: true, ..Self::of(name, unit) }
    }
}

impl Table {
    /// An empty table.
    pub(crate) fn new(title: impl Into<String>, columns: impl IntoIterator<Item = Column>) -> Self {
        Self { title: title.into(), columns: columns.into_iter().collect(), rows: Vec::new() }
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, name: &str, values: impl IntoIterator<Item = f64>) {
        let values = values.into_iter().map(|value| value.is_finite().then_some(value)).collect();
        self.rows.push(Row { name: name.to_owned(), values });
    }
}

impl Row {
    /// Returns the value in a column.
    pub(crate) fn value(&self, column: usize) -> Option<f64> {
        self.values.get(column).copied().flatten()
    }

    /// Returns the formatted value in a column.
    pub(crate) fn written(&self, column: usize, unit: Unit) -> String {
        self.value(column).map(|value| Written(value, unit).to_string()).unwrap_or_default()
    }
}

/// Formats the table for a terminal.
impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first = self.rows.iter().map(|row| row.name.chars().count()).max().unwrap_or_default();
        writeln!(f, "{}", self.title)?;
        write!(f, "  {:first$}", "")?;
        for column in &self.columns {
            write!(f, "  {:>width$}", column.name, width = column.name.chars().count().max(9))?;
        }
        writeln!(f)?;
        for row in &self.rows {
            write!(f, "  {:first$}", row.name)?;
            for (index, column) in self.columns.iter().enumerate() {
                let width = column.name.chars().count().max(9);
                write!(f, "  {:>width$}", row.written(index, column.unit))?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}
