//! The genesis document: everything that the nodes of a run must agree on before it starts. Its hash names the run.

mod audit;
mod budget;
mod data;
mod economics;
mod electors;
mod evaluation;
mod guide;
mod inner;
mod judging;
mod numerics;
mod outer;
mod parent;
mod problem;
mod rule_name;

pub use audit::{AuditLots, AuditRule, PER_MILLE, ShortcutGain};
pub use budget::{Milestone, WindowBudget};
pub use data::{CorpusHashes, DataRule, Documents};
pub use economics::Economics;
pub use electors::ElectorRule;
pub use evaluation::{EvaluationRule, EvaluationTask, MAX_EVALUATION_TASKS, MAX_QUESTIONS_BYTES, MAX_TASK_NAME_BYTES};
pub use guide::{FIELDS, FieldNote};
pub use inner::{InnerOptimiser, InnerSchedule, MatrixOptimiser, RateDecay};
pub use judging::JudgingRule;
pub use numerics::is_open_numerics;
pub use outer::{Domain, FeedbackValues, MergeMethod, OuterRule, ScaleRule, StepRule, TensorClass, ValueCoding};
pub use parent::Parent;
pub use problem::Problem;
pub use rule_name::RuleName;

use crate::{
    BlockHash, BlockNumber, ContentHash, ModelConfig, ModelConfigError, Netuid, RunId, StateHash, WindowClock,
};
use problem::Checks;
use serde::{Deserialize, Serialize};

/// Version of the document's form and of the protocol behind it. Version 2: choices are always written out, documents
/// are apart, the state hash is a root over segments. Version 4: sealed votes in numbers, ratings that every node folds, text by
/// key and apart from the text of judgement.
pub const GENESIS_VERSION: u32 = 4;
/// The subnet that a run is on where nobody names another: templar's on Bittensor.
pub const DEFAULT_NETUID: Netuid = Netuid::new(3);
/// The numerics that the engine of this version computes with.
pub const DEFAULT_NUMERICS: &str = "strict-2";
/// A document is a few kilobytes; a larger one than this is rejected before it is parsed.
const MAX_DOCUMENT_BYTES: usize = 256 * 1024;

/// The rules of one run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Genesis {
    /// [`GENESIS_VERSION`] of the program that wrote it.
    pub version: u32,
    /// A name for people.
    pub name: String,
    /// Genesis hash of the ledger that is the run's clock and bank.
    pub ledger: BlockHash,
    /// The run's subnet.
    pub netuid: Netuid,
    /// Which blocks belong to which window.
    pub clock: WindowClock,
    /// Deadlines within a window.
    pub budget: WindowBudget,
    /// Sizes of the model.
    pub model: ModelConfig,
    /// Numerics profile and kernel version that every node must compute with, such as `strict-2`.
    pub numerics: String,
    /// Open classes that nodes may compute with instead, such as `torch-bf16`; none where a document does not name any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub open_numerics: Vec<String>,
    /// Where the first parameters come from.
    pub first_parameters: FirstParameters,
    /// State hash of the first parameters.
    pub first_state: StateHash,
    /// The run that this one continues, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<Parent>,
    /// Text, tokens, and how they are shared out.
    pub data: DataRule,
    /// What a miner does with its batches.
    pub inner: InnerOptimiser,
    /// What a miner sends, and how it is merged and applied.
    pub outer: OuterRule,
    /// How contributions are measured, rated and selected.
    pub judging: JudgingRule,
    /// Whose stake counts by its right votes; where a document does not say, that of all permit holders that set weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub electors: Option<ElectorRule>,
    /// Who is paid what.
    pub economics: Economics,
    /// How payloads are audited by replay; not at all where a document does not say.
    #[serde(default)]
    pub audit: AuditRule,
    /// What validators that are idle ask the model; nothing where a document does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evaluation: Option<EvaluationRule>,
}

/// Where the first parameters come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum FirstParameters {
    /// Drawn from this seed by the engine's initial rule.
    Seed(ContentHash),
    /// Those of a model folder that each operator names; `first_state` says whether it is the right one.
    Folder,
}

