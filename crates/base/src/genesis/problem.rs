//! What is wrong with a document: every problem, with the field, its value and what it has to be.

use std::fmt;
use std::ops::RangeInclusive;

/// A value of a genesis document that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Path of the field, such as `data.span_windows`.
    pub field: String,
    /// Its value, or the values that do not fit each other.
    pub value: String,
    /// What it has to be.
    pub wanted: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is {}: it must be {}", self.field, self.value, self.wanted)
    }
}

/// Collects the problems of one section.
#[derive(Debug)]
pub(crate) struct Checks {
    section: &'static str,
    found: Vec<Problem>,
}

impl Checks {
    /// Checks of a section; an empty name for the document's own fields.
    pub(crate) fn of(section: &'static str) -> Self {
        Self { section, found: Vec::new() }
    }

    /// Notes a problem of `field` unless `holds`.
    pub(crate) fn require(&mut self, field: &str, value: impl fmt::Display, holds: bool, wanted: impl Into<String>) {
        if !holds {
            let separator = if self.section.is_empty() || field.is_empty() { "" } else { "." };
            let field = format!("{}{separator}{field}", self.section);
            self.found.push(Problem { field, value: value.to_string(), wanted: wanted.into() });
        }
    }

    /// Requires a value within `range`.
    pub(crate) fn range<T: PartialOrd + fmt::Display + Copy>(
        &mut self,
        field: &str,
        value: T,
        range: RangeInclusive<T>,
    ) {
        self.require(field, value, range.contains(&value), format!("{} to {}", range.start(), range.end()));
    }

    /// Requires at least `least`.
    pub(crate) fn at_least<T: PartialOrd + fmt::Display + Copy>(&mut self, field: &str, value: T, least: T) {
        self.require(field, value, value >= least, format!("at least {least}"));
    }

    /// Requires a finite number over 0.
    pub(crate) fn positive(&mut self, field: &str, value: f64) {
        self.require(field, value, value.is_finite() && value > 0.0, "a number over 0");
    }

    /// What was found.
    pub(crate) fn into_problems(self) -> Vec<Problem> {
        self.found
    }
}
