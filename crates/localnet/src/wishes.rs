//! What is asked of a network when it is made, and whether an existing one is like that.

use crate::existing::Existing;
use crate::plan::BLOCK_TIME_MS;
use crate::{RuleName, SetupError};
use std::collections::BTreeSet;
use templar_base::ModelConfig;
use templar_corpus::{SourceError, TextSources};
use templar_engine::EngineSource;
use templar_evaluation::NewEvaluation;

/// Who chose a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum By {
    /// The command line.
    Flag,
    /// A setting, described for people: its name and where it comes from.
    Setting(String),
    /// Nobody: it is the default of a new network.
    Default,
}

/// A value and who chose it.
#[derive(Debug, Clone)]
pub struct Wish<T> {
    /// The value.
    pub value: T,
    /// Who chose it.
    pub by: By,
}

/// What the operator asks for. It counts when the network is made; an existing network must be like it, and may grow.
#[derive(Debug, Clone)]
pub struct NetworkOptions {
    /// Size of the model.
    pub preset: Wish<String>,
    /// Size of the vocabulary; as large as fits the text where it is not given.
    pub vocab_size: Option<u32>,
    /// Length of a window in seconds; chosen by the measured speed where it is not given.
    pub window_seconds: Option<u64>,
    /// How pseudo-gradients are merged and applied; this system's rule where it is not given.
    pub rule: Option<RuleName>,
    /// Payloads of a thousand that are audited by replay; none where it is not given.
    pub audit_rate: Option<u32>,
    /// What its nodes compute with.
    pub engine: EngineSource,
    /// Open numerics class that other nodes may compute with.
    pub open_numerics: Option<String>,
    /// What idle validators put to the model.
    pub evaluation: NewEvaluation,
    /// Number of miners.
    pub miners: Option<usize>,
    /// Number of validators.
    pub validators: Option<usize>,
}

/// What an existing network is like, where something else is asked for.
struct Difference {
    has: String,
    /// The flag that asks for something else.
    flag: &'static str,
    by: By,
}

/// Compares an existing network with what is asked for. What a flag asks for must hold; where a setting asks for something
/// else the network stays as it is, and a remark says so.
pub(crate) fn compare(
    existing: &Existing,
    options: &NetworkOptions,
    text: Option<&TextSources>,
) -> Result<Vec<String>, SetupError> {
    let class = options.engine.numerics().to_string();
    if !existing.genesis.allows_numerics(&class) {
        let (root, has) = (existing.root.clone(), existing.genesis.numerics_classes());
        return Err(SetupError::OtherNumerics { root, has, class });
    }
    let mut differences = differences(existing, options);
    if let Some(text) = text
        && !is_its_text(existing, text)?
    {
        let names: Vec<&str> = existing.corpus.manifest().sources.iter().map(|source| source.name.as_str()).collect();
        let has = format!("the text {}", names.join(", "));
        differences.push(Difference { has, flag: "--text", by: By::Flag });
    }
    let (by_flag, by_setting): (Vec<_>, Vec<_>) =
        differences.into_iter().partition(|difference| difference.by == By::Flag);
    if !by_flag.is_empty() {
        let has: Vec<String> = by_flag.iter().map(|difference| difference.has.clone()).collect();
        let flags: BTreeSet<&str> = by_flag.iter().map(|difference| difference.flag).collect();
        return Err(SetupError::OtherWish {
            root: existing.root.clone(),
            has: has.join(", "),
            flags: flags.into_iter().collect::<Vec<_>>().join(", "),
        });
    }
    let remark = |difference: Difference| match difference.by {
        By::Setting(setting) => {
            Some(format!("this network keeps {}; {setting} is for new networks (--fresh makes one)", difference.has))
        }
        By::Flag | By::Default => None,
    };
    Ok(by_setting.into_iter().filter_map(remark).collect())
}

fn differences(existing: &Existing, options: &NetworkOptions) -> Vec<Difference> {
    let (genesis, settings) = (&existing.genesis, &existing.settings);
    let mut found = Vec::new();
    let mut flag = |differs: bool, flag, has: String| {
        if differs {
            found.push(Difference { has, flag, by: By::Flag });
        }
    };
    let fewer = |wanted: Option<usize>, has: usize| wanted.is_some_and(|wanted| wanted < has);
    flag(fewer(options.miners, settings.miners), "--miners", format!("{} miners", settings.miners));
    flag(fewer(options.validators, settings.validators), "--validators", format!("{} validators", settings.validators));
    let vocabulary = existing.corpus.manifest().vocab_size;
    let other = options.vocab_size.is_some_and(|wanted| wanted != vocabulary);
    flag(other, "--vocab-size", format!("a vocabulary of {vocabulary}"));
    let blocks = genesis.clock.blocks_per_window;
    let other = options.window_seconds.is_some_and(|wanted| wanted * 1_000 / BLOCK_TIME_MS != blocks);
    flag(other, "--window-seconds", format!("windows of {} s", blocks * BLOCK_TIME_MS / 1_000));
    let rule = RuleName::of(&genesis.outer);
    let named = rule.map_or("a rule of its own".to_owned(), |rule| format!("the rule {rule}"));
    flag(options.rule.is_some_and(|wanted| Some(wanted) != rule), "--rule", named);
    let rate = genesis.audit.rate_per_mille;
    let other = options.audit_rate.is_some_and(|wanted| wanted != rate);
    flag(other, "--audit-rate", format!("an audit rate of {}", f64::from(rate) / 1e3));
    let other = options.open_numerics.as_ref().is_some_and(|wanted| !genesis.allows_numerics(wanted));
    flag(other, "--open-numerics", format!("the numerics {}", genesis.numerics_classes()));
    let wanted = options.evaluation.rule(&genesis.budget);
    let named = genesis.evaluation.as_ref().map_or("no evaluation".to_owned(), |rule| {
        let names: Vec<&str> = rule.tasks.iter().map(|task| task.name.as_str()).collect();
        format!("an evaluation of {} every {} windows", names.join(", "), rule.every_windows)
    });
    flag(wanted.is_some() && wanted != genesis.evaluation, "--evaluation", named);
    let model = templar_engine::preset(&options.preset.value, genesis.model.vocab_size);
    if options.preset.by != By::Default && model.is_ok_and(|model| model != genesis.model) {
        found.push(Difference { has: name_of(&genesis.model), flag: "--preset", by: options.preset.by.clone() });
    }
    found
}

/// A model by its preset's name, or by its size.
pub(crate) fn name_of(model: &ModelConfig) -> String {
    let is_it = |name: &&str| templar_engine::preset(name, model.vocab_size).is_ok_and(|preset| preset == *model);
    match templar_engine::preset_names().into_iter().find(is_it) {
        Some(name) => format!("the model {name}"),
        None => format!("a model of {} parameters", model.parameter_count()),
    }
}

fn is_its_text(existing: &Existing, text: &TextSources) -> Result<bool, SourceError> {
    match &existing.settings.text {
        Some(known) => Ok(*known == text.key(|_| {})?),
        // A network of an earlier version: by name.
        None => {
            let names = existing.corpus.manifest().sources.iter().map(|source| &source.name);
            Ok(names.eq(text.0.iter().map(|(_, name, _)| name)))
        }
    }
}
