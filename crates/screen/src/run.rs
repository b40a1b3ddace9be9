//! A run before it starts: its genesis document, what follows from it, and the next steps.

use crate::table::{Paint, count, size, table};
use crate::text::duration;
use std::path::Path;
use templar_base::{FIELDS, Genesis, Problem};
use templar_localnet::FetchedRun;
use templar_record::Outlook;

/// How to take part in a run that was fetched.
pub fn join_steps(run: &FetchedRun, paint: Paint) -> String {
    let FetchedRun { run, ledger, genesis, corpus } = run;
    let (genesis, corpus) = (genesis.display(), corpus.display());
    format!(
        "run      {run}\nledger   {ledger}\ngenesis  {genesis}\ncorpus   {corpus}\n\n{}\n  \
         1. templar wallet new --wallet NAME, and ask the owner for some TAO\n  \
         2. templar token register --wallet NAME --ledger {ledger}\n  \
         3. a bucket that the others can read: templar bucket --listen IP:9000; templar bucket key add NAME --endpoint \
         http://IP:9000\n  \
         4. templar miner --genesis {genesis} --corpus {corpus} --wallet NAME --ledger {ledger} --bucket URL\n\
         The model so far: templar checkpoint fetch --genesis {genesis} --ledger {ledger}\n\
         docs/machines.md has each step.\n",
        paint.bold("Next"),
    )
}

/// A document with its meaning, what it comes to if it is sound, and its problems.
pub fn check_text(genesis: &Genesis, outlook: Option<&Outlook>, problems: &[Problem], paint: Paint) -> String {
    let mut text = fields_text(genesis, problems, paint);
    if let Some(outlook) = outlook {
        text += &format!("\n{}", outlook_text(genesis, outlook, paint));
    }
    text += &format!("\n{}\n", genesis.audit.describe(genesis.economics.ramp_windows));
    if let Some(rule) = &genesis.electors {
        text += &format!("{}\n", rule.describe());
    }
    match problems {
        [] => text += &format!("\n{}\n", paint.green("no problem found")),
        _ => {
            text += &format!("\n{}\n", paint.bold("Problems"));
            problems.iter().for_each(|problem| text += &format!("  {} {problem}\n", paint.red("!")));
        }
    }
    text
}

/// Every field with its value, meaning and bounds, by sections.
fn fields_text(genesis: &Genesis, problems: &[Problem], paint: Paint) -> String {
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
        // Of a section that the document does not have there is nothing to say.
        if !rows.is_empty() {
            text += &format!("{}\n{}\n", paint.bold(title), table(paint, None, &rows));
        }
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
                "{} a step, up to {} a miner and window",
                count(outlook.tokens_per_step),
                count(outlook.tokens_per_miner),
            ),
        ),
        (
            "text",
            format!(
                "spans of {} sequences, or the whole corpus, for {} windows each; {} % of a span is judged on",
                count(genesis.data.span_sequences),
                count(genesis.data.span_windows),
                genesis.data.evaluation_percent,
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
         A miner's weight is its rating, less one standard deviation: the share of what the window's miners brought.\n  \
         A newcomer's weight rises over {} windows. Validators set weights every {} window{}.\n  \
         Subnet {} of the ledger pays miners and validators by these weights, and its owner.\n",
        judging.selected,
        judging.newcomer_places,
        judging.newcomer_windows,
        economics.ramp_windows,
        economics.weights_every_windows,
        if economics.weights_every_windows == 1 { "" } else { "s" },
        genesis.netuid,
    )
}

/// The commands that start the run.
pub fn next_steps(file: &Path, corpus: &Path, ledger: &str, genesis: &Genesis, paint: Paint) -> String {
    let (file, corpus) = (file.display(), corpus.display());
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
