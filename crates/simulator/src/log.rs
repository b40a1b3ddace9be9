//! What machines asked for, in order: as one hash, and as lines where somebody reads them.

use crate::Moment;
use crate::machine::Effect;
use templar_base::ContentHash;

#[derive(Debug, Default)]
pub(crate) struct Log {
    hasher: blake3::Hasher,
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
        let line = format!("{now} node {node} {effect:?}");
        self.hasher.update(line.as_bytes());
        self.hasher.update(b"\n");
        if let Some(lines) = &mut self.lines {
            lines.push(line);
        }
    }
}
