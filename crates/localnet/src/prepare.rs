//! A new network: everything that it needs is made beside the old one, which goes only when the new one is complete.

use crate::draft::Draft;
use crate::fit::{self, Fit, Most, Tokens};
use crate::nodes::{NETUID, make_wallet, wallet};
use crate::plan::{self, Plan};
use crate::setup::OWNER;
use crate::wishes::NetworkOptions;
use crate::{Checked, Folder, Settings, SetupError, memory};
use templar_base::{BlockNumber, WindowBudget};
use templar_corpus::{BuildError, BuildProgress, Corpus, TextSources, TokenizerError};
use templar_ledger::Profile;

/// The vocabulary of a new network.
const VOCABULARY: u32 = 4096;
/// The synthetic grammar has a few hundred words.
const SYNTHETIC_VOCABULARY: u32 = 512;
/// Vocabularies that are tried where a text has too few tokens: a smaller one gives more tokens.
const SMALL_VOCABULARIES: [u32; 2] = [512, 288];

/// What is in progress while a network is prepared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Preparing {
    /// The text is read and becomes a corpus.
    Text(BuildProgress),
    /// The speed of this machine is measured.
    Measuring,
}

impl NetworkOptions {
    /// The settings of a new network.
    fn settings(&self) -> Settings {
        Settings::new(self.validators.unwrap_or(2).max(1), self.miners.unwrap_or(4).max(1))
    }

    /// Checks what can be checked before a text is at hand.
    pub fn check(&self) -> Result<(), SetupError> {
        let preset = &self.preset.value;
        let model = templar_engine::preset(preset, self.vocab_size.unwrap_or(SYNTHETIC_VOCABULARY) as usize)?;
        model.check()?;
        let Settings { miners, validators, .. } = self.settings();
        let shape = plan::shape_of(model, miners, self.rule.unwrap_or_default());
        let budget = WindowBudget { checkpoint_windows: plan::CHECKPOINT_WINDOWS, ..shape.budget.clone() };
        let problem = self.evaluation.rule(&budget).and_then(|rule| rule.problems(&budget).into_iter().next());
        problem.map_or(Ok(()), |problem| Err(SetupError::Evaluation(problem)))?;
        memory::check(preset, &shape, miners, validators)
    }
}

impl Folder {
    /// Prepares a new network, and puts it in the place of the one in the folder. Where anything fails the old one is as
    /// it was.
    pub fn prepare(
        &self,
        options: &NetworkOptions,
        text: &TextSources,
        progress: &mut dyn FnMut(Preparing),
    ) -> Result<Checked, SetupError> {
        options.check()?;
        let mut bytes = 0;
        let key = text.key(|read| bytes = read)?;
        let mut settings = options.settings();
        settings.text = Some(key);
        let draft = self.draft()?;
        let (corpus, mut remarks) = build(&draft, options, &settings, text, bytes, progress)?;
        for node in settings.nodes() {
            make_wallet(draft.path(), &node.name)?;
        }
        make_wallet(draft.path(), OWNER)?;
        progress(Preparing::Measuring);
        let plan = make_plan(&corpus, options, &settings)?;
        options.evaluation.put_into(&draft.path().join("corpus"))?;
        remarks.extend(plan.remark());
        let profile = profile(&draft, &settings, &plan)?;
        draft.write_json("ledger.json", &profile)?;
        draft.write_json("plan.json", &plan.genesis(profile.genesis_hash(), NETUID, BlockNumber(0)))?;
        draft.write_json("network.json", &settings)?;
        draft.put_in_place()?;
        Ok(Checked { settings, remarks, sources: corpus.manifest().sources.clone() })
    }
}

/// Builds the corpus: with the vocabulary that is asked for, or the largest usual one that the text gives.
fn build(
    draft: &Draft,
    options: &NetworkOptions,
    settings: &Settings,
    text: &TextSources,
    bytes: u64,
    progress: &mut dyn FnMut(Preparing),
) -> Result<(Corpus, Vec<String>), SetupError> {
    let folder = draft.path().join("corpus");
    let miners = plan::expected_miners(settings.miners);
    let usual = if text.is_synthetic() { SYNTHETIC_VOCABULARY } else { VOCABULARY };
    let mut wanted = options.vocab_size.unwrap_or(usual);
    let mut smaller = SMALL_VOCABULARIES.into_iter();
    loop {
        let builder = text.builder().vocab_size(wanted).held_out_percent(fit::held_out_percent(bytes));
        match builder.build(&folder, |news| progress(Preparing::Text(news))) {
            Err(BuildError::Tokenizer(TokenizerError::TextTooPlain { reached, .. }))
                if options.vocab_size.is_none() =>
            {
                wanted = reached;
                continue;
            }
            built => drop(built?),
        }
        let corpus = Corpus::open(&folder)?;
        let tokens = Tokens { train: corpus.train_tokens(), held_out: corpus.held_out_tokens() };
        let model = templar_engine::preset(&options.preset.value, wanted as usize)?;
        if Fit::of(tokens, miners, 1, &model, Most::USUAL).is_some() {
            let remark = (options.vocab_size.is_none() && wanted != usual)
                .then(|| format!("the text is small: a vocabulary of {wanted} tokens instead of {usual}"));
            return Ok((corpus, remark.into_iter().collect()));
        }
        let next = smaller.find(|size| *size < wanted && options.vocab_size.is_none());
        wanted = next.ok_or_else(|| too_little(settings, tokens, bytes))?;
        drop(corpus);
        templar_disk::Folder::new(&folder).remove().map_err(|error| SetupError::Build(error.into()))?;
    }
}

fn too_little(settings: &Settings, tokens: Tokens, bytes: u64) -> SetupError {
    let miners = plan::expected_miners(settings.miners);
    let needed = fit::least_bytes(miners).max(bytes.saturating_mul(5) / 4);
    SetupError::TooLittleText { bytes, tokens: tokens.train + tokens.held_out, miners: settings.miners, needed }
}

fn make_plan(corpus: &Corpus, options: &NetworkOptions, settings: &Settings) -> Result<Plan, SetupError> {
    let vocab_size = corpus.manifest().vocab_size as usize;
    let model = templar_engine::preset(&options.preset.value, vocab_size)?;
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(SetupError::Random)?;
    Plan::new(&plan::Inputs {
        model,
        corpus,
        seed,
        miners: settings.miners,
        validators: settings.validators,
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        rule: options.rule.unwrap_or_default(),
        audit_rate: options.audit_rate.unwrap_or_default(),
        window_seconds: options.window_seconds,
        engine: options.engine.clone(),
        open_numerics: options.open_numerics.iter().cloned().collect(),
        evaluation: options.evaluation.clone(),
    })
}

fn profile(draft: &Draft, settings: &Settings, plan: &Plan) -> Result<Profile, SetupError> {
    let address = |name: &str| wallet(draft.path(), name)?.coldkey_address();
    let funded = settings.nodes().iter().map(|node| address(&node.name)).collect::<Result<Vec<_>, _>>()?;
    let mut profile = Profile::local(address(OWNER)?, &funded);
    profile.block_time_ms = plan::BLOCK_TIME_MS;
    profile.commitment_retention_blocks = profile.commitment_retention_blocks.max(plan.retention_blocks());
    profile.history_blocks = profile.history_blocks.max(2 * plan.retention_blocks());
    profile.yuma.activity_cutoff_blocks = profile.yuma.activity_cutoff_blocks.max(plan.activity_cutoff_blocks());
    profile.check()?;
    Ok(profile)
}
