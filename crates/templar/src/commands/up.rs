//! `templar up`.

use crate::config::{Config, DataFlag, Origin, PresetFlag, Setting, TextFlags};
use crate::failure::{Usage, advice};
use crate::output::{Output, print};
use crate::{interrupt, text};
use anyhow::Context;
use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use templar_localnet::{
    Children, Folder, FolderError, Network, NetworkOptions, RuleName, SetupError, Stage, Stakes, Tally, Watch, bring_up,
};
use templar_screen::corpus::show_build;
use templar_screen::{Key, Progress, Screen, is_colour_wanted, network};

/// How often processes and journals are checked.
const LOOK_EVERY: Duration = Duration::from_millis(250);
const SYNTHETIC_BYTES: u64 = 4 << 20;
const VOCABULARY: u32 = 4096;
/// The synthetic grammar has a few hundred words.
const SYNTHETIC_VOCABULARY: u32 = 512;

/// Run a whole local network: a ledger, a bucket server, validators and miners that train a model on real text.
///
/// All nodes are processes of this program that do not trust each other. Ctrl-C stops them; the same command resumes,
/// --fresh starts over. The network exists on this machine only and its tokens are worth nothing.
///
/// Example: templar up
/// Example: templar up --windows 20 --json
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Up {
    /// Number of miners; 4 for a new network
    #[arg(long, value_name = "N")]
    miners: Option<usize>,
    /// Number of validators; 2 for a new network
    #[arg(long, value_name = "N")]
    validators: Option<usize>,
    /// End after N windows, with a summary
    #[arg(long, value_name = "N")]
    windows: Option<u64>,
    /// Remove the network in the folder and start over
    #[arg(long)]
    fresh: bool,
    /// Length of a window in seconds, for a new network; by default from the speed of this machine
    #[arg(long, value_name = "SECONDS")]
    window_seconds: Option<u64>,
    /// How pseudo-gradients are merged and applied, for a new network; mean-of-senders by default
    #[arg(long, value_name = "RULE", value_parser = rules())]
    rule: Option<RuleName>,
    /// Vocabulary size, for a new network; by default 4096, or 512 for synthetic text
    #[arg(long, value_name = "N", value_parser = text::vocabulary())]
    vocab_size: Option<u32>,
    #[command(flatten)]
    output: Output,
    /// Print plain lines instead of the screen on a terminal
    #[arg(long)]
    plain: bool,
    #[command(flatten)]
    text: TextFlags,
    #[command(flatten)]
    preset: PresetFlag,
    #[command(flatten)]
    data: DataFlag,
}

fn rules() -> impl TypedValueParser<Value = RuleName> {
    PossibleValuesParser::new(RuleName::ALL.map(|rule| PossibleValue::new(rule.name()).help(rule.what())))
        .try_map(|name| RuleName::named(&name).ok_or("there is no such rule"))
}

/// What to do about a network's folder that cannot be used.
pub fn folder_advice(error: FolderError) -> anyhow::Error {
    let advised = match &error {
        FolderError::Unusable { .. } => "choose another one with --data",
        FolderError::InUse { .. } => "stop it, or choose another folder with --data",
        FolderError::Damaged { .. } => "start over with --fresh",
        FolderError::Version { .. } => "start over with --fresh, or choose another folder with --data",
        _ => return error.into(),
    };
    advice(error, advised)
}

/// What to do about a network that cannot be set up.
fn setup_advice(error: SetupError) -> anyhow::Error {
    let advised = match error {
        SetupError::Folder(error) => return folder_advice(error),
        SetupError::OtherRule { .. } => {
            let usage = Usage(error.to_string());
            return advice(usage, "leave --rule out to keep its rule, or start over with --fresh");
        }
        SetupError::NoPort(_) => "close some programs that listen, and retry",
        SetupError::Corpus(_) | SetupError::Genesis { .. } => "start over with --fresh",
        SetupError::LedgerDown(_) => "read logs/ledger.log in the network's folder",
        _ => return error.into(),
    };
    advice(error, advised)
}

impl Up {
    /// Runs the network until it is asked to stop, or its windows are over.
    pub fn run(self, config: Config) -> anyhow::Result<()> {
        let mut config = config.with(&self.data).with(&self.preset);
        let is_synthetic = self.text.text.as_slice() == [PathBuf::from("synthetic")];
        if !is_synthetic {
            config = config.with(&self.text);
        }
        if self.miners == Some(0) || self.validators == Some(0) {
            return Err(Usage("a network needs at least one miner and one validator".to_owned()).into());
        }
        // A network on one machine shares its cores: by default, the smallest model.
        let preset = match config.get(Setting::Preset) {
            Some((name, origin)) if *origin != Origin::Default => name.to_owned(),
            _ => "nano".to_owned(),
        };
        // Found before anything is made or removed.
        templar_engine::preset(&preset, 4096).map_err(|error| Usage(error.to_string()))?;
        let options = NetworkOptions {
            preset,
            window_seconds: self.window_seconds,
            rule: self.rule,
            miners: self.miners,
            validators: self.validators,
        };
        let folder = Folder::open(&config.data_folder().join("up"), self.fresh).map_err(folder_advice)?;
        folder.check_rule(options.rule).map_err(setup_advice)?;
        interrupt::runtime(2)?.block_on(self.run_network(&config, &options, &folder, is_synthetic))
    }

