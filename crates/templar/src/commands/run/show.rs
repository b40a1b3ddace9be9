//! What `templar run new` and `templar run check` ask and print alike.

use crate::config::Config;
use crate::output::{Paint, count, duration, size, table};
use crate::{interrupt, role};
use std::path::Path;
use templar_base::{BlockNumber, FIELDS, Genesis, Problem};
use templar_chain::{Chain, Hyperparameters};
use templar_corpus::{AssignmentRule, Corpus};
use templar_record::Outlook;

/// What a ledger says about itself and the subnet.
pub struct LedgerFacts {
    /// Its newest block.
    pub head: BlockNumber,
    /// Its rules.
    pub rules: Hyperparameters,
}

/// Asks the ledger of the configuration.
pub fn ledger_facts(config: &Config) -> anyhow::Result<LedgerFacts> {
    interrupt::runtime(1)?.block_on(async {
        let chain = role::connect(config).await;
        let chain = crate::failure::Advise::advise(
            chain,
            "start one with `templar ledger`, name another with --ledger, or give --ledger-genesis and --start-block",
        )?;
        let rules = chain.hyperparameters(config.netuid()?).await?;
        Ok(LedgerFacts { head: chain.head().await?.number, rules })
    })
}

/// What of a document does not fit a corpus.
pub fn corpus_problems(genesis: &Genesis, corpus: &Corpus) -> Vec<Problem> {
    let problem = |field: &str, value: String, wanted: String| Problem { field: field.to_owned(), value, wanted };
    let data = &genesis.data;
    let mut problems = Vec::new();
    let (tokenizer, manifest) = (corpus.tokenizer().hash(), corpus.manifest_hash());
    if data.tokenizer != tokenizer {
        problems.push(problem("data.tokenizer", data.tokenizer.to_string(), format!("{tokenizer} for this corpus")));
    }
    if data.manifest != manifest {
        problems.push(problem("data.manifest", data.manifest.to_string(), format!("{manifest} for this corpus")));
    }
    let enough = AssignmentRule::of_genesis(data).map_err(Into::into).and_then(|rule| {
        let vocabulary = u32::try_from(genesis.model.vocab_size).unwrap_or(u32::MAX);
        let (evaluation, held_out) = (genesis.judging.evaluation_sequences, genesis.judging.held_out_sequences);
        corpus.check_enough(rule, vocabulary, evaluation, held_out)
    });
    if let Err(error) = enough {
        let value = format!("more than this corpus of {} training tokens gives", corpus.train_tokens());
        problems.push(problem("data", value, format!("less ({error})")));
    }
    problems
}

/// Every field with its value, meaning and bounds, by sections.
pub fn fields_text(genesis: &Genesis, problems: &[Problem], paint: Paint) -> String {
    let mut text = String::new();
    let mut sections: Vec<&str> = Vec::new();
    for note in &FIELDS {
        if !sections.contains(&note.section()) {
            sections.push(note.section());
        }
    }
    for section in sections {
        let title = if section.is_empty() { "run" } else { section };
        let rows: Vec<Vec<String>> = FIELDS
            .iter()
            .filter(|note| note.section() == section)
            .filter_map(|note| {
                let value = note.value(genesis)?;
                let is_bad = problems.iter().any(|problem| problem.field == note.path);
                let mark = if is_bad { "!" } else { " " };
                let name = note.path.strip_prefix(section).unwrap_or(note.path).trim_start_matches('.');
                Some(vec![format!("{mark} {name}"), value, format!("{} ({})", note.meaning, note.bounds)])
            })
            .collect();
        text += &format!("{}\n{}\n", paint.bold(title), table(paint, None, &rows));
    }
    text
}

/// What a sound document comes to.
pub fn outlook_text(genesis: &Genesis, outlook: &Outlook, paint: Paint) -> String {
    let seconds = |seconds: Option<f64>| seconds.map(|value| format!(" ({})", duration(value))).unwrap_or_default();
    let payload = &outlook.payload;
    let rows = [
        ("run", outlook.run.to_string()),
        ("model", format!("{} parameters", count(outlook.parameters))),
        ("rule", outlook.rule.unwrap_or("a combination of its own").to_owned()),
        ("window", format!("{} blocks{}", outlook.window_blocks, seconds(outlook.window_seconds))),
        (
            "tokens",
            format!(
                "{} a step, up to {} a miner and window, {} a window over {} slots",
                count(outlook.tokens_per_step),
                count(outlook.tokens_per_miner),
                count(outlook.tokens_per_window),
                genesis.data.slots,
            ),
        ),
        (
            "payload",
            format!(
                "about {} a miner and window: {} values of {:.1} bits, {:.2} bits a parameter",
                size(payload.bytes),
                count(payload.kept_values),
                payload.bits_per_kept_value,
                payload.bits_per_parameter,
            ),
        ),
        (
            "memory",
            format!(
                "about {} for a miner, {} for a validator, and the corpus",
                size(outlook.memory.miner_bytes),
                size(outlook.memory.validator_bytes),
            ),
        ),
    ];
    let rows = rows.map(|(name, value)| vec![name.to_owned(), value]);
    let timeline: Vec<Vec<String>> = outlook
        .timeline
        .iter()
        .map(|moment| vec![format!("  block {}{}", moment.block, seconds(moment.seconds)), moment.what.to_owned()])
        .collect();
    format!(
        "{}\n{}\n{}\n{}\n{}\n{}",
        paint.bold("What follows"),
        table(paint, None, &rows),
        paint.bold("A window, from its first block"),
        table(paint, None, &timeline),
        paint.bold("Who is paid"),
        paid_text(genesis),
    )
}

fn paid_text(genesis: &Genesis) -> String {
    let (judging, economics) = (&genesis.judging, &genesis.economics);
    format!(
        "  Up to {} miners a window are merged; {} of the places are for newcomers of the first {} windows.\n  \
         A miner's weight is its contribution, averaged over {} windows; {:.0} % of the weights go to admitted miners that \
         were not selected.\n  A newcomer's weight rises over {} windows. Validators set weights every {} window{}.\n  \
         Subnet {} of the ledger pays miners and validators by these weights, and its owner.\n",
        judging.selected,
        judging.newcomer_places,
        judging.newcomer_windows,
        economics.averaged_windows,
        economics.unselected_share * 100.0,
        economics.ramp_windows,
        economics.weights_every_windows,
        if economics.weights_every_windows == 1 { "" } else { "s" },
        genesis.netuid,
    )
}

/// The commands that start the run.
pub fn next_steps(file: &Path, corpus: &Path, config: &Config, genesis: &Genesis, paint: Paint) -> String {
    let (file, corpus) = (file.display(), corpus.display());
    let ledger = config.ledger();
    format!(
        "{}\n  1. Publish {file} and the corpus folder: every node needs both.\n  \
         2. templar token register --wallet NAME --ledger {ledger} --netuid {netuid}\n  \
         3. templar miner --genesis {file} --corpus {corpus} --wallet NAME --ledger {ledger} --bucket URL\n  \
         4. templar validator --genesis {file} --corpus {corpus} --wallet NAME --ledger {ledger} --bucket URL\n  \
         docs/run.md has each step.\n",
        paint.bold("Next"),
        netuid = genesis.netuid,
    )
}
