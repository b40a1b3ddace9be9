//! `templar token emissions`.

use super::Query;
use crate::config::Config;
use crate::output::{Paint, table};
use clap::Args;
use serde_json::json;
use templar_base::Alpha;
use templar_chain::market::{EpochRecord, Market};
use templar_screen::column_chart;

const RAO: f64 = templar_base::RAO_PER_TAO as f64;

/// Show what each epoch paid out of the subnet's token, and to whom: owner, miners, validators.
///
/// Example: templar token emissions --last 100
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Emissions {
    /// Number of the newest epochs, 256 at most
    #[arg(long, value_name = "COUNT", default_value_t = 72)]
    last: u32,
    #[command(flatten)]
    query: Query,
}

impl Emissions {
    /// Shows the epochs.
    pub fn run(self, config: Config) -> anyhow::Result<()> {
        let epochs = self.query.ask(config, async |chain, netuid| chain.epochs(netuid, self.last).await)?;
        self.query.output.facts(&json!({"epochs": epochs}), |paint| people(paint, &epochs))
    }
}

fn people(paint: Paint, epochs: &[EpochRecord]) -> String {
    let (Some(first), Some(last)) = (epochs.first(), epochs.last()) else {
        return "no epoch has ended yet".to_owned();
    };
    let sums: Vec<f64> = epochs
        .iter()
        .map(|epoch| Alpha::saturating_sum([epoch.owner, epoch.miners, epoch.validators]).as_rao() as f64)
        .collect();
    let title = format!("alpha paid in each of {} epochs, blocks {} to {}", epochs.len(), first.block, last.block);
    let drawn = column_chart(&sums, true, |rao| format!("{:.3}", rao / RAO));
    let row = |name: &str, part: fn(&EpochRecord) -> Alpha| {
        let sum = Alpha::saturating_sum(epochs.iter().map(part));
        vec![name.to_owned(), part(last).to_string(), sum.to_string()]
    };
    let rows = [
        row("owner", |epoch| epoch.owner),
        row("miners", |epoch| epoch.miners),
        row("validators", |epoch| epoch.validators),
    ];
    format!("{}\n{drawn}{}", paint.bold(&title), table(paint, Some(&["part", "last epoch", "all shown"]), &rows))
}
