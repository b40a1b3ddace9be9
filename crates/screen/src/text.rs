//! Pieces of text for the screen: styles, and lines that fit into a width.

use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};

/// The few styles of the screen; none where the operator wants no colours.
#[derive(Debug, Clone, Copy)]
pub struct Theme {
    is_painted: bool,
}

impl Theme {
    /// A theme with or without styles.
    pub fn new(is_painted: bool) -> Self {
        Self { is_painted }
    }

    fn style(self, style: Style) -> Style {
        if self.is_painted { style } else { Style::new() }
    }

    /// For what the eye shall find first.
    pub fn strong(self) -> Style {
        self.style(Style::new().add_modifier(Modifier::BOLD))
    }

    /// For side remarks, heads and axes.
    pub fn dim(self) -> Style {
        self.style(Style::new().add_modifier(Modifier::DIM))
    }

    /// For the curve and the gauge.
    pub fn line(self) -> Style {
        self.style(Style::new().fg(Color::Cyan))
    }

    /// For what is well.
    pub fn good(self) -> Style {
        self.style(Style::new().fg(Color::Green))
    }

    /// For what needs a look.
    pub fn doubtful(self) -> Style {
        self.style(Style::new().fg(Color::Yellow))
    }

    /// For what is broken.
    pub fn bad(self) -> Style {
        self.style(Style::new().fg(Color::Red))
    }
}

/// Columns that a text takes on a terminal.
pub fn width(text: &str) -> usize {
    Span::raw(text).width()
}

/// The text in at most `columns` columns, with an ellipsis where it was cut. Control characters become spaces: notes
/// and verdicts may quote what a peer wrote.
pub fn fit(text: &str, columns: usize) -> String {
    let clean: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if width(&clean) <= columns {
        return clean;
    }
    let mut cut = String::new();
    for c in clean.chars() {
        cut.push(c);
        if width(&cut) >= columns {
            cut.pop();
            break;
        }
    }
    if columns > 0 {
        cut.truncate(cut.trim_end().len());
        cut.push('…');
    }
    cut
}

/// The text, cut or filled with spaces to exactly `columns` columns.
pub fn pad(text: &str, columns: usize, is_right: bool) -> String {
    let text = fit(text, columns);
    let spaces = " ".repeat(columns.saturating_sub(width(&text)));
    if is_right { spaces + &text } else { text + &spaces }
}

/// A line of as many of the `pieces` as fit into `columns`, in their order; the first is cut rather than left out.
pub fn join<'a>(pieces: Vec<(String, Style)>, separator: &'static str, columns: usize) -> Line<'a> {
    let mut spans: Vec<Span<'a>> = Vec::new();
    let mut left = columns;
    for (text, style) in pieces {
        let before = if spans.is_empty() { 0 } else { width(separator) };
        if spans.is_empty() {
            let text = fit(&text, columns);
            left = left.saturating_sub(width(&text));
            spans.push(Span::styled(text, style));
        } else if before + width(&text) <= left {
            left -= before + width(&text);
            spans.extend([Span::raw(separator), Span::styled(text, style)]);
        }
    }
    Line::from(spans)
}

/// A length of time: `42s`, `3m 05s`, `2h 10m`.
pub fn duration(seconds: f64) -> String {
    let seconds = seconds.max(0.0).round() as u64;
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m {:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h {:02}m", seconds / 3600, seconds / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short() {
        assert_eq!([0.4, 59.4, 185.0, 7810.0].map(duration), ["0s", "59s", "3m 05s", "2h 10m"]);
    }

    #[test]
    fn texts_are_cut_to_columns_not_to_bytes() {
        assert_eq!(fit("waits for the votes", 19), "waits for the votes");
        assert_eq!(fit("waits for the votes", 10), "waits for…");
        assert_eq!([fit("ab", 1), fit("ab", 0), fit("", 0)], ["…", "", ""]);
        assert_eq!(fit("模型模型", 5), "模型…");
        assert_eq!(fit("a\x1b[31m\nb", 20), "a [31m b");
        assert_eq!([pad("ab", 4, true), pad("ab", 4, false), pad("abcdef", 4, true)], ["  ab", "ab  ", "abc…"]);
    }

    #[test]
    fn lines_leave_out_what_does_not_fit() {
        let pieces = || ["one", "a long piece", "two"].map(|text| (text.to_owned(), Style::new())).to_vec();
        assert_eq!(join(pieces(), " · ", 80).to_string(), "one · a long piece · two");
        assert_eq!(join(pieces(), " · ", 10).to_string(), "one · two");
        assert_eq!(join(pieces(), " · ", 2).to_string(), "o…");
        assert_eq!(join(Vec::new(), " · ", 0).to_string(), "");
    }
}
