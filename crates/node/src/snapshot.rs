//! What a node keeps on disk to go on after a kill: the shared parameters, and a miner's own state.

use crate::{DataFolder, NodeError};
use parity_scale_codec::{Decode, Encode};
use templar_base::{StateHash, Window};
use templar_gradient::OuterState;
use templar_round::SealCommitment;

const SHARED_FILE: &str = "shared.state";
const MINER_FILE: &str = "miner.state";

/// The shared parameters at the start of a window.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SharedState {
    /// The window whose start they are.
    pub next: Window,
    /// The parameters, and the outer step's momentum where the run has one.
    pub outer: OuterState,
    /// Their hash.
    pub state: StateHash,
}

fn to_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn from_bytes(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]])).collect()
}

impl SharedState {
    /// What holds at the start of window `next`.
    pub(crate) fn new(next: Window, outer: OuterState) -> Self {
        Self { next, state: outer.hash(), outer }
    }

    /// Writes the parameters, then the momentum.
    pub(crate) fn save(&self, folder: &DataFolder) -> Result<(), NodeError> {
        let header = (self.next, self.state).encode();
        let OuterState { params, momentum } = &self.outer;
        Ok(folder.write(SHARED_FILE, &[&header, &to_bytes(params), &to_bytes(momentum)])?)
    }

    /// Reads the parameters; none if there are none, or if the file is damaged: the node then fetches a checkpoint.
    pub(crate) fn load(folder: &DataFolder, parameters: usize) -> Result<Option<Self>, NodeError> {
        let Some(bytes) = folder.read(SHARED_FILE)? else { return Ok(None) };
        let mut rest = bytes.as_slice();
        let Ok((next, state)) = <(Window, StateHash)>::decode(&mut rest) else { return Ok(None) };
        if rest.len() != parameters * 4 && rest.len() != parameters * 8 {
            return Ok(None);
        }
        let (params, momentum) = rest.split_at(parameters * 4);
        let shared = Self::new(next, OuterState { params: from_bytes(params), momentum: from_bytes(momentum) });
        Ok((shared.state == state).then_some(shared))
    }
}

/// A payload that was sealed and whose outcome is not known yet. The key never appears in `Debug`.
#[derive(Clone, PartialEq, Encode, Decode)]
pub(crate) struct Pending {
    /// Its window.
    pub window: Window,
    /// The key, which is published after the window's end.
    pub key: [u8; 32],
    /// What is committed on the ledger.
    pub commitment: SealCommitment,
    /// The sealed object.
    pub object: Vec<u8>,
    /// The payload's bytes.
    pub payload: Vec<u8>,
}

impl std::fmt::Debug for Pending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pending")
            .field("window", &self.window)
            .field("commitment", &self.commitment)
            .finish_non_exhaustive()
    }
}

/// What a miner alone knows.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub(crate) struct MinerState {
    /// The error feedback after the last payload was taken out.
    pub residual: Vec<u8>,
    /// The optimiser's state, in the engine's form.
    pub optimiser: Vec<u8>,
    /// The last payload.
    pub pending: Option<Pending>,
}

impl MinerState {
    /// Writes the state, with a digest so that a damaged file is noticed.
    pub(crate) fn save(&self, folder: &DataFolder) -> Result<(), NodeError> {
        let bytes = self.encode();
        Ok(folder.write(MINER_FILE, &[blake3::hash(&bytes).as_bytes(), &bytes])?)
    }

    /// Reads the state; none if there is none or it is damaged: error feedback and optimiser then begin anew.
    pub(crate) fn load(folder: &DataFolder) -> Result<Option<Self>, NodeError> {
        let Some(bytes) = folder.read(MINER_FILE)? else { return Ok(None) };
        if bytes.len() < 32 || blake3::hash(&bytes[32..]).as_bytes() != &bytes[..32] {
            return Ok(None);
        }
        Ok(Self::decode(&mut &bytes[32..]).ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use templar_base::RunId;
    use templar_round::Role;

    #[test]
    fn debug_tells_no_key_before_it_is_revealed() {
        let commitment = SealCommitment { digest: Default::default(), bytes: 3 };
        let pending = Pending { window: Window(1), key: [0xa7; 32], commitment, object: vec![], payload: vec![] };
        let told = format!("{:?}", MinerState { residual: vec![], optimiser: vec![], pending: Some(pending) });
        assert!(told.contains("Pending") && !told.contains("167") && !told.contains("a7a7"), "{told}");
    }

    #[test]
    fn a_damaged_or_cut_file_is_noticed_and_not_used() {
        let path = std::env::temp_dir().join(format!("templar-snapshot-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        let folder = DataFolder::open(&path, RunId::default(), Role::Miner).unwrap();
        let outer = OuterState::new(vec![1.0, -2.5, 3.25]);
        let moving = OuterState { momentum: vec![0.5, 0.0, -1.0], ..outer.clone() };
        assert_ne!(moving.hash(), outer.hash());
        for outer in [moving, outer] {
            let shared = SharedState::new(Window(7), outer);
            shared.save(&folder).unwrap();
            assert_eq!(SharedState::load(&folder, 3).unwrap(), Some(shared));
        }
        assert_eq!(SharedState::load(&folder, 4).unwrap(), None);
        let miner = MinerState { residual: vec![1; 12], optimiser: vec![2; 9], pending: None };
        miner.save(&folder).unwrap();
        assert_eq!(MinerState::load(&folder).unwrap(), Some(miner));
        for name in [SHARED_FILE, MINER_FILE] {
            let mut bytes = folder.read(name).unwrap().unwrap();
            *bytes.last_mut().unwrap() ^= 1;
            folder.write(name, &[&bytes]).unwrap();
        }
        assert_eq!(SharedState::load(&folder, 3).unwrap(), None);
        assert_eq!(MinerState::load(&folder).unwrap(), None);
        std::fs::remove_dir_all(path).unwrap();
    }
}
