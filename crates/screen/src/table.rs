//! Plain output: aligned tables, numbers for people, and colours only on a terminal.

use indicatif::{DecimalBytes, HumanCount};

/// Whether a stream shall have colours: on a terminal, unless `NO_COLOR` is set or the terminal is dumb.
pub fn is_colour_wanted(is_terminal: bool) -> bool {
    let is_off = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    is_terminal && !is_off && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Colours of one stream.
#[derive(Debug, Clone, Copy)]
pub struct Paint {
    is_on: bool,
}

impl Paint {
    /// The colours of a stream that is a terminal or not.
    pub fn for_stream(is_terminal: bool) -> Self {
        Self { is_on: is_colour_wanted(is_terminal) }
    }

    /// No colours.
    pub fn plain() -> Self {
        Self { is_on: false }
    }

    fn code(self, code: &str, text: &str) -> String {
        if self.is_on { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// For titles.
    pub fn bold(self, text: &str) -> String {
        self.code("1", text)
    }

    /// For side remarks.
    pub fn dim(self, text: &str) -> String {
        self.code("2", text)
    }

    /// For failures.
    pub fn red(self, text: &str) -> String {
        self.code("1;31", text)
    }

    /// For what is well.
    pub fn green(self, text: &str) -> String {
        self.code("32", text)
    }

    /// For what needs a look.
    pub fn yellow(self, text: &str) -> String {
        self.code("33", text)
    }
}

/// Rows with columns of even width, two spaces apart; the first row is the head where `head` is given.
pub fn table(paint: Paint, head: Option<&[&str]>, rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).chain(head.map(<[_]>::len)).max().unwrap_or(0);
    let mut widths = vec![0; columns];
    for (column, cell) in head.into_iter().flat_map(|head| head.iter().enumerate()) {
        widths[column] = cell.chars().count();
    }
    for (column, cell) in rows.iter().flat_map(|row| row.iter().enumerate()) {
        widths[column] = widths[column].max(cell.chars().count());
    }
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let cells = cells.zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    let mut text = String::new();
    if let Some(head) = head {
        text += &paint.dim(&line(&mut head.iter().copied()));
    }
    for row in rows {
        text += &line(&mut row.iter().map(String::as_str));
    }
    text
}

/// Facts, a line each: name and value in two columns.
pub fn facts_table(facts: &[(&str, String)]) -> String {
    let rows: Vec<_> = facts.iter().map(|(name, value)| vec![(*name).to_owned(), value.clone()]).collect();
    table(Paint::plain(), None, &rows)
}

/// A number with its thousands separated: `12,345`.
pub fn count(number: u64) -> String {
    HumanCount(number).to_string()
}

/// A size in bytes in the unit that suits it: `1.50 MB`.
pub fn size(bytes: u64) -> String {
    DecimalBytes(bytes).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_for_people() {
        assert_eq!([0, 12, 999, 1000, 1_234_567].map(count), ["0", "12", "999", "1,000", "1,234,567"]);
        assert_eq!([5, 1500, 2_000_000].map(size), ["5 B", "1.50 kB", "2.00 MB"]);
    }

    #[test]
    fn tables_are_aligned_and_lines_have_no_tail() {
        let paint = Paint { is_on: false };
        let rows = [vec!["a".to_owned(), "1".to_owned()], vec!["long".to_owned(), "22".to_owned()]];
        assert_eq!(table(paint, Some(&["name", "n"]), &rows), "name  n\na     1\nlong  22\n");
    }
}
