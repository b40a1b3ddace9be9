//! `templar doctor`.

use crate::config::{Config, DataFlag, LedgerFlag, Setting, ThreadsFlag};
use crate::interrupt;
use crate::output::{Output, Paint, table};
use crate::progress::Progress;
use clap::Args;
use templar_node::doctor::{Finding, Health, bucket, device, disk, ledger_and_clock};

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
        let mut findings = Vec::new();
        progress.say("checking the disk");
        findings.extend(disk(&config.data_folder()));
        progress.say("querying the ledger");
        findings.extend(runtime.block_on(ledger_and_clock(config.ledger())));
        progress.say("asking the bucket");
        findings.push(match config.bucket() {
            Ok(Some(location)) => runtime.block_on(bucket(&location, config.bucket_credentials())),
            Ok(None) => Finding::ok("bucket", "none is set; a miner or validator needs one: the setting `bucket`"),
            Err(error) => Finding::fail("bucket", error.to_string(), "correct the setting `bucket`"),
        });
        progress.say("measuring the device");
        findings.push(match config.threads().and_then(|threads| Ok(device(threads)?)) {
            Ok(what) => Finding::ok("device", what),
            Err(error) => Finding::fail("device", format!("{error:#}"), "correct the setting `threads`"),
        });
        for variable in config.unknown_variables() {
            let names = Setting::ALL.iter().map(|setting| setting.variable()).collect::<Vec<_>>().join(", ");
            findings.push(Finding::warn(
                "settings",
                format!("{variable} is not a setting"),
                format!("choose one of {names}"),
            ));
        }
        drop(progress);
        self.output.facts(&findings, |paint| report(paint, &findings))?;
        match findings.iter().filter(|finding| finding.health == Health::Fail).count() {
            0 => Ok(()),
            failed => Err(anyhow::anyhow!("{failed} of {} checks failed", findings.len())),
        }
    }
}

fn report(paint: Paint, findings: &[Finding]) -> String {
    // The colour comes last, since its codes have no width.
    let mut rows = Vec::new();
    for finding in findings {
        let health = match finding.health {
            Health::Ok => "ok",
            Health::Warn => "warn",
            Health::Fail => "fail",
        };
        rows.push(vec![health.to_owned(), finding.check.to_owned(), finding.what.clone()]);
        if let Some(fix) = &finding.fix {
            rows.push(vec![String::new(), String::new(), format!("fix: {fix}")]);
        }
    }
    let coloured = |line: &str| match line.split_once(' ') {
        Some(("ok", rest)) => format!("{} {rest}", paint.green("ok")),
        Some(("warn", rest)) => format!("{} {rest}", paint.yellow("warn")),
        Some(("fail", rest)) => format!("{} {rest}", paint.red("fail")),
        _ => line.to_owned(),
    };
    table(paint, None, &rows).lines().map(coloured).collect::<Vec<_>>().join("\n")
}
