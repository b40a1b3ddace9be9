//! What a node keeps on disk to resume after a kill: the shared parameters, and a miner's own state.
//!
//! ```text
//! shared.state    SCALE of Head; the parameters; the momentum
//! feedback.<n>    the error feedback
//! optimiser.<n>   the optimiser's state, in the engine's form
//! miner.state     BLAKE3 of what follows; SCALE of MinerState, which names the two by number and hash
//! ```
//! Values are f32, little-endian. All of it is streamed, with one segment in memory. A file is whole or absent, and
//! `miner.state` comes after the files that it names and before the removal of those that it no longer names, so a kill at
//! any instant leaves a state that is whole.

use crate::data_folder::FileWriter;
use crate::{DataFolder, NodeError};
use parity_scale_codec::{Decode, Encode};
use std::io::{self, Read};
use templar_base::{StateHash, Window};
use templar_engine::{Engine, read_optimiser, write_optimiser};
use templar_gradient::{ErrorFeedback, OuterState};
use templar_round::SealCommitment;
use templar_trainer::{OwnState, SharedState, SharedView};

const SHARED_FILE: &str = "shared.state";
const MINER_FILE: &str = "miner.state";
const FEEDBACK: &str = "feedback";
const OPTIMISER: &str = "optimiser";

/// Values that are turned into bytes at a time.
const BLOCK_VALUES: usize = 1 << 14;

/// The beginning of the shared parameters' file.
#[derive(Debug, Encode, Decode)]
struct Head {
    next: Window,
    state: StateHash,
    parameters: u64,
    momentum: u64,
}

/// Writes values as bytes.
pub(crate) fn write_values<E>(values: &[f32], mut write: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
    let mut bytes = Vec::with_capacity(4 * BLOCK_VALUES.min(values.len()));
    for block in values.chunks(BLOCK_VALUES) {
        bytes.clear();
        bytes.extend(block.iter().flat_map(|value| value.to_le_bytes()));
        write(&bytes)?;
    }
    Ok(())
}

fn put_values(file: &mut FileWriter, values: &[f32]) -> Result<(), NodeError> {
    Ok(write_values(values, |bytes| file.put(bytes))?)
}

/// Reads values from bytes.
pub(crate) fn fill_values(from: &mut dyn Read, values: &mut [f32]) -> io::Result<()> {
    let mut bytes = vec![0; 4 * BLOCK_VALUES.min(values.len())];
    for block in values.chunks_mut(BLOCK_VALUES) {
        let bytes = &mut bytes[..4 * block.len()];
        from.read_exact(bytes)?;
        block.iter_mut().zip(bytes.as_chunks::<4>().0).for_each(|(value, word)| *value = f32::from_le_bytes(*word));
    }
    Ok(())
}

/// Reads this many values; none where the file ends before.
fn read_values(from: &mut dyn Read, count: usize) -> Option<Vec<f32>> {
    let mut values = vec![0f32; count];
    fill_values(from, &mut values).ok()?;
    Some(values)
}

/// Writes the shared parameters, then the momentum.
pub(crate) fn save_shared(shared: &SharedView<'_>, folder: &DataFolder) -> Result<(), NodeError> {
    save_shared_as(SHARED_FILE, shared, folder)
}

/// As [`save_shared`], under another name.
pub(crate) fn save_shared_as(name: &str, shared: &SharedView<'_>, folder: &DataFolder) -> Result<(), NodeError> {
    let mut file = folder.writer(name)?;
    let (parameters, momentum) = (shared.parameters() as u64, shared.momentum() as u64);
    let head = Head { next: shared.next, state: shared.state, parameters, momentum }.encode();
    file.put(&head)?;
    shared.visit(|_, values| put_values(&mut file, values))?;
    file.finish()?;
    Ok(())
}

/// Reads the shared parameters; none if there are none, or if the file is damaged: the node then fetches a checkpoint.
pub(crate) fn load_shared(folder: &DataFolder, parameters: usize) -> Result<Option<SharedState>, NodeError> {
    load_shared_from(SHARED_FILE, folder, parameters)
}

