//! A network that a test owns. Blocks come when everybody has done what the rules expect by then (or, after a while,
//! without them), so that a slow or busy machine changes how long a test takes and not what it sees.

mod adversary;
mod node;
mod observer;
mod recording;
mod rogue;
mod waits;

pub use adversary::{Act, Adversary};
pub use node::Node;
pub use observer::Observer;
pub use rogue::{Mischief, Rogue};
pub use templar_round::Role;

use parity_scale_codec::Encode;
use recording::Recording;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use templar_base::{
    Alpha, BlockNumber, ContentHash, DataRule, Economics, ElectorRule, EvaluationRule, FirstParameters,
    GENESIS_VERSION, Genesis, InnerOptimiser, InnerSchedule, JudgingRule, Keypair, ModelConfig, OuterRule, PublicKey,
    Rao, ScaleRule, StateHash, TensorClass, Uid, Window, WindowBudget, WindowClock,
};
use templar_bucket::{Bucket, BucketLocation};
use templar_chain::{Call, Chain, NodeChain, Topic};
use templar_corpus::{Corpus, CorpusBuilder, Source};
use templar_engine::{NumericsId, initial_parameters};
use templar_evaluation::NewEvaluation;
use templar_gauntlet::{Standing, Verdict};
use templar_gradient::state_hash;
use templar_ledger::{LocalChain, Profile, check_conservation};
use templar_node::{Data, JournalEntry};
use templar_record::{PublicRecord, Rules};
use templar_round::{ObjectKey, Signed};

/// Least time between blocks.
const BLOCK_PAUSE: Duration = Duration::from_millis(12);
/// How long a block waits for somebody who should act before it. Only who is not in order lets it pass.
const PATIENCE: Duration = Duration::from_secs(12);
/// How long gathering is given for what may never come.
const GATHER_PAUSE: Duration = Duration::from_millis(700);
/// How long each block of the time for applying waits.
const APPLY_PAUSE: Duration = Duration::from_millis(400);
const STAKE: Rao = Rao::from_whole(500);
/// A little under half of what two validators have: with what miners earn it stays under a third of all.
const ROGUE_STAKE: Rao = Rao::from_whole(350);
/// The text has three spans of this size: scenarios go over a boundary.
const SPAN_SEQUENCES: u64 = 4_000;
const SPAN_WINDOWS: u64 = 4;
const SEED: [u8; 32] = [5; 32];

/// One text for all tests of the process.
fn corpus() -> Arc<Corpus> {
    static CORPUS: OnceLock<Arc<Corpus>> = OnceLock::new();
    let build = || {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("corpus");
        let text = Source::Synthetic { seed: 3, bytes: 1_000_000 };
        CorpusBuilder::new().source(text, "synthetic", "made here").vocab_size(320).build(&path, |_| {}).unwrap();
        Arc::new(Corpus::open(&path).unwrap())
    };
    Arc::clone(CORPUS.get_or_init(build))
}

fn rules(corpus: &Corpus) -> Genesis {
    let model = ModelConfig {
        vocab_size: corpus.manifest().vocab_size as usize,
        hidden_size: 32,
        intermediate_size: 64,
        num_hidden_layers: 1,
        num_attention_heads: 2,
        num_key_value_heads: 2,
        head_dim: 16,
        max_position_embeddings: 64,
        rms_norm_eps: 1e-5,
        rope_theta: 10_000.0,
        rope_scaling: None,
        tie_word_embeddings: true,
        qk_norm: false,
        initializer_range: 0.02,
    };
    let first_state = state_hash(&initial_parameters(&model, SEED));
    Genesis {
        version: GENESIS_VERSION,
        name: "test".to_owned(),
        ledger: Default::default(),
        netuid: templar_base::Netuid(3),
        clock: WindowClock { start_block: BlockNumber(0), blocks_per_window: 26 },
        budget: WindowBudget {
            seal_blocks: 5,
            reveal_blocks: 4,
            hold_blocks: None,
            judge_blocks: 9,
            open_blocks: 11,
            apply_blocks: 13,
            retention_windows: 8,
            checkpoint_windows: 3,
        },
        numerics: NumericsId::STRICT.to_string(),
        open_numerics: Vec::new(),
        first_parameters: FirstParameters::Seed(ContentHash::new(SEED)),
        first_state,
        parent: None,
        data: DataRule {
            tokenizer: corpus.tokenizer().hash(),
            manifest: corpus.manifest_hash(),
            sequence_length: 32,
            sequences_per_batch: 8,
            batches_per_window: 8,
            span_sequences: SPAN_SEQUENCES,
            span_windows: SPAN_WINDOWS,
            evaluation_percent: 4,
            documents: Default::default(),
        },
        model,
        inner: InnerOptimiser {
            beta1: 0.9,
            beta2: 0.95,
            epsilon: 1e-8,
            weight_decay: 0.1,
            clip_norm: 1.0,
            hidden_matrices: Default::default(),
            schedule: InnerSchedule {
                peak: 2e-3,
                warm_up_windows: 1,
                decay_from_window: 200,
                decay_to_window: 1000,
                final_share: 0.1,
                ..InnerSchedule::default()
            },
        },
        outer: OuterRule {
            error_feedback_decay: 0.95,
            error_feedback_values: Default::default(),
            tensor_classes: vec![TensorClass { suffix: String::new(), kept_per_chunk: 256 }],
            alpha: 0.7,
            final_alpha: 0.65,
            decay_from_window: 200,
            decay_to_window: 1000,
            scales: ScaleRule::Clipped { times: 4 },
            merge: Default::default(),
            domain: Default::default(),
            values: Default::default(),
            step: Default::default(),
        },
        judging: JudgingRule {
            pool: 64,
            evaluation_sequences: 96,
            evaluation_parts: 8,
            selected: 15,
            newcomer_places: 2,
            newcomer_windows: 8,
            admission_share: 0.4,
            confirmation_share: 0.5,
            copy_agreement: 0.25,
            rating_process_noise: 0.02,
            held_out_sequences: 64,
        },
        electors: Some(ElectorRule::default()),
        economics: Economics { ramp_windows: 2, weights_every_windows: 1 },
        audit: Default::default(),
        evaluation: None,
    }
}