    /// Builds the network's text where it has none; returns what is trained on, for people.
    fn text(
        &self,
        config: &Config,
        folder: &Folder,
        is_synthetic: bool,
        progress: &mut Progress,
    ) -> anyhow::Result<Vec<String>> {
        if folder.has_corpus() {
            let corpus = folder.corpus().map_err(setup_advice)?;
            let sources = &corpus.manifest().sources;
            return Ok(sources.iter().map(|source| format!("text: {}; {}", source.name, source.licence)).collect());
        }
        let chosen = text::choose(config, is_synthetic.then_some(SYNTHETIC_BYTES), None, progress)?;
        let remarks = chosen.remarks.clone();
        let is_synthetic = chosen.sources.is_synthetic();
        let vocab_size = self.vocab_size.unwrap_or(if is_synthetic { SYNTHETIC_VOCABULARY } else { VOCABULARY });
        let builder = chosen.sources.builder().vocab_size(vocab_size);
        folder.build_corpus(builder, |news| show_build(progress, news)).map_err(setup_advice)?;
        Ok(remarks)
    }

    async fn run_network(
        &self,
        config: &Config,
        options: &NetworkOptions,
        folder: &Folder,
        is_synthetic: bool,
    ) -> anyhow::Result<()> {
        let mut children = Children::of_program(std::env::current_exe().context("cannot find this program's file")?);
        let mut progress = Progress::new(config.is_quiet || self.output.is_json());
        let asked_to_stop = interrupt::asked_to_stop()?;
        let mut remarks = self.text(config, folder, is_synthetic, &mut progress)?;
        let mut report = |stage| {
            progress.say(match stage {
                Stage::Measuring => "measuring this machine",
                Stage::Services => "starting the ledger and the bucket server",
                Stage::Registering => "registering the nodes",
            });
        };
        let brought_up = tokio::select! {
            network = bring_up(folder, options, &mut children, &mut report) => Some(network),
            () = asked_to_stop => None,
        };
        drop(progress);
        let ended = match brought_up {
            None => Ok(()),
            Some(Err(error)) => Err(setup_advice(error)),
            Some(Ok(network)) => {
                let rule = RuleName::of(&network.genesis.outer).filter(|rule| *rule != RuleName::default());
                remarks.extend(rule.map(|rule| format!("rule: {rule}")));
                self.watch(folder, &network, &remarks, &mut children).await
            }
        };
        children.stop(folder).await?;
        ended
    }

    async fn watch(
        &self,
        folder: &Folder,
        network: &Network,
        remarks: &[String],
        children: &mut Children,
    ) -> anyhow::Result<()> {
        let output = self.output;
        let nodes = network.settings.nodes();
        let mut watch = Watch::new(nodes.into_iter().map(|node| (node.name.clone(), folder.node(&node.name))));
        let begun = Instant::now();
        let mut stakes = Stakes::default();
        let mut tally = Tally::default();
        if !self.output.is_json() {
            for remark in remarks {
                print(remark)?;
            }
            print(&format!("run {}, in {}", network.genesis.run_id().short(), folder.path().display()))?;
        }
        let mut screen = self.open_screen()?;
        let stop = interrupt::asked_to_stop()?;
        tokio::pin!(stop);
        let mut view;
        loop {
            for note in children.tend(folder)? {
                watch.add_note(note);
            }
            stakes.refresh(&network.chain, network.genesis.netuid).await;
            let news = watch.news();
            view = watch.view_of(network, &stakes, remarks, begun.elapsed());
            for event in &news {
                tally.count(event);
                if screen.is_none() {
                    output.event(event, |paint| network::window(paint, event, &view))?;
                }
            }
            if let Some(screen) = &mut screen {
                screen.draw(&view)?;
                if screen.key(Duration::ZERO)? == Some(Key::Stop) {
                    break;
                }
            } else if !self.output.is_json() {
                for note in watch.take_notes() {
                    print(&format!("         note: {note}"))?;
                }
            }
            if self.windows.is_some_and(|windows| tally.windows >= windows) {
                break;
            }
            tokio::select! {
                () = &mut stop => {
                    break;
                }
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
        // The terminal is given back first, so that the summary stays on it.
        drop(screen);
        let summary = tally.summary(&watch, &view);
        output.event(&summary, |paint| network::summary(paint, &summary))
    }

    /// The screen, where there is a terminal for it and no lines were asked for.
    fn open_screen(&self) -> anyhow::Result<Option<Screen>> {
        let is_terminal = std::io::stdout().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        if self.output.is_json() || self.plain || !is_terminal {
            return Ok(None);
        }
        match Screen::open(is_colour_wanted(true)) {
            Ok(screen) => Ok(Some(screen)),
            Err(error) => {
                print(&format!("printing lines without a screen: {:#}", anyhow::Error::from(error)))?;
                Ok(None)
            }
        }
    }
}
