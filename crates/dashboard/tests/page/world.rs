//! A run's record, made by hand on a local ledger: seals, votes, verdicts and reports as nodes would write them. One miner
//! is hostile: whatever it can name, it names to break out of a page.

use parity_scale_codec::Encode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use templar_base::{
    Beacon, BlockNumber, ContentHash, CorpusHashes, EvaluationRule, EvaluationTask, Finding, Findings, Genesis,
    Keypair, Mark, Nats, Netuid, Rao, Share, StateHash, Uid, Window,
};
use templar_bucket::{Bucket, BucketLocation};
use templar_chain::governance::{Action, GovernanceCall};
use templar_chain::{Call, Chain, Topic};
use templar_dashboard::{Dashboard, Listener, Options, Source};
use templar_engine::preset;
use templar_gauntlet::{Confirmation, Contribution, MinerVerdict, Rating, Ratings, Rejection, Standing, Verdict};
use templar_ledger::{LocalChain, Profile};
use templar_record::{EVALUATION_PURPOSE, EvaluationResult, Evaluations, Figure, Rules, TaskResult, VERDICT_PURPOSE};
use templar_round::{Applied, ObjectKey, SealCommitment, Signed, Vote, VoteSeal};

pub const NETUID: Netuid = Netuid(3);
pub const HOSTILE: &str = "</td><script>alert('x')</script><img src=x onerror=alert(1)>\u{202e}\"&";
pub const MINERS: u16 = 3;
pub const VALIDATORS: u16 = 2;
/// Buckets in memory are shared by the whole process.
static WORLDS: AtomicUsize = AtomicUsize::new(0);

pub struct World {
    pub chain: LocalChain,
    pub source: Source,
    hotkeys: Vec<Keypair>,
    name: String,
}

fn coldkey(number: usize) -> Keypair {
    Keypair::from_uri(&format!("//cold{number}")).unwrap()
}

impl World {
    /// A run that has begun: two validators with slots 0 and 1, then miners.
    pub async fn new() -> Self {
        let name = format!("dashboard-{}", WORLDS.fetch_add(1, Ordering::Relaxed));
        let owner = Keypair::from_uri("//owner").unwrap();
        let funded: Vec<_> = (0..8).map(|number| coldkey(number).public()).collect();
        let profile = Profile::local(owner.public(), &funded);
        let chain = LocalChain::in_memory(&profile).unwrap();
        let hotkeys: Vec<Keypair> = (0..usize::from(VALIDATORS + MINERS))
            .map(|number| Keypair::from_uri(&format!("//{name}//{number}")).unwrap())
            .collect();
        let at_once = chain.with_block_on_submit();
        for (number, hotkey) in hotkeys.iter().enumerate() {
            let register = Call::Register { netuid: NETUID, hotkey: hotkey.public(), max_price: None };
            at_once.submit(&coldkey(number), register).await.unwrap();
            if number < usize::from(VALIDATORS) {
                // The first has a little more, so that it is a majority.
                let amount = Rao::from_whole(500 + 10 * u64::from(number == 0));
                let stake = Call::AddStake { hotkey: hotkey.public(), netuid: NETUID, amount };
                at_once.submit(&coldkey(number), stake).await.unwrap();
            }
        }
        // Permits are handed out at the end of an epoch.
        chain.advance(u64::from(profile.tempo)).unwrap();
        let mut genesis = Genesis::small(
            preset("nano", 512).unwrap(),
            CorpusHashes { tokenizer: ContentHash::of(b"tokenizer"), manifest: ContentHash::of(b"manifest") },
        );
        genesis.name = "<b>hostile</b> & run".to_owned();
        let task = |name: &str| EvaluationTask { name: name.to_owned(), questions: ContentHash::of(b"q"), bytes: 900 };
        genesis.evaluation = Some(EvaluationRule { every_windows: 3, tasks: vec![task("colours"), task("ends")] });
        genesis.ledger = chain.with(|ledger| ledger.state().genesis_hash());
        genesis.clock.start_block = chain.with(|ledger| ledger.head().number).plus(2);
        let run = Rules::new(genesis).unwrap();
        let mut source = Source::new(run, Arc::new(chain.clone()));
        source.record.local_buckets = true;
        let world = Self { chain, source, hotkeys, name };
        for number in 0..world.hotkeys.len() {
            let data = world.bucket(number).location().to_string().into_bytes();
            world.commit(number, Topic::Bucket, 0, data);
        }
        world
    }

