//! `templar up`.

use crate::config::{Config, DataFlag, EngineFlags, EvaluationFlags, Origin, PresetFlag, Setting, TextFlags, engine};
use crate::failure::{Usage, advice};
use crate::output::{Output, print};
use crate::{interrupt, text};
use anyhow::Context;
use clap::Args;
use clap::builder::RangedU64ValueParser;
use serde_json::json;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use templar_corpus::LeftOut;
use templar_dashboard::{Dashboard, Listener};
use templar_engine::NumericsId;
use templar_localnet::{
    By, Checked, Children, Folder, Network, NetworkOptions, Preparing, RuleName, SetupError, Stage, Stakes, Tally,
    Watch, Wish, bring_up, gateway_of, listen_address, machine_address, start_gateway,
};
use templar_screen::corpus::show_build;
use templar_screen::corpus::source_remark;
use templar_screen::{Key, Progress, Screen, bounds, network, printable};

/// How often processes and journals are checked.
const LOOK_EVERY: Duration = Duration::from_millis(250);
const SYNTHETIC_BYTES: u64 = 4 << 20;

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
    /// Number of miners, up to 200; 4 for a new network, an existing one can only grow
    #[arg(long, value_name = "N", value_parser = RangedU64ValueParser::<usize>::new().range(1..=200))]
    miners: Option<usize>,
    /// Number of validators, up to 64; 2 for a new network, an existing one can only grow
    #[arg(long, value_name = "N", value_parser = RangedU64ValueParser::<usize>::new().range(1..=64))]
    validators: Option<usize>,
    /// End after N windows, with a summary
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1 << 48))]
    windows: Option<u64>,
    /// Start over: a new network takes the place of the one in the folder, once it is complete
    #[arg(long)]
    fresh: bool,
    /// Length of a window in seconds, 8 to 86400, for a new network; by default from the speed of this machine
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(8..=86_400))]
    window_seconds: Option<u64>,
    /// Address of this machine under which other machines may join, such as 192.168.1.5; by default none may
    #[arg(long, value_name = "IP", value_parser = machine_address)]
    listen: Option<IpAddr>,
    /// Serve the trained model to this machine with OpenAI's API, from the first checkpoint on; see `templar gateway`
    #[arg(long)]
    gateway: bool,
    /// How pseudo-gradients are merged and applied, for a new network; mean-of-senders by default
    #[arg(long, value_name = "RULE", value_parser = bounds::rules())]
    rule: Option<RuleName>,
    /// Part of the payloads that are audited by replay, 0 to 1, for a new network; none by default
    #[arg(long, value_name = "X", value_parser = bounds::per_mille)]
    audit_rate: Option<u32>,
    /// Open numerics class that nodes may compute with as well, such as torch-bf16, for a new network; none by default
    #[arg(long, value_name = "CLASS", conflicts_with = "audit_rate")]
    open_numerics: Option<NumericsId>,
    /// Vocabulary size, for a new network; by default 4096, or 512 for synthetic text, or what a small text gives
    #[arg(long, value_name = "N", value_parser = bounds::vocabulary())]
    vocab_size: Option<u32>,
    /// Address of the page that shows the run; by default a free port that only this machine reaches
    #[arg(long, value_name = "ADDRESS", value_parser = listen_address)]
    dashboard: Option<SocketAddr>,
    /// Serve no page
    #[arg(long, conflicts_with = "dashboard")]
    no_dashboard: bool,
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
    #[command(flatten)]
    engine: EngineFlags,
    #[command(flatten)]
    evaluation: EvaluationFlags,
}

/// What to do about a network that cannot be used or set up.
pub fn setup_advice(error: impl Into<SetupError>) -> anyhow::Error {
    let error = error.into();
    let remedy = error.remedy();
    let error = if error.is_usage() { Usage(error.to_string()).into() } else { anyhow::Error::from(error) };
    match remedy {
        Some(remedy) => advice(error, &remedy),
        None => error,
    }
}

