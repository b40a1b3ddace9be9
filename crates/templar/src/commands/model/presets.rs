//! `templar model presets`.

use crate::output::{Output, count, table};
use clap::Args;
use serde_json::json;
use templar_engine::{preset, preset_names};

/// List the sizes of model that have a name.
///
/// Example: templar model presets --vocab-size 8192
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Presets {
    /// Vocabulary to count the parameters for
    #[arg(long, value_name = "N", default_value_t = 4096)]
    vocab_size: usize,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Presets {
    /// Prints the list.
    pub fn run(self) -> anyhow::Result<()> {
        let mut facts = Vec::new();
        let mut rows = Vec::new();
        for name in preset_names() {
            let config = preset(name, self.vocab_size)?;
            config.check()?;
            let parameters = config.parameter_count();
            rows.push(vec![
                name.to_owned(),
                count(parameters as u64),
                config.num_hidden_layers.to_string(),
                config.hidden_size.to_string(),
                config.num_attention_heads.to_string(),
                config.max_position_embeddings.to_string(),
            ]);
            facts.push(json!({"preset": name, "parameters": parameters, "config": config}));
        }
        let head = ["preset", "parameters", "layers", "width", "heads", "longest sequence"];
        Output::new(self.json).facts(&facts, |paint| table(paint, Some(&head), &rows))
    }
}