    fn bucket(&self, number: usize) -> Bucket {
        let location = BucketLocation::memory(&format!("{}-{number}", self.name)).unwrap();
        Bucket::open_writer(&location, None).unwrap()
    }

    pub fn head(&self) -> BlockNumber {
        self.chain.with(|ledger| ledger.head().number)
    }

    fn advance_to(&self, block: BlockNumber) {
        let head = self.head();
        if block > head {
            self.chain.advance(block.blocks_since(head)).unwrap();
        }
    }

    fn commit(&self, number: usize, topic: Topic, index: u64, data: Vec<u8>) {
        let call = Call::Commit { netuid: NETUID, topic, index, data };
        self.chain.enqueue(&self.hotkeys[number], call).unwrap();
    }

    /// Lets a window pass, up to the block at which nothing of it changes any more. With `merges` the first miner is merged;
    /// the last miner is always refused, and its refusal holds hostile words.
    pub async fn pass(&self, window: Window, merges: bool) {
        self.seal(window);
        self.judge(window, merges).await;
        self.advance_to(self.source.run.phases.seal(window.next()));
    }

    /// Lets a validator put the tasks to the model at the start of a window, with this accuracy.
    pub async fn evaluate(&self, validator: usize, window: Window, accuracy: f64) {
        let (run, key) = (&self.source.run, &self.hotkeys[validator]);
        let figure = |value| Figure { value, stderr: Some(0.05) };
        let task = |task: &EvaluationTask| TaskResult {
            name: task.name.clone(),
            questions: task.questions,
            count: 40,
            acc: figure(accuracy),
            acc_norm: (task.name == "colours").then(|| figure(0.5)),
            perplexity: (task.name == "ends").then(|| figure(12.5)),
            bits_per_byte: figure(1.25),
        };
        let tasks = run.genesis.evaluation.as_ref().unwrap().tasks.iter().map(task).collect();
        let (state, numerics) = (StateHash::new([window.get() as u8; 32]), run.genesis.numerics.clone());
        let result = EvaluationResult { run: run.id, window, state, numerics, tasks };
        let mut kept = Evaluations::default();
        kept.add(Signed::new(result, run.id, window, EVALUATION_PURPOSE, key).unwrap());
        let bytes = kept.to_bytes().unwrap();
        self.bucket(validator).put(&ObjectKey::Evaluations.to_string(), bytes.into()).await.unwrap();
    }

    /// Lets the miners seal.
    pub fn seal(&self, window: Window) {
        self.advance_to(self.source.run.phases.seal(window));
        for miner in usize::from(VALIDATORS)..self.hotkeys.len() {
            let digest = ContentHash::of(format!("{window}/{miner}").as_bytes());
            let commitment = SealCommitment { digest, bytes: 1_000 + miner as u32 };
            self.commit(miner, Topic::Sealed, window.get(), commitment.encode());
        }
        self.advance_to(self.source.run.phases.end(window));
    }

    async fn judge(&self, window: Window, merges: bool) {
        let (phases, run) = (&self.source.run.phases, self.source.run.id);
        let verdict = self.verdict(window, merges);
        let mut votes = Vec::new();
        for validator in 0..usize::from(VALIDATORS) {
            let key = &self.hotkeys[validator];
            let signed = Signed::new(verdict.clone(), run, window, VERDICT_PURPOSE, key).unwrap();
            let bytes = signed.to_bytes().unwrap();
            self.bucket(validator).put(&ObjectKey::Verdict(window).to_string(), bytes.into()).await.unwrap();
            let vote =
                Vote::new(verdict.findings.clone(), signed.hash().unwrap()).unwrap().salted([validator as u8; 16]);
            let seal = VoteSeal::of(run, window, key.public(), &vote);
            self.commit(validator, Topic::VoteSeal, window.get(), seal.encode());
            votes.push(vote);
        }
        self.advance_to(phases.judge(window));
        for (validator, vote) in votes.iter().enumerate() {
            self.commit(validator, Topic::Vote, window.get(), vote.encode());
        }
        self.advance_to(phases.open(window));
        for validator in 0..usize::from(VALIDATORS) {
            let applied = Applied {
                aggregate: merges.then(|| ContentHash::of(b"aggregate")),
                state: StateHash::new([window.get() as u8 + 1; 32]),
                record: verdict.ratings.root(),
            };
            self.commit(validator, Topic::Applied, window.get(), applied.encode());
        }
        self.advance_to(phases.apply(window));
    }

