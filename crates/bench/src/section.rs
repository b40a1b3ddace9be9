//! Figures as a table, for whoever prints them.

use templar_screen::{Paint, table};

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

/// Tables with their titles and notes.
pub fn sections(paint: Paint, sections: &[Section]) -> String {
    let mut text = String::new();
    for Section { title, head, rows, notes } in sections {
        if !title.is_empty() {
            text += &format!("{}\n", paint.bold(title));
        }
        let head: Vec<&str> = head.iter().map(String::as_str).collect();
        text += &table(paint, (!head.is_empty()).then_some(&head), rows);
        for note in notes {
            text += &format!("{}\n", paint.dim(note));
        }
        text.push('\n');
    }
    text
}
