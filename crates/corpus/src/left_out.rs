//! What is in a folder and is not read as text, and why.

use crate::kind::TextKind;
use std::fmt;
use std::path::{Path, PathBuf};

/// Something that was met and is not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// The folder or file that was given.
    pub root: PathBuf,
    /// What is left out.
    pub path: PathBuf,
    /// Why.
    pub why: WhyLeftOut,
}

/// Why something is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum WhyLeftOut {
    /// It describes the data beside it.
    Description,
    /// It is a JSON document without rows that have the field.
    NoRows,
    /// It is of a kind that was not asked for.
    Kind(TextKind),
    /// It is not text.
    Foreign(&'static str),
    /// It is empty.
    Empty,
    /// Its ending is not one of text.
    Ending,
    /// It is read under another name.
    SecondName,
    /// It is a link to nothing.
    LeadsNowhere,
    /// It is a pipe, a socket or a device.
    NoFile,
    /// Its name begins with a dot.
    Hidden,
}

impl fmt::Display for WhyLeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Description => f.write_str("a description beside the data"),
            Self::NoRows => f.write_str("JSON without rows that have the field"),
            Self::Kind(kind) => write!(f, "{kind}"),
            Self::Foreign(what) => f.write_str(what),
            Self::Empty => f.write_str("empty"),
            Self::Ending => f.write_str("another ending than text has"),
            Self::SecondName => f.write_str("read under another name"),
            Self::LeadsNowhere => f.write_str("a link that leads nowhere"),
            Self::NoFile => f.write_str("a pipe or a device"),
            Self::Hidden => f.write_str("hidden"),
        }
    }
}

/// Names that are shown for one reason.
const MOST_NAMES: usize = 4;

impl LeftOut {
    /// What is left out of one folder, for people: "README.md (a description beside the data); a.png, b.png and 7 more
    /// (another ending than text has)".
    pub fn listed(all: &[Self]) -> String {
        let mut reasons: Vec<WhyLeftOut> = all.iter().map(|it| it.why).collect();
        reasons.sort();
        reasons.dedup();
        let groups = reasons.into_iter().map(|why| {
            let names: Vec<String> = all.iter().filter(|it| it.why == why).map(Self::name).collect();
            let shown = names[..names.len().min(MOST_NAMES)].join(", ");
            match names.len().saturating_sub(MOST_NAMES) {
                0 => format!("{shown} ({why})"),
                more => format!("{shown} and {more} more ({why})"),
            }
        });
        groups.collect::<Vec<_>>().join("; ")
    }

    /// A line for each path that was given: "left out of data: README.md (…)".
    pub fn lines(all: &[Self]) -> Vec<String> {
        let mut roots: Vec<&Path> = Vec::new();
        for root in all.iter().map(|it| it.root.as_path()) {
            if !roots.contains(&root) {
                roots.push(root);
            }
        }
        let line = |root: &Path| {
            let of_root: Vec<Self> = all.iter().filter(|it| it.root == root).cloned().collect();
            match of_root.iter().all(|it| it.path == root) {
                true => format!("left out: {}", Self::listed(&of_root)),
                false => format!("left out of {}: {}", root.display(), Self::listed(&of_root)),
            }
        };
        roots.into_iter().map(line).collect()
    }

    fn name(&self) -> String {
        let below = self.path.strip_prefix(&self.root).ok().filter(|rest| !rest.as_os_str().is_empty());
        below.unwrap_or(&self.path).display().to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_folder_has_a_line_with_its_reasons() {
        let of = |root: &str, path: &str, why| LeftOut { root: root.into(), path: path.into(), why };
        let mut all: Vec<LeftOut> =
            (0..6).map(|number| of("d", &format!("d/{number}.png"), WhyLeftOut::Ending)).collect();
        all.push(of("d", "d/README.md", WhyLeftOut::Description));
        all.push(of("a.txt", "a.txt", WhyLeftOut::SecondName));
        assert_eq!(
            LeftOut::lines(&all),
            [
                "left out of d: README.md (a description beside the data); 0.png, 1.png, 2.png, 3.png and 2 more \
                 (another ending than text has)",
                "left out: a.txt (read under another name)"
            ]
        );
    }
}
