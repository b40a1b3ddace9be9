//! `templar bench`. To add one: a variant of [`Action`] and a line in [`Bench::run`]; a file here for what takes more.

mod convergence;
mod corpus;
mod engine;
mod gradient;
mod learning;

use crate::config::{Config, DataFlag, ThreadsFlag};
use crate::interrupt;
use crate::output::Output;
use clap::{Args, Subcommand};
use templar_bench::bucket::BucketBench;
use templar_bench::gateway::GatewayBench;
use templar_bench::judging::JudgingBench;
use templar_bench::ledger::LedgerBench;
use templar_bench::scale::ScaleBench;
use templar_bench::sections;
use templar_screen::Progress;

/// Measure how fast the parts are on this machine, beside what they are compared with.
///
/// Example: templar bench engine --setup
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Bench {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Measure storing, reading and listing objects: a folder, our own bucket server, and SeaweedFS beside it.
    ///
    /// All take turns on this machine for some rounds, with the same number of requests at once; the figures are
    /// medians over the rounds. Our server flushes every object to the disk before it answers. SeaweedFS does not, so
    /// that storing shows the price of that. SeaweedFS is fetched once by pip (48 MB) and kept in the cache.
    ///
    /// With --json the last line is one object; ratios over 1 mean that our server is faster than SeaweedFS.
    ///
    /// Example: templar bench bucket --mebibytes 256
    #[command(verbatim_doc_comment)]
    Bucket {
        #[command(flatten)]
        bench: BucketBench,
        #[command(flatten)]
        output: Output,
        #[command(flatten)]
        data: DataFlag,
    },
    Convergence(convergence::Convergence),
    Engine(engine::EngineCommand),
    /// Measure a gateway: time to the first token, and tokens per second with several clients at once.
    ///
    /// A model is served from this process and asked through OpenAI's API, with streams; each client asks again as soon
    /// as it has its answer. --url measures any server with that API instead.
    ///
    /// Example: templar bench gateway --clients 1,8,32
    /// Example: templar bench gateway --url http://127.0.0.1:8000/v1
    #[command(verbatim_doc_comment)]
    Gateway {
        #[command(flatten)]
        bench: GatewayBench,
        #[command(flatten)]
        output: Output,
        #[command(flatten)]
        threads: ThreadsFlag,
    },
    Gradient(gradient::GradientCommand),
    /// Measure what judging a window costs and how right it is, beside the original's scheme, on small real models.
    ///
    /// Miners train a model of 0.17 million parameters on real text; ours and the original's scheme judge the same
    /// payloads. Printed are sequence-forwards, seconds and memory of each; how well each ranks the merged payloads,
    /// by what leaving one out costs; and how near the promised decrease of the loss is to what the step brings. Equal
    /// seeds give equal figures, but for seconds and memory.
    ///
    /// Example: templar bench judging --registered 24 --windows 4
    #[command(verbatim_doc_comment)]
    Judging {
        #[command(flatten)]
        bench: JudgingBench,
        #[command(flatten)]
        output: Output,
        #[command(flatten)]
        text: corpus::LearntText,
    },
    Learning(learning::LearningCommand),
    /// Measure the ledger: signed transfers per second, an epoch, opening after a year, and growth on disk.
    ///
    /// Transfers are signed beforehand and applied with all checks, signatures included, on one core. The epoch has
    /// 256 slots and 64 validators that weigh all of them. The year is one of twelve-second blocks: of it the ledger
    /// keeps a week of blocks and the state, which is what is made here (256 slots, 64 validators that set weights
    /// each epoch, one transfer a block) and then opened.
    ///
    /// Example: templar bench ledger --json
    #[command(verbatim_doc_comment)]
    Ledger {
        #[command(flatten)]
        bench: LedgerBench,
        #[command(flatten)]
        output: Output,
    },
    /// The drill: train a model of hundreds of millions of parameters in a network of one miner and one validator.
    ///
    /// Runs `templar up` with this model in a folder of its own, which is removed afterwards, and prints the held-out
    /// loss and the nodes' roots after each window, the most memory that each process held, and whether all of it stays
    /// within --memory. Fails where it does not, or where the nodes are not in step. Memory is read on Linux only.
    ///
    /// Example: templar bench scale --preset 120m --memory 6
    #[command(verbatim_doc_comment)]
    Scale {
        #[command(flatten)]
        bench: ScaleBench,
        #[command(flatten)]
        output: Output,
        #[command(flatten)]
        data: DataFlag,
    },
    #[command(hide = true)]
    EngineWorker(engine::EngineWorker),
}

impl Bench {
    /// Runs the subcommand.
    pub fn run(self, config: Config) -> anyhow::Result<()> {
        match self.action {
            Action::Bucket { bench, output, data } => {
                let mut progress = Progress::new(config.is_quiet);
                let folder = config.with(&data).data_folder().join(format!("bench-bucket-{}", std::process::id()));
                let report = interrupt::runtime(4)?.block_on(bench.run(&folder, &mut progress))?;
                drop(progress);
                output.facts(&report, |paint| sections(paint, &[report.section()]))
            }
            Action::Convergence(convergence) => convergence.run(config),
            Action::Engine(engine) => engine.run(config),
            Action::Gateway { bench, output, threads } => {
                let mut progress = Progress::new(config.is_quiet);
                let threads = config.with(&threads).threads()?;
                let report = interrupt::runtime(2)?.block_on(bench.run(threads, &mut progress))?;
                drop(progress);
                output.facts(&report, |paint| sections(paint, &[report.section()]))
            }
            Action::Gradient(gradient) => gradient.run(config),
            Action::Judging { bench, output, text } => {
                let (mut progress, config) = (Progress::new(config.is_quiet), config.with(&text));
                let corpus = text.open(JudgingBench::VOCABULARY, &config, &mut progress)?;
                let report = bench.run(&corpus, &*interrupt::stop_flag()?, &mut progress)?;
                drop(progress);
                output.facts(&report, |paint| sections(paint, &report.sections()))
            }
            Action::Learning(learning) => learning.run(config),
            Action::Ledger { bench, output } => {
                let figures = bench.run(&mut Progress::new(config.is_quiet))?;
                output.facts(&figures, |paint| sections(paint, &[figures.section()]))
            }
            Action::Scale { bench, output, data } => {
                let (program, mut progress) = (std::env::current_exe()?, Progress::new(config.is_quiet));
                let (folder, stop) = (config.with(&data).data_folder(), interrupt::stop_flag()?);
                let figures = bench.run(&program, &folder, &stop, &mut progress)?;
                drop(progress);
                output.facts(&figures, |paint| sections(paint, &figures.sections()))?;
                anyhow::ensure!(
                    figures.is_reached(),
                    "the network did not stay within its memory, or not in step, or merged nothing"
                );
                Ok(())
            }
            Action::EngineWorker(worker) => worker.run(),
        }
    }
}
