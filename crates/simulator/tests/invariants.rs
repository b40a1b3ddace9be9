//! What a broken network looks like: the invariant that it breaks, with the seed and the command that repeats it.

mod support;

use std::path::PathBuf;
use support::{BLOCKS, genesis};
use templar_base::{ContentHash, StateHash, StepShare, Window};
use templar_round::{SealCommitment, SealedRecord};
use templar_simulator::{
    CostModel, Faults, Invariant, Judgement, Judging, Model, ModelError, Moment, NodeSpec, Role, SealOrder, Setup,
    SimulationError, Step, Violation, World,
};

/// A model whose parameters are other ones on one node, or that fails.
struct Broken {
    sound: CostModel,
    strays: Option<usize>,
}

impl Model for Broken {
    fn first_state(&self) -> StateHash {
        self.sound.first_state()
    }
    fn start(&mut self, node: usize, next: Window, state: StateHash) -> Result<(), ModelError> {
        self.sound.start(node, next, state)
    }
    fn begin(&mut self, node: usize, window: Window, now: Moment) -> Result<(), ModelError> {
        self.sound.begin(node, window, now)
    }
    fn seal(&mut self, node: usize, order: SealOrder, now: Moment) -> Result<Option<SealCommitment>, ModelError> {
        self.sound.seal(node, order, now)
    }
    fn judge(&mut self, judging: Judging<'_>) -> Result<Judgement, ModelError> {
        self.sound.judge(judging)
    }
    fn merge(&mut self, window: Window, payloads: &[SealedRecord], step: StepShare) -> Result<ContentHash, ModelError> {
        self.sound.merge(window, payloads, step)
    }
    fn apply(&mut self, node: usize, step: Step, now: Moment) -> Result<StateHash, ModelError> {
        match self.strays {
            None => Err(ModelError("no memory is left".to_owned())),
            Some(stray) if stray == node => Ok(StateHash::new([1; 32])),
            Some(_) => self.sound.apply(node, step, now),
        }
    }
    fn aggregate_bytes(&self, hash: ContentHash) -> u64 {
        self.sound.aggregate_bytes(hash)
    }
    fn checkpoint_bytes(&self) -> u64 {
        self.sound.checkpoint_bytes()
    }
}

fn violation(strays: Option<usize>) -> Violation {
    let roles = [50, 50].map(|stake| Role::Validator { stake }).into_iter().chain([Role::Miner, Role::Miner]);
    let mut world = World::new(Setup {
        seed: 17,
        genesis: genesis(),
        block_time: 1_000,
        nodes: roles.map(NodeSpec::near).collect(),
        faults: Faults::none(),
        partitions: Vec::new(),
        model: Box::new(Broken { sound: CostModel::FREE, strays }),
        pool: None,
        lanes: 4,
    });
    world.run_to(3 * BLOCKS).unwrap_err()
}

#[test]
fn parameters_that_differ_are_noticed_at_once() {
    let violation = violation(Some(3));
    assert_eq!((violation.invariant, violation.seed), (Invariant::OneState, 17));
    assert!(violation.block < 2 * BLOCKS, "{violation}");
    let error = SimulationError::Violation { path: PathBuf::from("a.toml"), violation }.to_string();
    assert!(error.contains("node 3 starts window 1") || error.contains("others with"), "{error}");
    assert!(error.ends_with("repeat it with `templar simulate run a.toml --seed 17`"), "{error}");
}

#[test]
fn a_model_that_fails_ends_the_simulation_with_its_words() {
    let violation = violation(None);
    assert_eq!(violation.invariant, Invariant::ModelWorks);
    assert!(violation.to_string().contains("no memory is left"), "{violation}");
}