/// As [`load_shared`], from a file of another name.
pub(crate) fn load_shared_from(
    name: &str,
    folder: &DataFolder,
    parameters: usize,
) -> Result<Option<SharedState>, NodeError> {
    let Some(mut file) = folder.open_file(name)? else { return Ok(None) };
    let mut head = [0; 56];
    if file.read_exact(&mut head).is_err() {
        return Ok(None);
    }
    let Ok(head) = Head::decode(&mut head.as_slice()) else { return Ok(None) };
    let momentum = usize::try_from(head.momentum).unwrap_or(usize::MAX);
    if head.parameters != parameters as u64 || (momentum != 0 && momentum != parameters) {
        return Ok(None);
    }
    let Some(params) = read_values(&mut file, parameters) else { return Ok(None) };
    let Some(momentum) = read_values(&mut file, momentum) else { return Ok(None) };
    let shared = SharedState::new(head.next, OuterState { params, momentum });
    Ok((shared.state == head.state).then_some(shared))
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

/// A file of values, by the number in its name and its hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Part {
    number: u64,
    hash: [u8; 32],
}

/// What a miner alone knows; the large parts are in files of their own.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub(crate) struct MinerState {
    feedback: Part,
    optimiser: Part,
    /// The last payload.
    pub pending: Option<Pending>,
}

impl Part {
    fn file(&self, prefix: &str) -> String {
        format!("{prefix}.{}", self.number)
    }
}

impl MinerState {
    /// Writes a miner's state after the one that is on disk, `earlier`, of which it keeps what has not changed.
    pub(crate) fn save(
        earlier: Option<&Self>,
        own: &mut OwnState<'_>,
        pending: Option<Pending>,
        folder: &DataFolder,
    ) -> Result<Self, NodeError> {
        let number = earlier.map_or(0, |state| state.feedback.number.max(state.optimiser.number)) + 1;
        let mut file = folder.writer(&format!("{FEEDBACK}.{number}"))?;
        own.visit_feedback(|values| put_values(&mut file, values))?;
        let feedback = Part { number, hash: file.finish()? };
        let optimiser = match earlier {
            Some(earlier) if !own.has_optimiser() => earlier.optimiser,
            _ => {
                let mut file = folder.writer(&format!("{OPTIMISER}.{number}"))?;
                write_optimiser(own.engine(), &mut file)?;
                Part { number, hash: file.finish()? }
            }
        };
        let state = Self { feedback, optimiser, pending };
        let bytes = state.encode();
        folder.write(MINER_FILE, &[blake3::hash(&bytes).as_bytes(), &bytes])?;
        state.remove_others(folder);
        Ok(state)
    }

    /// Removes the files of values that this state does not name.
    fn remove_others(&self, folder: &DataFolder) {
        folder.remove_numbered(FEEDBACK, self.feedback.number);
        folder.remove_numbered(OPTIMISER, self.optimiser.number);
    }

    /// Reads what was kept; none if there is nothing or it is damaged: error feedback and optimiser then restart from
    /// zero.
    pub(crate) fn load(folder: &DataFolder) -> Result<Option<Self>, NodeError> {
        let Some(bytes) = folder.read(MINER_FILE)? else { return Ok(None) };
        if bytes.len() < 32 || blake3::hash(&bytes[32..]).as_bytes() != &bytes[..32] {
            return Ok(None);
        }
        let state = Self::decode(&mut &bytes[32..]).ok();
        // What a killed writer left.
        state.iter().for_each(|state| state.remove_others(folder));
        Ok(state)
    }

    /// Reads the error feedback; none where its file is damaged.
    pub(crate) fn feedback(&self, folder: &DataFolder, parameters: usize) -> Result<Option<ErrorFeedback>, NodeError> {
        let Some(mut file) = folder.open_file(&self.feedback.file(FEEDBACK))? else { return Ok(None) };
        let Some(residual) = read_values(&mut file, parameters) else { return Ok(None) };
        let is_sound = residual.iter().all(|value| value.is_finite());
        Ok((file.hash_to_end() == Some(self.feedback.hash) && is_sound).then(|| residual.into()))
    }

