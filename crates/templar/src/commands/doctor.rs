//! `templar doctor`.

use crate::config::{Config, DataFlag, EngineFlags, LedgerFlag, Setting, ThreadsFlag, engine};
use crate::failure::{Advise, Usage};
use crate::output::{Output, print};
use crate::{interrupt, role};
use anyhow::Context;
use clap::{Args, ValueEnum};
use std::io::{self, BufRead, IsTerminal, Write};
use templar_bucket::Reach;
use templar_engine_torch::{TorchBackend, Wheels, loads_torch};
use templar_localnet::read_settings;
use templar_node::doctor::{Finding, Health, any_ledger_and_clock, bucket, device, disk};
use templar_screen::{Progress, findings};

/// Check what a node needs (clock, disk, ledger, bucket, device), and show the fix of each fault.
///
/// Exit code 0 if no check failed; warnings do not count. With --setup torch it makes a Python environment with PyTorch
/// in the data folder instead, for --engine torch: it says the size first and asks.
///
/// Example: templar doctor --ledger ws://127.0.0.1:9944
/// Example: templar doctor --setup torch
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Doctor {
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    data: DataFlag,
    #[command(flatten)]
    ledger: LedgerFlag,
    #[command(flatten)]
    threads: ThreadsFlag,
    #[command(flatten)]
    engine: EngineFlags,
    /// Make what an engine needs, instead of checking
    #[arg(long, value_name = "ENGINE")]
    setup: Option<Setup>,
    /// Leave out the GPU libraries: 540 MB to download instead of 2.8 GB on Linux
    #[arg(long, requires = "setup")]
    without_gpu: bool,
    /// Do not ask for confirmation
    #[arg(short, long, requires = "setup")]
    yes: bool,
}

/// What can be set up.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Setup {
    /// A Python environment with PyTorch
    Torch,
}

impl Doctor {
    /// Makes all checks and prints them.
    pub fn run(self, config: Config) -> anyhow::Result<()> {
        let config = config.with(&self.data).with(&self.ledger).with(&self.threads).with(&self.engine);
        if let Some(Setup::Torch) = self.setup {
            return self.set_up_torch(&config);
        }
        let mut progress = Progress::new(config.is_quiet || self.output.is_json());
        let runtime = interrupt::runtime(2)?;
        let mut found = Vec::new();
        progress.say("checking the disk");
        found.extend(disk(&config.data_folder()));
        progress.say("querying the ledger");
        let is_named = role::is_ledger_named(&config);
        let local = read_settings(&config.data_folder().join("up")).ok().flatten().filter(|_| !is_named);
        let urls: Vec<String> =
            local.map(|local| local.ledger_url()).into_iter().chain([config.ledger().to_owned()]).collect();
        found.extend(match config.check_ledger() {
            Ok(()) => runtime.block_on(any_ledger_and_clock(&urls, is_named)),
            Err(error) => vec![Finding::fail("ledger", error.to_string(), "correct the setting `ledger`")],
        });
        // A ledger that only this machine reaches makes a network of one machine.
        let has_ledger = found.iter().any(|finding| finding.check == "ledger" && finding.health != Health::Fail);
        let is_one_machine = has_ledger && urls.iter().all(|url| Reach::of_url(url) != Reach::Network);
        progress.say("asking the bucket");
        let settings = config.bucket().and_then(|location| Ok((location, config.bucket_credentials()?)));
        found.push(match settings {
            Ok((Some(location), key)) => runtime.block_on(bucket(&location, key, is_one_machine)),
            Ok((None, _)) => Finding::ok("bucket", "none is set; a miner or validator needs one: the setting `bucket`"),
            Err(error) => Finding::fail("bucket", error.to_string(), "correct the setting `bucket`"),
        });
        progress.say("measuring the device");
        found.push(match config.threads().map_err(anyhow::Error::from).and_then(|threads| Ok(device(threads)?)) {
            Ok(what) => Finding::ok("device", what),
            Err(error) => Finding::fail("device", format!("{error:#}"), "correct the setting `threads`"),
        });
        found.extend(torch(&config));
        for variable in config.unknown_variables() {
            let names = Setting::ALL.iter().map(|setting| setting.variable()).collect::<Vec<_>>().join(", ");
            found.push(Finding::warn(
                "settings",
                format!("{variable} is not a setting"),
                format!("choose one of {names}"),
            ));
        }
        drop(progress);
        self.output.facts(&found, |paint| findings::text(paint, &found))?;
        match found.iter().filter(|finding| finding.health == Health::Fail).count() {
            0 => Ok(()),
            failed => Err(anyhow::anyhow!("{failed} of {} checks failed", found.len())),
        }
    }

    /// Makes the environment of PyTorch, unless it is there.
    fn set_up_torch(&self, config: &Config) -> anyhow::Result<()> {
        let environment = engine::environment(config);
        let python = environment.interpreter();
        if environment.is_ready() {
            return print(&format!("PyTorch is ready: {}", python.display()));
        }
        let wheels = if self.without_gpu { Wheels::WithoutGpu } else { Wheels::Whole };
        let folder = config.data_folder().join("torch");
        self.confirm(&format!("PyTorch goes into {}: {}", folder.display(), wheels.size()))?;
        let mut progress = Progress::new(config.is_quiet || self.output.is_json());
        environment.make(wheels, &mut |what| progress.say(what))?;
        drop(progress);
        print(&format!("PyTorch is ready: {}; --engine torch uses it", python.display()))
    }

    /// Asks on the terminal unless `--yes` was given; without a terminal nobody can agree.
    fn confirm(&self, what: &str) -> anyhow::Result<()> {
        if self.yes {
            return Ok(());
        }
        if !io::stdin().is_terminal() {
            return Err(Usage(format!("{what}: there is no terminal to confirm that"))).advise("add --yes");
        }
        write!(io::stderr(), "{what}. Install it? [y/N] ").context("cannot ask")?;
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer).context("cannot read the answer")?;
        match answer.trim().to_ascii_lowercase().as_str() {
            "y" | "yes" => Ok(()),
            _ => Err(anyhow::anyhow!("nothing was installed: the answer was no")),
        }
    }
}

/// Whether PyTorch loads, where the settings ask for it.
fn torch(config: &Config) -> Option<Finding> {
    let device = config.engine().ok()?;
    if device.backend() != TorchBackend::NAME {
        return None;
    }
    let python = engine::python(config);
    Some(match loads_torch(&python) {
        true => Finding::ok("torch", format!("{} loads PyTorch", python.display())),
        false => Finding::fail(
            "torch",
            format!("{} does not load PyTorch", python.display()),
            "run `templar doctor --setup torch`, or name another interpreter with --python",
        ),
    })
}
