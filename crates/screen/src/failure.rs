//! How a command's failure is told: to people in lines, to programs as one object.

use crate::printable::printable_text;
use crate::table::Paint;
use serde_json::json;

/// What kind of failure it is: a word that programs can rely on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// The command was used wrongly.
    Usage,
    /// The machine has too little memory for what was asked.
    Memory,
    /// The ledger refused a call.
    Refused,
    /// A service cannot be reached, or does not answer in time.
    Unreachable,
    /// A file or folder does not exist.
    NotFound,
    /// The system does not allow it.
    Permission,
    /// A disk is full.
    DiskFull,
    /// Anything else.
    Failed,
    /// A fault of the program itself.
    Panic,
}

impl FailureKind {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Usage,
        Self::Memory,
        Self::Refused,
        Self::Unreachable,
        Self::NotFound,
        Self::Permission,
        Self::DiskFull,
        Self::Failed,
        Self::Panic,
    ];

    /// Its word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Usage => "usage",
            Self::Memory => "memory",
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::NotFound => "not_found",
            Self::Permission => "permission",
            Self::DiskFull => "disk_full",
            Self::Failed => "failed",
            Self::Panic => "panic",
        }
    }

    /// The process's exit code: 2 where the command has to change, 101 for a fault of the program, else 1.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Usage | Self::Memory => 2,
            Self::Panic => 101,
            _ => 1,
        }
    }

    /// The kind of a failed operation of the system.
    pub fn of_io(error: &std::io::Error) -> Self {
        use std::io::ErrorKind;
        match error.kind() {
            ErrorKind::NotFound => Self::NotFound,
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => Self::Permission,
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Self::DiskFull,
            _ => Self::Failed,
        }
    }
}

/// A failure, ready to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Its kind.
    pub kind: FailureKind,
    /// What happened.
    pub message: String,
    /// Why, the nearest cause first.
    pub causes: Vec<String>,
    /// What to do next.
    pub remedy: Option<String>,
}

impl Failure {
    /// Of a message and its causes. Many errors state their cause themselves: such a cause is left out.
    pub fn new(kind: FailureKind, texts: impl IntoIterator<Item = String>, remedy: Option<String>) -> Self {
        let mut texts = texts.into_iter().map(|text| printable_text(&text));
        let message = texts.next().unwrap_or_default();
        let mut causes: Vec<String> = Vec::new();
        for text in texts {
            if !causes.last().unwrap_or(&message).contains(&text) {
                causes.push(text);
            }
        }
        Self { kind, message, causes, remedy }
    }

    /// For people.
    pub fn text(&self, paint: Paint) -> String {
        let mut lines = vec![format!("{} {}", paint.red("error:"), self.message)];
        lines.extend(self.causes.iter().map(|cause| format!("  {} {cause}", paint.dim("because:"))));
        lines.extend(self.remedy.iter().map(|remedy| format!("  {} {remedy}", paint.bold("next:"))));
        lines.join("\n")
    }

    /// For programs: one object on one line.
    pub fn json(&self) -> String {
        let Self { kind, message, causes, remedy } = self;
        json!({"error": {"kind": kind.name(), "message": message, "causes": causes, "remedy": remedy}}).to_string()
    }
}

impl Failure {
    /// Of a fault of the program itself: what it said, and where; `report_at` takes reports.
    pub fn of_panic(message: &str, place: &str, version: &str, report_at: &str) -> Self {
        let what = format!("a fault of templar {version} itself at {place}: {message}");
        let remedy = format!("what was saved is kept; report this line and the command at {report_at}");
        Self::new(FailureKind::Panic, [what], Some(remedy))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_told_to_people_and_to_programs() {
        let texts = ["cannot open a: no", "no", "the disk\u{1b}[2J is full"].map(str::to_owned);
        let failure = Failure::new(FailureKind::DiskFull, texts, Some("free some".to_owned()));
        let paint = Paint::plain();
        let lines = "error: cannot open a: no\n  because: the disk\\x1b[2J is full\n  next: free some";
        assert_eq!(failure.text(paint), lines);
        let json: serde_json::Value = serde_json::from_str(&failure.json()).unwrap();
        assert_eq!(json["error"]["kind"], "disk_full");
        assert_eq!(json["error"]["causes"][0], "the disk\\x1b[2J is full");
        assert_eq!(json["error"]["remedy"], "free some");
    }

    #[test]
    fn a_panic_is_one_sentence_with_its_place_and_where_to_report() {
        let failure = Failure::of_panic("index out of range", "a.rs:3", "0.1.0", "https://example.org/issues");
        assert_eq!(failure.message, "a fault of templar 0.1.0 itself at a.rs:3: index out of range");
        assert!(failure.remedy.is_some_and(|remedy| remedy.ends_with("https://example.org/issues")));
        assert_eq!(failure.kind.exit_code(), 101);
    }

    #[test]
    fn kinds_have_words_of_their_own() {
        let names: std::collections::BTreeSet<_> = FailureKind::ALL.map(FailureKind::name).into();
        assert_eq!(names.len(), FailureKind::ALL.len());
        assert_eq!(FailureKind::of_io(&std::io::Error::from(std::io::ErrorKind::NotFound)), FailureKind::NotFound);
    }
}