    /// Reads the optimiser's state into an engine; false where its file is damaged, and the optimiser is then reset.
    pub(crate) fn load_optimiser(&self, engine: &mut dyn Engine, folder: &DataFolder) -> Result<bool, NodeError> {
        let Some(mut file) = folder.open_file(&self.optimiser.file(OPTIMISER))? else { return Ok(false) };
        let is_read = read_optimiser(engine, &mut file).is_ok();
        let is_sound = is_read && file.hash_to_end() == Some(self.optimiser.hash);
        if !is_sound {
            engine.reset_optimiser()?;
        }
        Ok(is_sound)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use templar_base::{OuterRule, RunId};
    use templar_engine::{Buffer, CpuBackend, DeviceName, OpenRequest, Segments, initial_parameters, open, preset};
    use templar_gradient::GradientLayout;
    use templar_round::Role;
    use templar_trainer::{
        BatchRule, Keep, MemoryAnchor, Outcome, Trainer, TrainerError, Volatile, WindowData, WorkerRules,
    };

    #[test]
    fn debug_tells_no_key_before_it_is_revealed() {
        let commitment = SealCommitment { digest: Default::default(), bytes: 3 };
        let pending = Pending { window: Window(1), key: [0xa7; 32], commitment, object: vec![], payload: vec![] };
        let part = Part { number: 1, hash: [0; 32] };
        let shown = format!("{:?}", MinerState { feedback: part, optimiser: part, pending: Some(pending) });
        assert!(shown.contains("Pending") && !shown.contains("167") && !shown.contains("a7a7"), "{shown}");
    }

    fn scratch(name: &str) -> (tempfile::TempDir, DataFolder) {
        let path = tempfile::tempdir().unwrap();
        let folder = DataFolder::open(&path.path().join(name), RunId::default(), Role::Miner).unwrap();
        (path, folder)
    }

    fn damage(folder: &DataFolder, name: &str) {
        let mut bytes = folder.read(name).unwrap().unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        folder.write(name, &[&bytes]).unwrap();
    }

    #[test]
    fn a_damaged_or_cut_file_is_noticed_and_not_used() {
        let (_path, folder) = scratch("shared");
        let outer = OuterState::new(vec![1.0, -2.5, 3.25]);
        let moving = OuterState { momentum: vec![0.5, 0.0, -1.0], ..outer.clone() };
        assert_ne!(moving.hash(), outer.hash());
        for outer in [moving, outer] {
            let shared = SharedState::new(Window(7), outer);
            save_shared(&shared.view(), &folder).unwrap();
            assert_eq!(load_shared(&folder, 3).unwrap(), Some(shared));
        }
        assert_eq!(load_shared(&folder, 4).unwrap(), None);
        let bytes = folder.read(SHARED_FILE).unwrap().unwrap();
        for len in [0, 20, bytes.len() - 1] {
            folder.write(SHARED_FILE, &[&bytes[..len]]).unwrap();
            assert_eq!(load_shared(&folder, 3).unwrap(), None);
        }
        folder.write(SHARED_FILE, &[&bytes]).unwrap();
        damage(&folder, SHARED_FILE);
        assert_eq!(load_shared(&folder, 3).unwrap(), None);
    }

    fn engine() -> Box<dyn Engine> {
        open(&DeviceName::cpu(), &[&CpuBackend], OpenRequest::new(preset("nano", 64).unwrap())).unwrap()
    }

    fn trainer() -> Trainer {
        let engine = engine();
        let tensors = engine.layout().tensors().iter().map(|tensor| (tensor.name.clone(), tensor.range.len(), 128));
        let rules = WorkerRules {
            run: RunId::default(),
            uid: Default::default(),
            layout: GradientLayout::new(tensors).unwrap(),
            outer: OuterRule::default(),
            numerics: engine.numerics().to_string(),
        };
        let shared = SharedState::new(Window(0), OuterState::new(initial_parameters(engine.config(), [1; 32])));
        Trainer::new(rules, engine, shared, Box::<MemoryAnchor>::default()).unwrap()
    }

    fn train(trainer: &mut Trainer, window: Window) {
        let rule = BatchRule { sequence_length: 16, end_of_text: None };
        let text = Arc::new(vec![rule.batch((0..34).map(|i| i * i % 13).collect()); 2]);
        trainer.begin(WindowData { window, text, inner_steps: 2, learning_rate: 1e-2 }).unwrap();
        while trainer.step().unwrap().is_some() {}
    }

    /// A miner's disk without sealing.
    struct Disk<'a> {
        folder: &'a DataFolder,
        state: Option<MinerState>,
    }

    impl Keep for Disk<'_> {
        type Error = NodeError;

        fn own(&mut self, own: &mut OwnState<'_>) -> Result<(), NodeError> {
            self.state = Some(MinerState::save(self.state.as_ref(), own, None, self.folder)?);
            Ok(())
        }

