//! `templar audit`.

use crate::config::Config;
use crate::failure::Advise;
use crate::output::Output;
use anyhow::Context;
use clap::{Args, Subcommand};
use std::path::PathBuf;
use std::sync::Arc;
use templar_base::Genesis;
use templar_corpus::Corpus;
use templar_node::{Data, verify_evidence};
use templar_record::Rules;
use templar_screen::audit::proof_text;

/// Verify what an auditor has found wrong with a miner's payload.
#[derive(Debug, Args)]
pub struct Audit {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    Verify(Verify),
}

/// Do the one step that evidence is about, and report whether it proves fraud.
///
/// Validators publish evidence in their buckets as window/WINDOW/evidence/UID, and keep it in their data folders.
/// Exit code 0 where it proves fraud, if the ledger shows what is listed; 1 where it does not.
///
/// Example: templar audit verify evidence.3.5 --genesis genesis.json --corpus corpus
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
struct Verify {
    /// The evidence
    evidence: PathBuf,
    /// The run's genesis document
    #[arg(long, value_name = "FILE")]
    genesis: PathBuf,
    /// The run's corpus
    #[arg(long, value_name = "FOLDER")]
    corpus: PathBuf,
    #[command(flatten)]
    output: Output,
}

impl Audit {
    /// Verifies.
    pub fn run(self, config: Config) -> anyhow::Result<()> {
        let Action::Verify(Verify { evidence, genesis, corpus, output }) = self.action;
        let read = |path: &PathBuf| std::fs::read(path).with_context(|| format!("cannot read {}", path.display()));
        let run = Rules::new(Genesis::from_json(&read(&genesis)?).advise("name the run's document with --genesis")?)?;
        let data = Data::new(&run, Arc::new(Corpus::open(&corpus)?)).advise("name the run's corpus with --corpus")?;
        let proof = verify_evidence(&read(&evidence)?, &run, &data, config.threads()?);
        let proof = proof.with_context(|| format!("{} does not prove fraud", evidence.display()))?;
        output.facts(&proof, |paint| proof_text(&proof, paint))
    }
}
