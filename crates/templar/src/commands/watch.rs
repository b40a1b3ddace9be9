//! `templar watch`.

use super::checkpoint::Shared;
use super::up::setup_advice;
use crate::config::Config;
use crate::failure::{Advise, advice};
use crate::interrupt;
use crate::output::print;
use anyhow::anyhow;
use clap::Args;
use serde_json::json;
use std::time::Duration;
use templar_localnet::{Follow, NotWatched};
use templar_screen::{Key, Screen, network};

/// How often the network is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Follow a network in the terminal, as `templar up` shows its own: windows, losses, contributions, stakes.
///
/// Reads and changes nothing. Without --genesis it follows the network of `templar up` on this machine by its nodes'
/// journals; with it any run, by its public record alone.
///
/// Example: templar watch
/// Example: templar watch --genesis genesis.json --ledger ws://203.0.113.7:9944 --json
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Watch {
    /// End after N windows, with a summary
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1 << 48))]
    windows: Option<u64>,
    /// Print plain lines instead of the screen on a terminal
    #[arg(long)]
    plain: bool,
    #[command(flatten)]
    shared: Shared,
}

impl Watch {
    /// Follows until it is asked to stop, or its windows are over.
    pub fn run(self, config: Config) -> anyhow::Result<()> {
        let config = config.with(&self.shared.ledger).with(&self.shared.data);
        interrupt::runtime(2)?.block_on(async {
            let stop = interrupt::asked_to_stop()?;
            tokio::pin!(stop);
            let (run, mut follow) = match self.shared.is_local() {
                true => Follow::local(&config.data_folder().join("up")).await.map_err(advised)?,
                false => {
                    let open = self.shared.open(&config).await?;
                    (open.run.id, Follow::record(open.run.clone(), open.record.clone()))
                }
            };
            let output = self.shared.output;
            let watching = json!({"event": "watching", "run": run});
            output.event(&watching, |_| format!("run {}", run.short()))?;
            let remarks = [format!("run {}", run.short())];
            let mut screen = Screen::open_where_possible(!output.is_json() && !self.plain);
            loop {
                let news = follow.news().await;
                let view = follow.view(&remarks);
                match &mut screen {
                    Some(screen) => {
                        screen.draw(&view)?;
                        if screen.key(Duration::ZERO)? == Some(Key::Stop) {
                            break;
                        }
                    }
                    None => {
                        for event in &news {
                            output.event(event, |paint| network::window(paint, event, &view))?;
                        }
                        for note in follow.take_notes() {
                            let fact = json!({"event": "note", "message": note});
                            output.event(&fact, |_| format!("         note: {note}"))?;
                        }
                    }
                }
                let is_done = self.windows.is_some_and(|windows| follow.windows() >= windows);
                if is_done || follow.has_stopped() {
                    break;
                }
                tokio::select! {
                    () = &mut stop => break,
                    () = tokio::time::sleep(LOOK_EVERY) => {}
                }
            }
            // The terminal is given back first, so that the summary stays on it.
            drop(screen);
            let summary = follow.summary();
            output.event(&summary, |paint| network::summary(paint, &summary))?;
            if follow.has_stopped() {
                return Err(anyhow!("the network has stopped")).advise("`templar up` continues it");
            }
            if output.is_json() { Ok(()) } else { print("the network continues") }
        })
    }
}

/// What to do where the network of this machine cannot be followed.
fn advised(error: NotWatched) -> anyhow::Error {
    match error {
        NotWatched::Setup(error) => setup_advice(error),
        error => advice(error, "start it with `templar up`, or name a run with --genesis and --ledger"),
    }
}