        fn shared(&mut self, _shared: &SharedView<'_>) -> Result<(), NodeError> {
            Ok(())
        }
    }

    fn moments(engine: &mut dyn Engine) -> (u64, Vec<f32>, Vec<f32>) {
        let step = engine.optimiser_step();
        (step, engine.to_vec(Buffer::FirstMoment).unwrap(), engine.to_vec(Buffer::SecondMoment).unwrap())
    }

    #[test]
    fn what_a_miner_keeps_is_what_it_holds_after_and_damage_is_noticed() {
        let (_path, folder) = scratch("miner");
        let mut disk = Disk { folder: &folder, state: None };
        let mut trainer = trainer();
        let parameters = trainer.feedback().len();
        let check = |trainer: &Trainer, state: &Option<MinerState>| {
            let kept = MinerState::load(&folder).unwrap();
            assert_eq!(&kept, state);
            let feedback = kept.unwrap().feedback(&folder, parameters).unwrap().unwrap();
            assert_eq!(&feedback, trainer.feedback());
        };
        train(&mut trainer, Window(0));
        let start = trainer.learner().shared().state;
        trainer.seal(Window(0), start, &mut disk).unwrap();
        check(&trainer, &disk.state);
        let sealed_moments = moments(trainer.learner_mut().engine_mut());
        // The payload comes back; the optimiser's file stays that of the seal.
        let step = templar_gradient::OuterStep::of(&OuterRule::default(), Window(0));
        trainer.apply(Window(0), Outcome { aggregate: None, step: &step }, &mut disk).unwrap();
        check(&trainer, &disk.state);
        let state = disk.state.unwrap();
        assert!(state.feedback.number > state.optimiser.number);
        let mut resumed = engine();
        assert!(state.load_optimiser(resumed.as_mut(), &folder).unwrap());
        assert_eq!(moments(resumed.as_mut()), sealed_moments);

        damage(&folder, &state.optimiser.file(OPTIMISER));
        assert!(!state.load_optimiser(resumed.as_mut(), &folder).unwrap());
        assert_eq!(resumed.optimiser_step(), 0);
        damage(&folder, &state.feedback.file(FEEDBACK));
        assert_eq!(state.feedback(&folder, parameters).unwrap(), None);
        damage(&folder, MINER_FILE);
        assert_eq!(MinerState::load(&folder).unwrap(), None);
    }

    /// Writes the large files and is then killed.
    struct Killed<'a>(Disk<'a>);

    impl Keep for Killed<'_> {
        type Error = NodeError;

        fn own(&mut self, own: &mut OwnState<'_>) -> Result<(), NodeError> {
            let (folder, index) = (self.0.folder, self.0.folder.read(MINER_FILE)?.unwrap());
            let files = [FEEDBACK, OPTIMISER].map(|prefix| {
                let name = self.0.state.as_ref().map(|state| match prefix {
                    FEEDBACK => state.feedback.file(prefix),
                    _ => state.optimiser.file(prefix),
                });
                let name = name.unwrap();
                (folder.read(&name).unwrap().unwrap(), name)
            });
            self.0.own(own)?;
            // As the folder is where the kill comes before the index: the new files beside the old ones.
            for (bytes, name) in files {
                folder.write(&name, &[&bytes])?;
            }
            folder.write(MINER_FILE, &[&index])?;
            Err(TrainerError::Untrained { window: Window(1) }.into())
        }

        fn shared(&mut self, _shared: &SharedView<'_>) -> Result<(), NodeError> {
            Ok(())
        }
    }

    #[test]
    fn a_kill_between_the_files_and_their_index_leaves_the_state_before() {
        let (_path, folder) = scratch("killed");
        let mut disk = Disk { folder: &folder, state: None };
        let mut trainer = trainer();
        train(&mut trainer, Window(0));
        let start = trainer.learner().shared().state;
        let sealed = trainer.seal(Window(0), start, &mut disk).unwrap();
        let before = (disk.state.clone(), trainer.feedback().clone());
        let aggregate = templar_gradient::Aggregate::merge(
            sealed.payload.layout(),
            &[(&sealed.payload, 1)],
            templar_gradient::MergeRule::default(),
        );
        let step = templar_gradient::OuterStep::of(&OuterRule::default(), Window(0));
        let aggregate = aggregate.unwrap();
        trainer.apply(Window(0), Outcome { aggregate: Some(&aggregate), step: &step }, &mut Volatile).unwrap();
        train(&mut trainer, Window(1));
        let start = trainer.learner().shared().state;
        trainer.seal(Window(1), start, &mut Killed(disk)).unwrap_err();
        assert_eq!(trainer.feedback(), &before.1);
        let names = || std::fs::read_dir(folder.path()).unwrap().count();
        let with_leftovers = names();
        let state = MinerState::load(&folder).unwrap();
        assert_eq!(state, before.0);
        assert_eq!(names(), with_leftovers - 2, "the files of the state that never was are removed");
        let state = state.unwrap();
        assert_eq!(state.feedback(&folder, before.1.len()).unwrap(), Some(before.1));
        assert!(state.load_optimiser(engine().as_mut(), &folder).unwrap());
    }
}
