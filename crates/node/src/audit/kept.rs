//! What a miner keeps for audits of its last payloads.
//!
//! ```text
//! end.<w>      the state that the payload of window w left, see `templar_audit::EndState`
//! answer.<w>   the answer to an audit of window w, which names the end state before
//! audit.ends   SCALE of the end states that are kept
//! ```

use crate::{DataFolder, NodeError};
use parity_scale_codec::{DecodeAll, Encode};
use std::path::PathBuf;
use templar_audit::{Answer, EndState, StateName};
use templar_base::{Uid, Window};
use templar_trainer::OwnState;

/// End states that are kept: that of the payload at hand, and those that the last two payloads began with.
const KEPT: usize = 3;
const ENDS_FILE: &str = "audit.ends";

/// The files of a miner for audits.
#[derive(Debug)]
pub(crate) struct KeptForAudits {
    uid: Uid,
    /// Of ascending windows.
    ends: Vec<StateName>,
}

impl KeptForAudits {
    /// What was kept before a restart; a damaged list counts as none.
    pub(crate) fn load(uid: Uid, folder: &DataFolder) -> Result<Self, NodeError> {
        let bytes = folder.read(ENDS_FILE)?.unwrap_or_default();
        Ok(Self { uid, ends: Vec::decode_all(&mut bytes.as_slice()).unwrap_or_default() })
    }

    /// Keeps what a payload that is about to be sent leaves, and the answer to an audit of it. Where nothing is sent, what
    /// the last payload left is dropped: it did not reach the others.
    pub(crate) fn keep(&mut self, own: &mut OwnState<'_>, folder: &DataFolder) -> Result<(), NodeError> {
        let mut ends = self.ends.clone();
        match own.sent().map(|sent| sent.window) {
            Some(window) => {
                ends.retain(|end| end.window < window);
                let answer =
                    Answer { window, uid: self.uid, leaves: own.leaves().to_vec(), last: ends.last().copied() };
                let mut file = folder.writer(&end_file(window))?;
                let put = |bytes: &[u8]| file.put(bytes).map_err(std::io::Error::other);
                EndState::write(window, own, put)?;
                ends.push(StateName { window, hash: file.finish()? });
                folder.write(&answer_file(window), &[&answer.encode()])?;
            }
            None if own.has_optimiser() => drop(ends.pop()),
            // A payload of a null window comes back; what it left stays what it was.
            None => return Ok(()),
        }
        let (old, kept) = ends.split_at(ends.len().saturating_sub(KEPT));
        folder.write(ENDS_FILE, &[&kept.to_vec().encode()])?;
        for end in old {
            folder.remove(&end_file(end.window));
            folder.remove(&answer_file(end.window));
        }
        self.ends = kept.to_vec();
        Ok(())
    }

    /// The payload of this window is not sent after all.
    pub(crate) fn forget(&mut self, window: Option<Window>) {
        self.ends.retain(|end| Some(end.window) != window);
    }
}

/// The answer to an audit of a window, with the file of the end state that it names; none where there was no payload.
pub(crate) fn kept_answer(folder: &DataFolder, window: Window) -> Result<Option<(Answer, Option<PathBuf>)>, NodeError> {
    let Some(bytes) = folder.read(&answer_file(window))? else { return Ok(None) };
    let Ok(answer) = Answer::decode(&bytes) else { return Ok(None) };
    let state = answer.last.map(|last| folder.path().join(end_file(last.window)));
    Ok(Some((answer, state)))
}

fn end_file(window: Window) -> String {
    format!("end.{window}")
}

fn answer_file(window: Window) -> String {
    format!("answer.{window}")
}