/// A genesis document that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GenesisError {
    /// The document is not JSON of the right form.
    #[error("genesis document does not parse: {0}")]
    Malformed(#[from] serde_json::Error),
    /// The document is larger than any that this program writes.
    #[error("genesis document is {actual} bytes, over the limit of {limit}")]
    TooLarge {
        /// Its size.
        actual: usize,
        /// The limit.
        limit: usize,
    },
    /// A run of an earlier version of the protocol.
    #[error(
        "genesis document has version {actual}, this program runs version {GENESIS_VERSION}: a run keeps the version it \
         began with. Make a new run with `templar run new`, or a new local network with `templar up --fresh`; the models \
         of the old run can be fetched with the release that made it"
    )]
    Outdated {
        /// The document's version.
        actual: u32,
    },
    /// A run of a later version of the protocol.
    #[error("genesis document has version {actual}, this program runs version {GENESIS_VERSION}: update templar")]
    Newer {
        /// The document's version.
        actual: u32,
    },
    /// The model's sizes do not fit each other.
    #[error(transparent)]
    Model(#[from] ModelConfigError),
    /// Values that cannot be used.
    #[error("genesis field {}{}", first(.problems), more(.problems))]
    Values {
        /// All of them, at least one.
        problems: Vec<Problem>,
    },
}

fn first(problems: &[Problem]) -> String {
    problems.first().map(Problem::to_string).unwrap_or_default()
}

fn more(problems: &[Problem]) -> String {
    match problems.len() {
        0 | 1 => String::new(),
        count => format!(" (and {} more; `templar run check` lists all)", count - 1),
    }
}

/// The one field that documents of all versions have.
#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

impl Genesis {
    /// A run of `model` on this corpus, with the defaults of every section: windows of 40 blocks from block 0, parameters
    /// from a seed of zeros. The caller sets what it knows better: ledger, subnet, clock, seed and first state.
    pub fn new(model: ModelConfig, corpus: CorpusHashes) -> Self {
        let clock = WindowClock { start_block: BlockNumber::ZERO, blocks_per_window: 40 };
        Self {
            version: GENESIS_VERSION,
            name: "run".to_owned(),
            ledger: BlockHash::default(),
            netuid: DEFAULT_NETUID,
            clock,
            budget: WindowBudget::for_window(clock.blocks_per_window),
            numerics: DEFAULT_NUMERICS.to_owned(),
            open_numerics: Vec::new(),
            first_parameters: FirstParameters::Seed(ContentHash::default()),
            first_state: StateHash::default(),
            parent: None,
            data: DataRule::of(corpus, model.max_position_embeddings),
            model,
            inner: InnerOptimiser::default(),
            outer: OuterRule::default(),
            judging: JudgingRule::default(),
            electors: None,
            economics: Economics::default(),
            audit: AuditRule::default(),
            evaluation: None,
        }
    }

    /// A run for tests and trials: [`Genesis::new`] with short windows of 32 blocks, 4 batches of one sequence, few
    /// evaluation sequences, and a checkpoint every 3 windows.
    pub fn small(model: ModelConfig, corpus: CorpusHashes) -> Self {
        let mut genesis = Self::new(model, corpus);
        genesis.clock.blocks_per_window = 32;
        genesis.budget = WindowBudget {
            seal_blocks: 6,
            reveal_blocks: 4,
            hold_blocks: None,
            judge_blocks: 9,
            open_blocks: 15,
            apply_blocks: 16,
            retention_windows: 8,
            checkpoint_windows: 3,
        };
        let data = &mut genesis.data;
        data.sequence_length = data.sequence_length.min(32);
        (data.sequences_per_batch, data.batches_per_window) = (1, 4);
        let judging = &mut genesis.judging;
        (judging.evaluation_sequences, judging.held_out_sequences) = (8, 1);
        genesis
    }

    /// Whether a node may compute with this numerics class.
    pub fn allows_numerics(&self, class: &str) -> bool {
        self.numerics == class || self.open_numerics.iter().any(|open| open == class)
    }

    /// The numerics classes that nodes may compute with, for people.
    pub fn numerics_classes(&self) -> String {
        let all: Vec<&str> = std::iter::once(&self.numerics).chain(&self.open_numerics).map(String::as_str).collect();
        all.join(", ")
    }

    /// Turns audits on at this rate, with a ramp that is long enough for no shortcut to pay.
    pub fn set_audit_rate(&mut self, rate_per_mille: u32) {
        self.audit.rate_per_mille = rate_per_mille;
        let least = self.audit.least_ramp().unwrap_or_default();
        self.economics.ramp_windows = self.economics.ramp_windows.max(least);
    }

    /// Reads and checks a document.
    pub fn from_json(bytes: &[u8]) -> Result<Self, GenesisError> {
        let genesis = Self::from_json_unchecked(bytes)?;
        genesis.check()?;
        Ok(genesis)
    }

