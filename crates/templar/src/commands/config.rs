//! `templar config`.

use crate::config::{
    Config, DataFlag, FILE_NAME, HotkeyFlag, PresetFlag, Setting, SubnetFlags, TextFlags, ThreadsFlag, WalletFlags,
    user_file,
};
use crate::failure::Usage;
use crate::output::Output;
use clap::Args;
use serde_json::{Map, json};
use templar_screen::{say, table};

/// Show the effective settings and where each comes from.
///
/// A flag wins over a TEMPLAR_* variable, which wins over templar.toml (in the current folder, else in the user's
/// configuration folder, else the one that --config names), which wins over the default.
///
/// Example: TEMPLAR_THREADS=2 templar config
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct ConfigCommand {
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    data: DataFlag,
    #[command(flatten)]
    ledger: SubnetFlags,
    #[command(flatten)]
    wallet: WalletFlags,
    #[command(flatten)]
    hotkey: HotkeyFlag,
    #[command(flatten)]
    threads: ThreadsFlag,
    #[command(flatten)]
    text: TextFlags,
    #[command(flatten)]
    preset: PresetFlag,
}

/// Fails where a setting has a value that no command can use.
fn check(config: &Config) -> anyhow::Result<()> {
    config.threads()?;
    config.netuid()?;
    config.bucket()?;
    templar_engine::preset(config.preset(), 512).map_err(|error| -> anyhow::Error {
        match config.get(Setting::Preset) {
            Some((_, origin)) => Usage(format!("`{}` (from {origin}): {error}", Setting::Preset.name())).into(),
            None => error.into(),
        }
    })?;
    Ok(())
}

impl ConfigCommand {
    /// Prints the table.
    pub fn run(self, config: Config) -> anyhow::Result<()> {
        let config = config.with(&self.data).with(&self.ledger).with(&self.wallet).with(&self.hotkey);
        let config = config.with(&self.threads).with(&self.text).with(&self.preset);
        check(&config)?;
        let mut facts = Map::new();
        let mut rows = Vec::new();
        for &setting in Setting::ALL {
            let shown = config.shown(setting);
            let (value, origin) = shown.map_or((None, None), |(value, origin)| (Some(value), Some(origin.to_string())));
            let is_usual_preset = setting == Setting::Preset && origin.as_deref() == Some("default");
            let origin = if is_usual_preset { Some("default; nano in `templar up`".to_owned()) } else { origin };
            facts.insert(setting.name().to_owned(), json!({"value": value, "origin": origin}));
            let cells = [setting.name(), value.as_deref().unwrap_or("-"), origin.as_deref().unwrap_or(setting.what())];
            rows.push(cells.map(str::to_owned).to_vec());
        }
        self.output.facts(&facts, |paint| table(paint, Some(&["setting", "value", "from"]), &rows))?;
        if !self.output.is_json() {
            let file = user_file();
            say(&format!("\nPut settings into {FILE_NAME} here or {}, or into TEMPLAR_* variables.", file.display()));
        }
        for variable in config.unknown_variables() {
            say(&format!("warning: the variable {variable} is not a setting"));
        }
        Ok(())
    }
}
