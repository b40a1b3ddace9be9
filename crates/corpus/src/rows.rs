//! Rows of a source: those that are documents, those that are left out, and the count of both.

use std::fmt;
use std::sync::Arc;

/// What is at a place in a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The file and the place in it, such as `a.jsonl, line 7`.
    pub(crate) place: Place,
    /// The text, or why there is none.
    pub(crate) content: Content,
}

/// The text of a row, or why there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Content {
    /// A text. In place of what is no character there is U+FFFD.
    Text {
        /// The text.
        text: String,
        /// Whether there was anything that is no character.
        is_repaired: bool,
    },
    /// No text, in this many rows from here on.
    LeftOut {
        /// Why.
        fault: Fault,
        /// How many rows.
        rows: u64,
    },
}

/// Where a row is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// The file, as the operator knows it.
    pub(crate) file: Arc<str>,
    /// What its rows are called: `line`, `row`, `element`; none where the file is one document.
    pub(crate) unit: Option<&'static str>,
    /// The row, counted from 1.
    pub(crate) number: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.unit {
            Some(unit) => write!(f, "{}, {unit} {}", self.file, self.number),
            None => write!(f, "{}", self.file),
        }
    }
}

/// Why a row is no document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) kind: FaultKind,
    /// What there is instead, for people.
    pub(crate) what: String,
}

/// What rows can lack, the most telling first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum FaultKind {
    /// The row is no JSON object, or too long.
    Unreadable,
    /// The field has something else than text.
    NotText,
    /// The field is not there.
    Missing,
    /// The field is null.
    Null,
    /// The text is empty, or white space only.
    Empty,
}

impl FaultKind {
    /// Whether the row is wrong, rather than without a text.
    pub(crate) fn is_damage(self) -> bool {
        matches!(self, Self::Unreadable | Self::NotText)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Unreadable => "unreadable",
            Self::NotText => "with something else than text",
            Self::Missing => "without the field",
            Self::Null => "with null as the text",
            Self::Empty => "with an empty text",
        }
    }
}

impl Row {
    pub(crate) fn text(place: Place, text: String, is_repaired: bool) -> Self {
        let content = if text.trim().is_empty() {
            Content::LeftOut { fault: Fault { kind: FaultKind::Empty, what: "it is empty".to_owned() }, rows: 1 }
        } else {
            Content::Text { text, is_repaired }
        };
        Self { place, content }
    }

    pub(crate) fn left_out(place: Place, fault: Fault) -> Self {
        Self { place, content: Content::LeftOut { fault, rows: 1 } }
    }

    /// The document, if the row is one.
    pub fn into_document(self) -> Option<String> {
        match self.content {
            Content::Text { text, .. } => Some(text),
            Content::LeftOut { .. } => None,
        }
    }
}

/// How many rows there were, and what became of those that are no documents. Shown as a sentence.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// All rows.
    pub rows: u64,
    /// Rows that are left out.
    pub left_out: u64,
    /// Documents in which U+FFFD is in place of what is no character.
    pub repaired: u64,
    /// How many rows have the fault, and where the first is.
    faults: std::collections::BTreeMap<FaultKind, (u64, String)>,
    first_repaired: String,
    has_rows: bool,
}

impl Tally {
    /// Counts a row.
    pub fn add(&mut self, row: &Row) {
        self.has_rows |= row.place.unit.is_some();
        match &row.content {
            Content::Text { is_repaired, .. } => {
                self.rows += 1;
                self.repaired += u64::from(*is_repaired);
                if *is_repaired && self.first_repaired.is_empty() {
                    self.first_repaired = row.place.to_string();
                }
            }
            Content::LeftOut { fault, rows } => {
                self.rows += rows;
                self.left_out += rows;
                let first = || (0, format!("{}: {}", row.place, fault.what));
                self.faults.entry(fault.kind).or_insert_with(first).0 += rows;
            }
        }
    }

    /// Whether every row is a document as it was.
    pub fn is_clean(&self) -> bool {
        self.left_out == 0 && self.repaired == 0
    }

    /// Whether no row is a document.
    pub(crate) fn is_empty(&self) -> bool {
        self.left_out == self.rows
    }

    /// Rows that are wrong, and the first of them.
    pub(crate) fn damage(&self) -> (u64, Option<&str>) {
        let damage = || self.faults.iter().filter(|(kind, _)| kind.is_damage()).map(|(_, fault)| fault);
        (damage().map(|(rows, _)| rows).sum(), damage().next().map(|(_, first)| first.as_str()))
    }
}

/// Such as "2 of 148 rows left out: 1 unreadable (the first: a.jsonl, line 3: …), 1 with null as the text (…)".
impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = if self.has_rows { "row" } else { "document" };
        if self.rows == 0 {
            return write!(f, "there is no {unit}");
        }
        let plural = |number: u64| if number == 1 { "" } else { "s" };
        if self.left_out > 0 {
            write!(f, "{} of {} {unit}{} left out: ", self.left_out, self.rows, plural(self.rows))?;
            let faults = self.faults.iter().map(|(kind, (rows, first))| {
                let which = if *rows == 1 { "" } else { "the first: " };
                format!("{rows} {} ({which}{first})", kind.name())
            });
            f.write_str(&faults.collect::<Vec<_>>().join(", "))?;
        }
        if self.repaired > 0 {
            let (between, number) = (if self.left_out > 0 { "; " } else { "" }, self.repaired);
            let first = &self.first_repaired;
            write!(f, "{between}{number} {unit}{} with U+FFFD in place of what is no character", plural(number))?;
            write!(f, " ({}{first})", if number == 1 { "" } else { "the first: " })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tally_says_how_many_rows_lack_what_and_where() {
        let place = |number| Place { file: "a.jsonl".into(), unit: Some("line"), number };
        let fault = |kind, what: &str| Fault { kind, what: what.to_owned() };
        let mut tally = Tally::default();
        assert_eq!(tally.to_string(), "there is no document");
        tally.add(&Row::text(place(1), "one".into(), false));
        assert!(tally.is_clean());
        tally.add(&Row::text(place(2), "half \u{FFFD}".into(), true));
        tally.add(&Row::text(place(3), " \n".into(), false));
        tally.add(&Row::left_out(place(4), fault(FaultKind::Null, "the field \"text\" is null")));
        tally.add(&Row::left_out(place(5), fault(FaultKind::Null, "the field \"text\" is null")));
        assert_eq!(tally.damage(), (0, None));
        tally.add(&Row::left_out(place(6), fault(FaultKind::NotText, "the field \"text\" is a number")));
        assert_eq!(tally.damage().0, 1);
        assert_eq!(
            tally.to_string(),
            "4 of 6 rows left out: 1 with something else than text (a.jsonl, line 6: the field \"text\" is a number), \
             2 with null as the text (the first: a.jsonl, line 4: the field \"text\" is null), \
             1 with an empty text (a.jsonl, line 3: it is empty); \
             1 row with U+FFFD in place of what is no character (a.jsonl, line 2)"
        );
    }
}
