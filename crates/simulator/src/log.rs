//! What machines asked for, in order: as one hash, and as lines where somebody reads them.

use crate::Moment;
use crate::machine::Effect;
use std::fmt::Write;
use templar_base::ContentHash;

#[derive(Debug, Default)]
pub(crate) struct Log {
    hasher: blake3::Hasher,
    line: String,
    lines: Option<Vec<String>>,
}

impl Log {
    pub fn keep(&mut self) {
        self.lines.get_or_insert_default();
    }

    pub fn lines(&self) -> &[String] {
        self.lines.as_deref().unwrap_or_default()
    }

    pub fn digest(&self) -> ContentHash {
        ContentHash::new(*self.hasher.finalize().as_bytes())
    }

    pub fn add(&mut self, now: Moment, node: usize, effect: &Effect) {
        self.line.clear();
        // Writing into a string cannot fail.
        let _ = writeln!(self.line, "{now} node {node} {effect:?}");
        self.hasher.update(self.line.as_bytes());
        if let Some(lines) = &mut self.lines {
            lines.push(self.line.trim_end().to_owned());
        }
    }
}