/// Puts the files of tasks where the nodes read them.
fn put_tasks(tasks: &[(&str, String)], genesis: &Genesis, folder: &Path) -> Option<EvaluationRule> {
    let file = |(name, text): &(&str, String)| {
        let path = folder.join(format!("{name}.jsonl"));
        std::fs::write(&path, text).unwrap();
        path
    };
    let files: Vec<PathBuf> = tasks.iter().map(file).collect();
    let evaluation = NewEvaluation::read(&files, None).unwrap();
    evaluation.put_into(folder).unwrap();
    evaluation.rule(&genesis.budget)
}

/// How a test wants its network.
pub struct Plan {
    /// Sets the buckets of tests apart.
    pub name: &'static str,
    pub validators: usize,
    pub miners: usize,
    /// Registered first, so that theirs are the lowest uids.
    pub rogues: usize,
    /// Whether rogues only guess: they vote on every window what might be, and set weights.
    pub guesses: bool,
    pub adversaries: Vec<Act>,
    /// Which adversaries' buckets serve which nodes nothing, by number and name.
    pub hides: Vec<(usize, &'static str)>,
    /// Changes the rules.
    pub genesis: fn(&mut Genesis),
    /// Changes the ledger's rules.
    pub ledger: fn(&mut Profile),
    /// Tasks that validators put to the model at each checkpoint: their names, and their questions as JSON lines.
    pub tasks: Vec<(&'static str, String)>,
}

impl Plan {
    pub fn new(name: &'static str, validators: usize, miners: usize) -> Self {
        Self {
            name,
            validators,
            miners,
            rogues: 0,
            guesses: false,
            adversaries: Vec::new(),
            hides: Vec::new(),
            genesis: |_| {},
            ledger: |_| {},
            tasks: Vec::new(),
        }
    }
}

/// The network.
pub struct World {
    pub chain: Recording,
    pub run: Rules,
    pub data: Data,
    pub nodes: BTreeMap<String, Node>,
    pub adversaries: Vec<Adversary>,
    /// The first window in which they act.
    pub adversaries_from: Window,
    pub observer: Observer,
    /// Validators with stake that break the rules.
    pub rogues: Vec<Rogue>,
    /// The uid of the adversary that does nothing wrong, if there is one.
    pub honest_adversary: Option<PublicKey>,
    hides: Vec<(usize, &'static str)>,
    name: &'static str,
    folder: tempfile::TempDir,
    next_coldkey: usize,
    /// Times when a block did not wait any longer.
    pub impatience: Vec<String>,
}

fn coldkey(number: usize) -> Keypair {
    Keypair::from_uri(&format!("//cold{number}")).unwrap()
}

impl World {
    /// Makes the ledger, the slots and the rules, and starts the honest nodes.
    pub async fn new(plan: Plan) -> Self {
        let corpus = corpus();
        let owner = Keypair::from_uri("//owner").unwrap();
        let funded: Vec<PublicKey> = (0..64).map(|number| coldkey(number).public()).collect();
        let mut profile = Profile::local(owner.public(), &funded);
        (plan.ledger)(&mut profile);
        let chain = Recording::new(LocalChain::in_memory(&profile).unwrap());
        let mut genesis = rules(&corpus);
        (plan.genesis)(&mut genesis);
        let folder = tempfile::tempdir().unwrap();
        genesis.evaluation = put_tasks(&plan.tasks, &genesis, folder.path());
        let run = Rules::new(genesis.clone()).unwrap();
        let mut world = Self {
            observer: Observer::new(initial_parameters(&genesis.model, SEED)),
            data: Data::new(&run, Arc::clone(&corpus)).unwrap(),
            run,
            chain,
            nodes: BTreeMap::new(),
            adversaries: Vec::new(),
            adversaries_from: Window(0),
            rogues: Vec::new(),
            honest_adversary: None,
            hides: plan.hides,
            name: plan.name,
            folder,
            next_coldkey: 0,
            impatience: Vec::new(),
        };
        for number in 0..plan.rogues {
            let name = format!("rogue-{number}");
            let (hotkey, bucket) = (world.hotkey(&name), world.bucket(&name));
            world.register(&hotkey).await;
            world.add_stake(&hotkey, ROGUE_STAKE).await;
            world.chain.announce(&hotkey, &bucket);
            world.rogues.push(Rogue { hotkey, bucket, guesses: plan.guesses });
        }
        for number in 0..plan.validators {
            world.add(&format!("validator-{number}"), Role::Validator).await;
        }
        for number in 0..plan.miners {
            world.add(&format!("miner-{number}"), Role::Miner).await;
        }
        for (number, act) in plan.adversaries.into_iter().enumerate() {
            let (hotkey, bucket) = (world.hotkey(&format!("adversary-{number}")), format!("adversary-{number}"));
            let uid = world.register(&hotkey).await;
            let bucket = world.bucket(&bucket);
            world.chain.announce(&hotkey, &bucket);
            if act == Act::Honest {
                world.honest_adversary = Some(hotkey.public());
            }
            world.adversaries.push(Adversary::new(act, hotkey, uid, bucket));
        }
        // Permits are handed out at the end of an epoch.
        world.chain.inner.advance(u64::from(profile.tempo)).unwrap();
        genesis.ledger = world.chain.inner.with(|ledger| ledger.state().genesis_hash());
        genesis.clock.start_block = world.head().plus(4);
        world.run = Rules::new(genesis).unwrap();
        world.data = Data::new(&world.run, corpus).unwrap();
        let names: Vec<String> = world.nodes.keys().cloned().collect();
        for name in names {
            world.start(&name).await;
        }
        world
    }

    fn hotkey(&self, name: &str) -> Keypair {
        Keypair::from_uri(&format!("//{}//{name}", self.name)).unwrap()
    }

    /// A bucket of this network.
    pub fn bucket(&self, name: &str) -> Bucket {
        Bucket::open_writer(&BucketLocation::memory(&format!("{}-{name}", self.name)).unwrap(), None).unwrap()
    }

    /// The folder with the questions of the run's tasks.
    pub fn questions(&self) -> &Path {
        self.folder.path()
    }

    /// Buys a slot.
    async fn register(&mut self, hotkey: &Keypair) -> Uid {
        let coldkey = coldkey(self.next_coldkey);
        self.next_coldkey += 1;
        let netuid = self.run.genesis.netuid;
        let chain = self.chain.inner.with_block_on_submit();
        let call = Call::Register { netuid, hotkey: hotkey.public(), max_price: None };
        chain.submit(&coldkey, call).await.unwrap();
        chain.metagraph(netuid, None).await.unwrap().neuron(&hotkey.public()).unwrap().uid
    }

    /// Stakes behind the key that was registered last.
    async fn add_stake(&self, hotkey: &Keypair, amount: Rao) {
        let call = Call::AddStake { hotkey: hotkey.public(), netuid: self.run.genesis.netuid, amount };
        self.chain.inner.with_block_on_submit().submit(&coldkey(self.next_coldkey - 1), call).await.unwrap();
    }

    /// Registers a node without starting it.
    pub async fn add(&mut self, name: &str, role: Role) {
        let hotkey = self.hotkey(name);
        let uid = self.register(&hotkey).await;
        if role == Role::Validator {
            self.add_stake(&hotkey, STAKE).await;
        }
        let mut node = Node::new(role, hotkey, uid, self.bucket(name), self.folder.path().join(name));
        node.questions = self.folder.path().to_owned();
        self.nodes.insert(name.to_owned(), node);
    }

    /// Starts a node, for the first time or again.
    pub async fn start(&mut self, name: &str) {
        let hidden = self.hides.iter().filter(|(_, from)| *from == name);
        let hidden = hidden.map(|(number, _)| self.hotkey(&format!("adversary-{number}")).public()).collect();
        let chain: Arc<dyn NodeChain> = Arc::new(self.chain.hiding(hidden));
        self.nodes.get_mut(name).unwrap().start(&self.run, &self.data, chain).await;
    }

    /// Ends a node without any farewell; its folder stays.
    pub async fn kill(&mut self, name: &str) {
        self.nodes.get_mut(name).unwrap().kill().await;
    }

    /// The newest block.
    pub fn head(&self) -> BlockNumber {
        self.chain.inner.with(|ledger| ledger.head().number)
    }

    /// What everybody can read.
    pub fn public_record(&self) -> PublicRecord {
        let mut record = PublicRecord::new(Arc::new(self.chain.clone()), self.run.genesis.netuid);
        record.local_buckets = true;
        record
    }

    /// Everything staked behind a key.
    pub fn stake(&self, hotkey: &Keypair) -> Alpha {
        self.chain.inner.with(|ledger| ledger.state().alpha_behind(&hotkey.public()))
    }

    /// Makes blocks until the outcome of `window` is applied by everybody who is in step.
    pub async fn run_through(&mut self, window: Window) {
        while self.head() < self.run.phases.seal(window.next()) {
            self.next_block().await;
        }
    }

    /// Makes blocks until these nodes stand where all stand, and to the end of that window's outcome; gives that window.
    /// They have time: what holds them up goes by the clock and not by blocks.
    pub async fn run_until_caught_up(&mut self, names: &[&str]) -> Window {
        let begun = Instant::now();
        loop {
            self.nodes.values_mut().for_each(Node::read_journal);
            let furthest = self.nodes.values().map(|node| node.next).max();
            if names.iter().all(|name| Some(self.nodes[*name].next) == furthest) {
                break;
            }
            assert!(begun.elapsed() < 10 * PATIENCE, "{names:?} do not catch up\n{}", self.story());
            tokio::time::sleep(APPLY_PAUSE).await;
            self.next_block().await;
        }
        let last = self.run.phases.window_of(self.head()).unwrap_or(Window(0));
        self.run_through(last).await;
        last
    }

    /// Makes blocks up to `block`.
    pub async fn run_to(&mut self, block: BlockNumber) {
        while self.head() < block {
            self.next_block().await;
        }
    }

    /// Waits for whom the next block should wait for, lets the adversaries act, and makes the block.
    pub async fn next_block(&mut self) {
        for (name, node) in &mut self.nodes {
            node.check_running(name).await;
        }
        let (head, phases) = (self.head(), self.run.phases.clone());
        if head < phases.start(Window(0)) {
            self.wait_for("buckets", PATIENCE, true, Self::have_announced).await;
        }
        if head.plus(1) == phases.start(Window(0)) {
            self.wait_for("starts", PATIENCE, true, Self::have_started).await;
        }
        if let Some(current) = phases.window_of(head) {
            if let Some(ended) = current.previous() {
                self.wait_for_outcome(head, ended).await;
                for rogue in &self.rogues {
                    if head == phases.reveal(ended) {
                        rogue.seal_vote(self, ended);
                    } else if head == phases.judge(ended) {
                        rogue.vote(self, ended);
                    } else if head == phases.apply(ended) {
                        rogue.report(self, ended).await;
                    }
                }
            }
            if head.plus(2) == phases.end(current) {
                self.wait_for("seals", PATIENCE, true, |world| world.have_sealed(current)).await;
                self.observer.follow(&self.run, &mut self.nodes).await;
                self.seal_adversaries(current).await;
            }
            if let Some(ended) = current.previous().filter(|ended| phases.end(*ended) == head) {
                self.reveal_adversaries(ended).await;
            }
        }
        tokio::time::sleep(BLOCK_PAUSE).await;
        self.chain.inner.advance(1).unwrap();
        self.assert_conservation();
    }

    async fn seal_adversaries(&mut self, window: Window) {
        if window < self.adversaries_from {
            return;
        }
        let mut adversaries = std::mem::take(&mut self.adversaries);
        for adversary in &mut adversaries {
            adversary.seal(self, window).await;
        }
        self.adversaries = adversaries;
    }

    async fn reveal_adversaries(&mut self, window: Window) {
        let mut adversaries = std::mem::take(&mut self.adversaries);
        for adversary in &mut adversaries {
            adversary.reveal(self, window).await;
        }
        self.adversaries = adversaries;
    }

    /// Commits bytes for a key without waiting for the block.
    pub fn commit(&self, hotkey: &Keypair, topic: Topic, window: Window, data: Vec<u8>) {
        let netuid = self.run.genesis.netuid;
        self.chain.inner.enqueue(hotkey, Call::Commit { netuid, topic, index: window.0, data }).unwrap();
    }

    /// The outcomes that each node applied: window, selected, state.
    pub fn applied(&mut self, name: &str) -> BTreeMap<Window, (Vec<Uid>, StateHash)> {
        let node = self.nodes.get_mut(name).unwrap();
        node.read_journal();
        node.applied()
    }

    /// Whether nobody ever came to another state than anybody else; gives the outcomes of all windows.
    pub fn assert_all_equal(&mut self) -> BTreeMap<Window, (Vec<Uid>, StateHash)> {
        let mut agreed: BTreeMap<Window, (Vec<Uid>, StateHash, String)> = BTreeMap::new();
        let names: Vec<String> = self.nodes.keys().cloned().collect();
        for name in names {
            for (window, (selected, state)) in self.applied(&name) {
                let (first_selected, first_state, first) =
                    agreed.entry(window).or_insert_with(|| (selected.clone(), state, name.clone()));
                assert_eq!(
                    (&selected, state),
                    (&*first_selected, *first_state),
                    "{name} and {first} differ in window {window}\n{}",
                    self.story()
                );
            }
            let diverged =
                self.nodes[&name].entries.iter().find(|entry| matches!(entry, JournalEntry::Diverged { .. }));
            assert!(diverged.is_none(), "{name}: {diverged:?}\n{}", self.story());
        }
        agreed.into_iter().map(|(window, (selected, state, _))| (window, (selected, state))).collect()
    }

    /// Whether whatever a validator selected came to an outcome: no window was lost for want of a quorum. The little
    /// model learns no more after some windows, and then nobody may be admitted in one; that is not what is asked here.
    pub fn assert_no_quorum_lost(&self, outcomes: &BTreeMap<Window, (Vec<Uid>, StateHash)>) {
        for entry in self.nodes.values().flat_map(|node| &node.entries) {
            if let JournalEntry::Judged { window, selected, .. } = entry
                && let Some((applied, _)) = outcomes.get(window)
            {
                let lost = applied.is_empty() && !selected.is_empty();
                assert!(!lost, "window {window} is null, though {selected:?} were selected\n{}", self.story());
            }
        }
    }

    /// What all validators that judged a window say of a miner in it, which is one thing; none where it is not mentioned.
    pub async fn standing(&self, window: Window, uid: Uid) -> Option<Standing> {
        let mut said = Vec::new();
        for validator in self.nodes.keys().filter(|name| name.starts_with("validator")) {
            let Some(verdict) = self.verdict(validator, window).await else { continue };
            said.push(verdict.miners.iter().find(|miner| miner.uid == uid).map(|miner| miner.standing.clone()));
        }
        assert!(!said.is_empty(), "nobody judged window {window}\n{}", self.story());
        assert!(said.iter().all(|own| *own == said[0]), "{said:?} in window {window}\n{}", self.story());
        said.swap_remove(0)
    }

    /// The verdict in a validator's bucket; none where the others had decided before it was done.
    pub async fn verdict(&self, validator: &str, window: Window) -> Option<Verdict> {
        let node = &self.nodes[validator];
        let bytes = node.bucket.get(&ObjectKey::Verdict(window).to_string(), 16 << 20).await.ok()?;
        let author = node.hotkey.public();
        Some(Signed::<Verdict>::from_bytes(&bytes, self.run.id, window, "verdict", author).unwrap().body)
    }

    /// What the ledger created and destroyed adds up to the last unit; checked after each block.
    fn assert_conservation(&self) {
        self.chain.inner.with(|ledger| check_conservation(ledger.state())).unwrap();
    }

    /// What everybody did, for a test that fails.
    pub fn story(&self) -> String {
        let mut story = String::new();
        for (name, node) in &self.nodes {
            story += &format!("== {name} (uid {}, next {})\n", node.uid, node.next);
            for entry in &node.entries {
                let line = format!("{entry:?}");
                story += &format!("   {}\n", line.chars().take(1000).collect::<String>());
            }
        }
        story + &self.impatience.join("\n")
    }

    /// The uids of the honest miners.
    pub fn miners(&self) -> BTreeSet<Uid> {
        self.nodes.values().filter(|node| node.role == Role::Miner).map(|node| node.uid).collect()
    }

    /// A commitment's bytes.
    pub fn encoded(value: &impl Encode) -> Vec<u8> {
        value.encode()
    }
}
