//! `templar token emissions`.

use super::chart::chart;
use super::{SUBNET, connect};
use crate::config::{Config, LedgerFlag};
use crate::interrupt;
use crate::output::{Output, Paint, table};
use clap::Args;
use serde_json::json;
use templar_base::Alpha;
use templar_chain::market::{EpochRecord, Market};

const RAO: f64 = templar_base::RAO_PER_TAO as f64;

/// Show what each epoch paid out of the subnet's token, and to whom: owner, miners, validators.
///
/// Example: templar token emissions --last 100
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Emissions {
    /// So many of the newest epochs, 256 at most
    #[arg(long, value_name = "COUNT", default_value_t = 72)]
    last: u32,
    /// Print JSON; amounts are in the token's smallest unit, of which 1,000,000,000 are a token
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    ledger: LedgerFlag,
}

impl Emissions {
    /// Shows the epochs.
    pub fn run(self, config: Config) -> anyhow::Result<()> {
        let config = config.with(&self.ledger);
        let epochs = interrupt::runtime(1)?.block_on(async {
            let chain = connect(&config).await?;
            anyhow::Ok(chain.epochs(SUBNET, self.last).await?)
        })?;
        Output::new(self.json).facts(&json!({"epochs": epochs}), |paint| people(paint, &epochs))
    }
}

fn people(paint: Paint, epochs: &[EpochRecord]) -> String {
    let (Some(first), Some(last)) = (epochs.first(), epochs.last()) else {
        return "no epoch has ended yet".to_owned();
    };
    let sums: Vec<f64> =
        epochs.iter().map(|epoch| (epoch.owner.0 + epoch.miners.0 + epoch.validators.0) as f64).collect();
    let title = format!("alpha paid in each of {} epochs, blocks {} to {}", epochs.len(), first.block, last.block);
    let drawn = chart(&sums, true, |rao| format!("{:.3}", rao / RAO));
    let row = |name: &str, part: fn(&EpochRecord) -> Alpha| {
        let sum = Alpha(epochs.iter().map(|epoch| part(epoch).0).sum());
        vec![name.to_owned(), part(last).to_string(), sum.to_string()]
    };
    let rows = [
        row("owner", |epoch| epoch.owner),
        row("miners", |epoch| epoch.miners),
        row("validators", |epoch| epoch.validators),
    ];
    format!("{}\n{drawn}{}", paint.bold(&title), table(paint, Some(&["part", "last epoch", "all shown"]), &rows))
}