    /// Reads a document of this version whose values may be anything: [`Genesis::problems`] lists what is wrong.
    pub fn from_json_unchecked(bytes: &[u8]) -> Result<Self, GenesisError> {
        if bytes.len() > MAX_DOCUMENT_BYTES {
            return Err(GenesisError::TooLarge { actual: bytes.len(), limit: MAX_DOCUMENT_BYTES });
        }
        // Some editors put a mark before UTF-8.
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        // The version first: a document of another version may have other fields, and should be rejected for its version.
        check_version(serde_json::from_slice::<Versioned>(bytes)?.version)?;
        Ok(serde_json::from_slice(bytes)?)
    }

    /// The document's canonical text: the fields in their order, indented.
    pub fn to_json(&self) -> String {
        // Plain structs of strings and numbers: serialising them to memory cannot fail.
        serde_json::to_string_pretty(self).expect("genesis serialises")
    }

    /// The run's name: the hash of the canonical text, whatever the spacing that it came with.
    pub fn run_id(&self) -> RunId {
        RunId::new(
            *blake3::hash(format!("templar genesis v{GENESIS_VERSION}\0{}", self.to_json()).as_bytes()).as_bytes(),
        )
    }

    /// Checks that the values fit each other; the rest of the program may rely on it.
    pub fn check(&self) -> Result<(), GenesisError> {
        check_version(self.version)?;
        self.model.check()?;
        let problems = self.problems();
        if problems.is_empty() { Ok(()) } else { Err(GenesisError::Values { problems }) }
    }

    /// All values that cannot be used, section by section.
    pub fn problems(&self) -> Vec<Problem> {
        let mut checks = Checks::of("");
        checks.require(
            "name",
            format!("{} bytes long", self.name.len()),
            self.name.len() <= 64,
            "at most 64 bytes long",
        );
        numerics::check(self, &mut checks);
        checks.at_least("clock.blocks_per_window", self.clock.blocks_per_window, 4);
        let continues = self.parent.is_none() || self.first_parameters == FirstParameters::Folder;
        checks.require("parent", "beside a seed", continues, "beside `\"first_parameters\": \"folder\"`");
        if let Err(ModelConfigError { field, reason }) = self.model.check() {
            checks.require(
                "model",
                format!("not usable in `{field}`"),
                false,
                format!("a model that can be built ({reason})"),
            );
        }
        let mut problems = checks.into_problems();
        problems.extend(self.budget.problems(&self.clock));
        problems.extend(self.data.problems(&self.model, self.judging.evaluation_sequences));
        problems.extend(self.inner.problems());
        problems.extend(self.outer.problems());
        problems.extend(self.judging.problems());
        problems.extend(self.electors.iter().flat_map(ElectorRule::problems));
        problems.extend(self.economics.problems());
        problems.extend(self.audit.problems(self.economics.ramp_windows));
        problems.extend(self.evaluation.iter().flat_map(|rule| rule.problems(&self.budget)));
        problems
    }
}

