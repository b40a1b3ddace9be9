//! Figures as a table, for whoever prints them.

/// A table with its title and notes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Section {
    /// Title; may be empty.
    pub title: String,
    /// Names of the columns; none where the first column names the rows.
    pub head: Vec<String>,
    /// Cells.
    pub rows: Vec<Vec<String>>,
    /// Lines below the table.
    pub notes: Vec<String>,
}