    fn verdict(&self, window: Window, merges: bool) -> Verdict {
        let nats = Nats::from_f64;
        let first = VALIDATORS;
        let mark = if merges { Mark::Selected } else { Mark::NotAdmitted };
        let finding =
            |uid: u16, mark| Finding { uid: Uid(uid), mark, is_sure: merges, share: Some(Share::new(1.0, 0.1)) };
        let miners = vec![finding(first, mark), finding(first + 1, Mark::NotAdmitted)];
        let findings = Findings { miners, magnitude: 5, ..Findings::default() };
        let standing = |uid: u16| match uid - first {
            0 if merges => Standing::Selected,
            0 | 1 => Standing::NotAdmitted,
            _ => Standing::Rejected(Rejection::WrongNumerics { actual: HOSTILE.to_owned() }),
        };
        let contribution = |uid: u16| {
            (uid - first < 2).then(|| Contribution {
                mean: nats(0.002 + 0.0001 * window.get() as f64),
                standard_error: nats(0.0004),
                parts: vec![nats(0.002); 8],
            })
        };
        let miner = |uid: u16| MinerVerdict {
            uid: Uid(uid),
            hotkey: self.hotkeys[usize::from(uid)].public(),
            payload: (uid - first < 2).then(|| ContentHash::of(&[uid as u8])),
            tokens: 12_800,
            standing: standing(uid),
            contribution: contribution(uid),
            rating_before: Some(Rating { mean: 0.5, variance: 0.04 }),
            rating_after: Some(Rating { mean: 0.6, variance: 0.03 }),
        };
        let confirmation = merges.then(|| Confirmation {
            loss_before: 6.0 - 0.25 * window.get() as f64,
            loss_after: Some(5.8 - 0.25 * window.get() as f64),
            step: Default::default(),
            predicted: nats(0.002),
            carried: nats(0.0),
            surplus: nats(0.001),
            surplus_error: nats(0.0005),
            confirmed: vec![Uid(first)],
            culprit: None,
            evaluations: 2,
        });
        Verdict {
            run: self.source.run.id,
            window,
            beacon: Beacon::new([1; 32]),
            start_state: StateHash::new([window.get() as u8; 32]),
            miners: (first..first + MINERS).map(miner).collect(),
            confirmation,
            selected: if merges { vec![Uid(first)] } else { Vec::new() },
            findings,
            ratings: Ratings::default(),
        }
    }

    /// A run of four windows, of which the last three are null, and a proposal.
    pub async fn of_four_windows() -> Self {
        let world = Self::new().await;
        world.pass(Window(0), true).await;
        for (validator, accuracy) in [(0, 0.75), (1, 0.625)] {
            world.evaluate(validator, Window(3), accuracy).await;
        }
        for window in 1..4 {
            world.pass(Window(window), false).await;
        }
        world.propose().await;
        world
    }

    /// A proposal whose title is hostile.
    pub async fn propose(&self) {
        let action = Action::Revenue { burned_per_mille: 100, treasury_per_mille: 100 };
        let title: String = HOSTILE.chars().take(60).collect();
        let call = Call::Governance { netuid: NETUID, call: GovernanceCall::Propose { title, action } };
        self.chain.with_block_on_submit().submit(&coldkey(0), call).await.unwrap();
    }

    /// Serves the record, with pauses that suit a test.
    pub fn serve(&self, change: impl FnOnce(&mut Options)) -> Dashboard {
        let mut options = Options { pause: std::time::Duration::from_millis(50), ..Options::default() };
        change(&mut options);
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        Dashboard::start(listener, self.source.clone(), options).unwrap()
    }
}