fn check_version(actual: u32) -> Result<(), GenesisError> {
    match actual.cmp(&GENESIS_VERSION) {
        std::cmp::Ordering::Less => Err(GenesisError::Outdated { actual }),
        std::cmp::Ordering::Equal => Ok(()),
        std::cmp::Ordering::Greater => Err(GenesisError::Newer { actual }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small() -> Genesis {
        Genesis::small(ModelConfig::tiny(256), CorpusHashes::default())
    }

    #[test]
    fn defaults_are_sound_and_come_back_from_their_document() {
        for genesis in [small(), Genesis::new(ModelConfig::tiny(256), CorpusHashes::default())] {
            assert_eq!(genesis.problems(), []);
            let marked = format!("\u{feff}{}", genesis.to_json());
            assert_eq!(Genesis::from_json(marked.as_bytes()).unwrap().run_id(), genesis.run_id());
            assert_eq!(Genesis::from_json(genesis.to_json().as_bytes()).unwrap(), genesis);
        }
    }

    #[test]
    fn default_deadlines_fit_windows_of_all_lengths() {
        for blocks in 16..400 {
            let clock = WindowClock { start_block: BlockNumber::ZERO, blocks_per_window: blocks };
            assert_eq!(WindowBudget::for_window(blocks).problems(&clock), [], "{blocks} blocks");
        }
    }

    #[test]
    fn every_problem_is_listed_with_its_field() {
        let mut genesis = small();
        genesis.name = "n".repeat(65);
        genesis.clock.blocks_per_window = 3;
        (genesis.data.span_sequences, genesis.data.evaluation_percent) = (23, 51);
        genesis.inner.schedule.peak = f32::NAN;
        genesis.outer.alpha = 0.0;
        genesis.judging.selected = 0;
        genesis.economics.weights_every_windows = 0;
        let problems = genesis.problems();
        let fields: Vec<&str> = problems.iter().map(|problem| problem.field.as_str()).collect();
        let expected = [
            "name",
            "clock.blocks_per_window",
            "budget.seal_blocks",
            "budget.apply_blocks",
            "data.span_sequences",
            "data.evaluation_percent",
            "inner.schedule.peak",
            "outer.alpha",
            "judging.selected",
            "judging.newcomer_places",
            "economics.weights_every_windows",
        ];
        assert_eq!(fields, expected);
        let text = GenesisError::Values { problems }.to_string();
        assert!(text.starts_with("genesis field `name` is 65 bytes long") && text.contains("and 10 more"), "{text}");
    }

    #[test]
    fn a_document_of_another_version_is_rejected_with_what_to_do() {
        let version = |number: u32| {
            let now = format!("\"version\": {GENESIS_VERSION}");
            small().to_json().replace(&now, &format!("\"version\": {number}"))
        };
        let old = Genesis::from_json(version(1).as_bytes()).unwrap_err();
        assert!(matches!(old, GenesisError::Outdated { actual: 1 }));
        assert!(old.to_string().contains("templar up --fresh") && old.to_string().contains("templar run new"));
        let newer = Genesis::from_json(version(GENESIS_VERSION + 1).as_bytes()).unwrap_err();
        assert!(matches!(newer, GenesisError::Newer { actual } if actual == GENESIS_VERSION + 1));
    }

    #[test]
    fn a_run_that_continues_another_starts_from_a_folder() {
        let parent = Parent {
            run: RunId::new([1; 32]),
            window: crate::Window(40),
            state: StateHash::new([2; 32]),
            record: ContentHash::new([3; 32]),
        };
        let mut genesis = Genesis { parent: Some(parent), ..small() };
        assert_eq!(genesis.problems()[0].field, "parent");
        genesis.first_parameters = FirstParameters::Folder;
        assert_eq!(Genesis::from_json(genesis.to_json().as_bytes()).unwrap(), genesis);
        assert_ne!(genesis.run_id(), Genesis { parent: None, ..genesis.clone() }.run_id());
        assert!(!small().to_json().contains("parent"), "who continues nothing has the document of before");
    }

    #[test]
    fn a_document_that_does_not_name_electors_is_the_one_of_before() {
        assert!(!small().to_json().contains("electors"));
        let genesis = Genesis { electors: Some(ElectorRule::default()), ..small() };
        assert_eq!(Genesis::from_json(genesis.to_json().as_bytes()).unwrap(), genesis);
        assert_ne!(genesis.run_id(), small().run_id());
        let unreachable = ElectorRule { right_votes: 0, within: 512 };
        assert_eq!(Genesis { electors: Some(unreachable), ..small() }.problems()[0].field, "electors.right_votes");
    }

    #[test]
    fn a_document_without_a_deadline_for_what_is_held_is_the_one_of_before() {
        assert!(!small().to_json().contains("hold_blocks"));
        let mut genesis = small();
        genesis.budget.hold_blocks = Some(6);
        assert_eq!(Genesis::from_json(genesis.to_json().as_bytes()).unwrap(), genesis);
        assert_ne!(genesis.run_id(), small().run_id());
    }

    #[test]
    fn a_choice_that_a_document_leaves_out_is_the_default_and_is_written_out() {
        let mut document: serde_json::Value = serde_json::from_str(&small().to_json()).unwrap();
        document["data"].as_object_mut().unwrap().remove("documents");
        for choice in ["merge", "domain", "values", "step"] {
            document["outer"].as_object_mut().unwrap().remove(choice);
        }
        document["inner"].as_object_mut().unwrap().remove("hidden_matrices");
        let read = Genesis::from_json(document.to_string().as_bytes()).unwrap();
        assert_eq!(read, small());
        assert_eq!(read.run_id(), small().run_id());
        let text = read.to_json();
        for written in ["\"documents\": \"apart\"", "\"values\": \"signs\"", "\"hidden_matrices\": \"adamw\""] {
            assert!(text.contains(written), "{written} in {text}");
        }
    }
}