impl Up {
    /// Runs the network until it is asked to stop, or its windows are over.
    pub fn run(self, config: Config) -> anyhow::Result<()> {
        let mut config = config.with(&self.data).with(&self.preset).with(&self.engine);
        let is_synthetic = self.text.text.as_slice() == [PathBuf::from("synthetic")];
        if !is_synthetic {
            config = config.with(&self.text);
        }
        if self.listen.is_some_and(|address| address.is_unspecified()) {
            let what = "others cannot reach 0.0.0.0: --listen is the address of this machine in their network";
            return Err(Usage(what.to_owned()).into());
        }
        let options = self.options(&config)?;
        options.check().map_err(setup_advice)?;
        let page =
            (!self.no_dashboard).then(|| Listener::bind_or_free(self.dashboard)).transpose().map_err(setup_advice)?;
        let folder = Folder::open(&config.data_folder().join("up")).map_err(setup_advice)?;
        let mut progress = Progress::new(config.is_quiet || self.output.is_json());
        let synthetic = is_synthetic.then_some(SYNTHETIC_BYTES);
        let choose = |progress: &mut Progress| text::choose(&config, synthetic, None, progress);
        // Everything is found out before anything is replaced, spent or started.
        let existing = match !self.fresh && folder.has_network() {
            false => None,
            true => {
                let text = (!self.text.text.is_empty()).then(|| choose(&mut progress)).transpose()?;
                folder.check(&options, text.as_ref().map(|text| &text.sources)).map_err(setup_advice)?
            }
        };
        let mut checked = match existing {
            Some(checked) => checked,
            None => {
                let chosen = choose(&mut progress)?;
                let mut report = |news| match news {
                    Preparing::Text(news) => show_build(&mut progress, news),
                    Preparing::Measuring => progress.say("measuring this machine"),
                };
                let mut checked = folder.prepare(&options, &chosen.sources, &mut report).map_err(setup_advice)?;
                checked.remarks.extend(LeftOut::lines(&chosen.left_out).iter().map(|line| printable(line)));
                if chosen.sources.is_synthetic() && !is_synthetic {
                    checked.remarks.extend(chosen.remarks);
                }
                checked
            }
        };
        checked.settings.listen = self.listen;
        checked.settings.node_flags = engine::flags(&config);
        for remark in checked.remarks.iter().filter(|_| self.output.is_json()) {
            self.output.event(&json!({"event": "note", "message": remark}), |_| String::new())?;
        }
        checked.remarks.push(network::NEXT.to_owned());
        checked.remarks.extend(checked.sources.iter().map(|text| source_remark(&text.name, &text.licence)));
        interrupt::runtime(2)?.block_on(self.run_network(&folder, checked, page, progress))
    }

    fn options(&self, config: &Config) -> anyhow::Result<NetworkOptions> {
        // A network on one machine shares its cores: by default, the smallest model.
        let preset = match config.get(Setting::Preset) {
            Some((name, Origin::Flag(_))) => Wish { value: name.to_owned(), by: By::Flag },
            Some((name, origin)) if *origin != Origin::Default => {
                Wish { value: name.to_owned(), by: By::Setting(format!("the setting preset ({origin})")) }
            }
            _ => Wish { value: "nano".to_owned(), by: By::Default },
        };
        let (vocab_size, window_seconds, rule) = (self.vocab_size, self.window_seconds, self.rule);
        let (audit_rate, miners, validators) = (self.audit_rate, self.miners, self.validators);
        let (engine, open_numerics) = (engine::source(config)?, self.open_numerics.as_ref().map(NumericsId::to_string));
        Ok(NetworkOptions {
            preset,
            vocab_size,
            window_seconds,
            rule,
            audit_rate,
            engine,
            open_numerics,
            evaluation: self.evaluation.read().map_err(setup_advice)?,
            miners,
            validators,
        })
    }

