//! Plain output: aligned tables, numbers for people, and colours only on a terminal.

use crate::printable::printable_text;
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
        if self.is_on { format!("\x1b[{code}m{}\x1b[0m", printable_text(text)) } else { text.to_owned() }
    }

    /// A text as it goes to the stream: its lines, these colours, and nothing else that a terminal acts on. What comes
    /// from a file or a peer is harmless behind it.
    pub fn shown(self, text: &str) -> String {
        const CODES: [&str; 6] = ["\x1b[0m", "\x1b[1m", "\x1b[2m", "\x1b[1;31m", "\x1b[32m", "\x1b[33m"];
        let mut shown = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(place) = rest.find('\x1b').filter(|_| self.is_on) {
            let (before, after) = rest.split_at(place);
            let code = CODES.into_iter().find(|code| after.starts_with(code));
            shown += &printable_text(before);
            shown += code.unwrap_or("\\x1b");
            rest = &after[code.map_or(1, str::len)..];
        }
        shown + &printable_text(rest)
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
    fn nothing_but_our_own_colours_passes() {
        let (on, off) = (Paint { is_on: true }, Paint { is_on: false });
        let painted = format!("{}\n{}", on.red("error:"), on.bold("a\x1b[2Jb"));
        assert_eq!(on.shown(&painted), "\x1b[1;31merror:\x1b[0m\n\x1b[1ma\\x1b[2Jb\x1b[0m");
        assert_eq!(on.shown("\x1b]0;owned\x07\x1b[H"), "\\x1b]0;owned\\x07\\x1b[H");
        assert_eq!(off.shown("a\x1b[1mb\n"), "a\\x1b[1mb\n");
    }

    #[test]
    fn tables_are_aligned_and_lines_have_no_tail() {
        let paint = Paint { is_on: false };
        let rows = [vec!["a".to_owned(), "1".to_owned()], vec!["long".to_owned(), "22".to_owned()]];
        assert_eq!(table(paint, Some(&["name", "n"]), &rows), "name  n\na     1\nlong  22\n");
    }
}
