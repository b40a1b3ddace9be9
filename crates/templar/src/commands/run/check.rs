//! `templar run check`.

use super::ledger::ledger_facts;
use crate::config::{Config, LedgerFlag};
use crate::failure::Advise;
use crate::output::Output;
use anyhow::Context;
use clap::Args;
use serde_json::json;
use std::path::PathBuf;
use templar_base::{Genesis, Problem};
use templar_corpus::{Corpus, corpus_problems};
use templar_record::{Outlook, Rules, ledger_problems};
use templar_screen::run;

/// Check a genesis document and explain it, section by section.
///
/// Lists every problem with the field and what it has to be, not only the first. With --corpus and --ledger it also
/// checks that the document fits these. Exit code 1 where there is a problem.
///
/// Example: templar run check genesis.json --corpus corpus --ledger ws://127.0.0.1:9944
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Check {
    /// The genesis document
    file: PathBuf,
    /// Corpus that the document is to fit
    #[arg(long, value_name = "FOLDER")]
    corpus: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    ledger: LedgerFlag,
}

impl Check {
    /// Reads, checks, explains.
    pub fn run(self, config: Config) -> anyhow::Result<()> {
        let bytes = std::fs::read(&self.file)
            .with_context(|| format!("cannot read {}", self.file.display()))
            .advise("make a document with `templar run new`")?;
        let genesis =
            Genesis::from_json_unchecked(&bytes).with_context(|| format!("cannot use {}", self.file.display()))?;
        let mut problems = genesis.problems();
        let mut block_time = None;
        if self.ledger.ledger.is_some() {
            let mut config = config.with(&self.ledger);
            config.set(crate::config::Setting::Netuid, "genesis", Some(genesis.netuid));
            let ledger = ledger_facts(&config)?;
            problems.extend(ledger_problems(&genesis, &ledger.rules));
            block_time = Some(ledger.rules.block_time_ms);
        }
        if let Some(folder) = &self.corpus {
            let corpus = Corpus::open(folder).with_context(|| format!("cannot use the corpus {}", folder.display()))?;
            problems.extend(corpus_problems(&genesis, &corpus));
        }
        let outlook = match genesis.check() {
            Ok(()) => Some(Outlook::of(&Rules::new(genesis.clone())?, block_time)),
            Err(_) => None,
        };
        self.print(&genesis, outlook.as_ref(), &problems)?;
        let count = problems.len();
        match count {
            0 => Ok(()),
            _ => {
                Err(anyhow::anyhow!("{} has {count} problem{}", self.file.display(), if count == 1 { "" } else { "s" }))
                    .advise("make a sound one with `templar run new`; docs/run.md explains each field")
            }
        }
    }

    fn print(&self, genesis: &Genesis, outlook: Option<&Outlook>, problems: &[Problem]) -> anyhow::Result<()> {
        let listed: Vec<_> = problems
            .iter()
            .map(|problem| json!({ "field": problem.field, "value": problem.value, "wanted": problem.wanted }))
            .collect();
        let facts = json!({ "file": self.file, "run": genesis.run_id(), "problems": listed, "document": genesis, "outlook": outlook });
        Output::new(self.json).facts(&facts, |paint| run::check_text(genesis, outlook, problems, paint))
    }
}