    async fn run_network(
        &self,
        folder: &Folder,
        checked: Checked,
        page: Option<Listener>,
        mut progress: Progress,
    ) -> anyhow::Result<()> {
        let mut children = Children::of_program(std::env::current_exe().context("cannot find this program's file")?);
        let asked_to_stop = interrupt::asked_to_stop()?;
        let mut remarks = checked.remarks;
        let mut report = |stage| {
            progress.say(match stage {
                Stage::Services => "starting the ledger and the bucket server",
                Stage::Registering => "registering the nodes",
                Stage::Sharing => "sharing the run",
            });
        };
        let brought_up = tokio::select! {
            network = bring_up(folder, checked.settings, &mut children, &mut report) => Some(network),
            () = asked_to_stop => None,
        };
        drop(progress);
        let ended = match brought_up {
            None => Ok(()),
            Some(Err(error)) => Err(setup_advice(error)),
            Some(Ok(network)) => {
                let rule = RuleName::of(&network.genesis.outer).filter(|rule| *rule != RuleName::default());
                remarks.extend(rule.map(|rule| format!("rule: {rule}")));
                remarks.push(network.genesis.audit.describe(network.genesis.economics.ramp_windows));
                match self.serve(folder, &network, page, &mut children) {
                    Ok(page) => self.watch(folder, &network, page.as_ref(), remarks, &mut children).await,
                    Err(error) => Err(setup_advice(error)),
                }
            }
        };
        children.stop(folder).await?;
        ended
    }

    /// Starts what serves the run: its page, and its gateway where one was asked for.
    fn serve(
        &self,
        folder: &Folder,
        network: &Network,
        page: Option<Listener>,
        children: &mut Children,
    ) -> Result<Option<Dashboard>, SetupError> {
        let start = || start_gateway(folder, network, page.as_ref(), children);
        let gateway = self.gateway.then(start).transpose()?;
        network.serve(folder, page, gateway)
    }

    async fn watch(
        &self,
        folder: &Folder,
        network: &Network,
        page: Option<&Dashboard>,
        mut remarks: Vec<String>,
        children: &mut Children,
    ) -> anyhow::Result<()> {
        let output = self.output;
        let mut is_gateway_awaited = self.gateway;
        let nodes = network.settings.nodes();
        let mut watch = Watch::new(nodes.into_iter().map(|node| (node.name.clone(), folder.node(&node.name))));
        watch = watch.with_guests_of(folder.path());
        let begun = Instant::now();
        let mut stakes = Stakes::default();
        let mut tally = Tally::default();
        let address = network.settings.run_address().map(|address| address.to_string());
        let (run, page) = (network.genesis.run_id(), page.map(Dashboard::url));
        if let Some(page) = page {
            // First, so that a narrow screen shows it.
            remarks.insert(0, format!("dashboard: {page}"));
        }
        let started = json!({"event": "started", "run": run, "folder": folder.path(), "ledger": network.settings.ledger_url(), "address": address, "dashboard": page});
        output.event(&started, |_| String::new())?;
        if !self.output.is_json() {
            for remark in &remarks {
                print(remark)?;
            }
            print(&format!("run {}, in {}", run.short(), folder.path().display()))?;
            if let Some(address) = address {
                print(&format!("others join with: templar run join '{address}'"))?;
            }
        }
        let mut screen = Screen::open_where_possible(!output.is_json() && !self.plain);
        let stop = interrupt::asked_to_stop()?;
        tokio::pin!(stop);
        let mut view;
        loop {
            for note in children.tend(folder).map_err(setup_advice)? {
                watch.add_note(note);
            }
            stakes.refresh(&network.chain, network.genesis.netuid).await;
            let news = watch.news();
            if is_gateway_awaited && let Some(serving) = gateway_of(folder) {
                is_gateway_awaited = false;
                let (address, model, window) = (&serving.address, &serving.model, serving.window);
                let line = format!("the model answers at {address}, with OpenAI's API");
                let fact = json!({"event": "gateway", "address": address, "model": model, "window": window});
                output.event(&fact, |_| if screen.is_none() { line.clone() } else { String::new() })?;
                remarks.push(line);
            }
            view = watch.view_of(&network.genesis, &stakes, &remarks, begun.elapsed());
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
            } else {
                for note in watch.take_notes() {
                    let fact = json!({"event": "note", "message": note});
                    self.output.event(&fact, |_| format!("         note: {note}"))?;
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
        let summary = tally.summary(&watch.seen_losses(), watch.null_reasons(), &view);
        output.event(&summary, |paint| format!("{}\n{}", network::summary(paint, &summary), network::NEXT))
    }
}
