//! `templar doctor`.

use crate::config::{Config, DataFlag, LedgerFlag, Setting, ThreadsFlag};
use crate::output::Output;
use crate::{interrupt, role};
use clap::Args;
use templar_bucket::Reach;
use templar_localnet::read_settings;
use templar_node::doctor::{Finding, Health, any_ledger_and_clock, bucket, device, disk};
use templar_screen::{Progress, findings};

/// Check what a node needs (clock, disk, ledger, bucket, device), and show the fix of each fault.
///
/// Exit code 0 if no check failed; warnings do not count.
///
/// Example: templar doctor --ledger ws://127.0.0.1:9944
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
}

impl Doctor {
    /// Makes all checks and prints them.
    pub fn run(self, config: Config) -> anyhow::Result<()> {
        let config = config.with(&self.data).with(&self.ledger).with(&self.threads);
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
}
