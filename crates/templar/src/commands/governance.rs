//! `templar governance`.

use super::token::{Consent, Query, Shared, connect, explained, submit};
use crate::config::Config;
use crate::failure::{Advise, Usage};
use crate::output::{Paint, table};
use crate::{interrupt, keys};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;
use std::str::FromStr;
use templar_base::{Alpha, MILLIONTHS, Netuid, PublicKey, RunSetting};
use templar_chain::access::Service;
use templar_chain::governance::{
    Action, Ballot, Governance as _, GovernanceCall, Proposal, ProposalId, ProposalView, Status,
};
use templar_chain::{Call, Chain, ChainError, MAX_ENTRIES, RpcChain};
use templar_ledger::Profile;

/// Decide with the other holders of the subnet's token: settings of the run, prices of access, the treasury.
///
/// Votes count by the stake that each coldkey held when the proposal was made. An adopted proposal takes effect
/// automatically: a run setting from the first window that starts after the decision, on every node.
///
/// Example: templar governance propose selected 12 --title "Merge more miners" --wallet alice
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Governance {
    #[command(subcommand)]
    action: Subject,
}

#[derive(Debug, Subcommand)]
enum Subject {
    Propose(Propose),
    Vote(Vote),
    List(List),
    Show(Show),
    Settings(Settings),
}

/// Make a proposal. The fee is set in the ledger's genesis and is burned.
///
/// What can be proposed, and the value that each takes:
///   learning-rate-factor F      factor on the learning rate of the genesis, such as 0.5
///   outer-alpha A               step of the outer update, such as 0.8
///   inner-steps N               inner steps of a miner in a window, at most
///   selected N                  miners whose payloads are merged, at most
///   revenue BURNED,TREASURY     parts of the revenue from access, in thousandths, such as 300,100
///   price-generation ALPHA      price of a thousand tokens of text
///   price-compute ALPHA         price of a thousand seconds of a device
///   spend ALPHA,COLDKEY,HOTKEY  pay from the treasury, as stake of the coldkey behind the hotkey
///
/// Example: templar governance propose learning-rate-factor 0.5 --title "Anneal" --wallet alice
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
struct Propose {
    /// What to decide on
    #[arg(value_name = "WHAT")]
    what: String,
    /// The value that is proposed
    #[arg(value_name = "VALUE")]
    value: String,
    /// One line for the voters
    #[arg(long, value_name = "TEXT", default_value = "")]
    title: String,
    #[command(flatten)]
    consent: Consent,
    #[command(flatten)]
    shared: Shared,
}

/// Vote on a proposal, or change a vote, until it closes.
///
/// Example: templar governance vote 3 yes --wallet alice
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
struct Vote {
    /// Number of the proposal
    #[arg(value_name = "PROPOSAL")]
    proposal: ProposalId,
    /// The vote
    #[arg(value_name = "VOTE")]
    ballot: Choice,
    #[command(flatten)]
    shared: Shared,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Choice {
    /// For it
    Yes,
    /// Against it
    No,
    /// For the quorum only
    Abstain,
}

/// List the newest proposals and their status.
///
/// Example: templar governance list
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
struct List {
    /// Number of proposals, 256 at most
    #[arg(long, value_name = "COUNT", default_value_t = 20)]
    last: u32,
    #[command(flatten)]
    query: Query,
}

/// Show a proposal with its tally and every vote.
///
/// Example: templar governance show 3
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
struct Show {
    /// Number of the proposal
    #[arg(value_name = "PROPOSAL")]
    proposal: ProposalId,
    #[command(flatten)]
    query: Query,
}

/// List the run settings that were adopted, in their order.
///
/// Example: templar governance settings
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
struct Settings {
    #[command(flatten)]
    query: Query,
}

impl Governance {
    /// Runs the subcommand.
    pub fn run(self, config: Config) -> anyhow::Result<()> {
        match self.action {
            Subject::Propose(propose) => propose.run(config),
            Subject::Vote(vote) => vote.run(config),
            Subject::List(list) => list.run(config),
            Subject::Show(show) => show.run(config),
            Subject::Settings(settings) => settings.run(config),
        }
    }
}

impl Propose {
    fn run(self, config: Config) -> anyhow::Result<()> {
        let action = action_of(&self.what, &self.value);
        let action = action.advise("see what can be proposed: templar governance propose --help")?;
        let config = self.shared.put_into(config);
        let netuid = config.netuid()?;
        interrupt::runtime(1)?.block_on(async {
            let chain = connect(&config).await?;
            let rule = chain.profile::<Profile>().await?.governance;
            let cost = rule.proposal_cost;
            let blocks = rule.voting_blocks;
            let what = format!("to propose `{action}`, open for {blocks} blocks, costs {cost} TAO");
            self.consent.ask(&what, "Pay?", "not proposed")?;
            let coldkey = keys::coldkey(&config)?;
            let call = GovernanceCall::Propose { title: self.title.clone(), action: action.clone() };
            let receipt = submit(&chain, &coldkey, Call::Governance { netuid, call }).await?;
            let newest = explained(chain.proposals(netuid, 16).await)?;
            let own = |proposal: &&Proposal| {
                proposal.proposer == coldkey.public() && proposal.snapshot_at == receipt.block && proposal.action == action
            };
            let made = newest.iter().find(own);
            let facts = json!({"transaction": receipt.transaction, "block": receipt.block, "proposal": made});
            self.shared.query.output.facts(&facts, |_| match made {
                Some(made) => {
                    let (id, closes) = (made.id, made.closes_at);
                    format!("proposal {id}: {action}\nit is decided at block {closes}; vote with `templar governance vote {id} yes`")
                }
                None => format!("proposed in block {}; see it with `templar governance list`", receipt.block),
            })
        })
    }
}

impl Vote {
    fn run(self, config: Config) -> anyhow::Result<()> {
        let config = self.shared.put_into(config);
        let netuid = config.netuid()?;
        let ballot = match self.ballot {
            Choice::Yes => Ballot::Yes,
            Choice::No => Ballot::No,
            Choice::Abstain => Ballot::Abstain,
        };
        interrupt::runtime(1)?.block_on(async {
            let chain = connect(&config).await?;
            let coldkey = keys::coldkey(&config)?;
            let call = GovernanceCall::Vote { proposal: self.proposal, ballot };
            let receipt = submit(&chain, &coldkey, Call::Governance { netuid, call }).await?;
            let view = explained(whole(&chain, netuid, self.proposal).await)?;
            let facts = json!({"transaction": receipt.transaction, "block": receipt.block, "proposal": view});
            self.shared.query.output.facts(&facts, |paint| match &view {
                Some(view) => describe(paint, view),
                None => format!("voted in block {}", receipt.block),
            })
        })
    }
}

impl List {
    fn run(self, config: Config) -> anyhow::Result<()> {
        let proposals = self.query.ask(config, async |chain, netuid| chain.proposals(netuid, self.last).await)?;
        self.query.output.facts(&json!({"proposals": proposals}), |paint| {
            if proposals.is_empty() {
                return "no proposals yet: make the first with `templar governance propose`".to_owned();
            }
            let row = |proposal: &Proposal| {
                vec![
                    proposal.id.to_string(),
                    status(proposal.status).to_owned(),
                    percent(proposal.yes, proposal.electorate),
                    percent(proposal.no, proposal.electorate),
                    proposal.closes_at.to_string(),
                    proposal.action.to_string(),
                    plain(&proposal.title),
                ]
            };
            let rows: Vec<_> = proposals.iter().map(row).collect();
            table(paint, Some(&["id", "status", "yes", "no", "closes", "action", "title"]), &rows)
        })
    }
}

impl Show {
    fn run(self, config: Config) -> anyhow::Result<()> {
        let view = self.query.ask(config, async |chain, netuid| whole(chain, netuid, self.proposal).await)?;
        let missing = || anyhow::anyhow!("there is no proposal {}", self.proposal);
        let view = view.ok_or_else(missing).advise("list them with `templar governance list`")?;
        self.query.output.facts(&view, |paint| describe(paint, &view))
    }
}

impl Settings {
    fn run(self, config: Config) -> anyhow::Result<()> {
        let changes = self.query.ask(config, async |chain, netuid| chain.setting_changes(netuid).await)?;
        self.query.output.facts(&changes, |paint| {
            if changes.changes.is_empty() {
                return "no setting was changed: the run follows its genesis".to_owned();
            }
            let row =
                |change: &templar_base::SettingChange| vec![change.decided_at.to_string(), change.setting.to_string()];
            let rows: Vec<_> = changes.changes.iter().map(row).collect();
            table(paint, Some(&["decided at block", "setting"]), &rows)
        })
    }
}

fn status(status: Status) -> &'static str {
    match status {
        Status::Open => "open",
        Status::Adopted => "adopted",
        Status::NoQuorum => "no quorum",
        Status::NoMajority => "no majority",
        Status::Failed => "failed",
    }
}

/// A proposal with all its votes, which come by pages.
async fn whole(chain: &RpcChain, netuid: Netuid, id: ProposalId) -> Result<Option<ProposalView>, ChainError> {
    let Some(mut view) = chain.proposal(netuid, id, None).await? else { return Ok(None) };
    let mut is_full = view.votes.len() >= MAX_ENTRIES as usize;
    while let Some((last, ..)) = view.votes.last().filter(|_| is_full) {
        let Some(page) = chain.proposal(netuid, id, Some(*last)).await? else { break };
        is_full = page.votes.len() >= MAX_ENTRIES as usize;
        view.votes.extend(page.votes);
    }
    Ok(Some(view))
}

fn percent(part: Alpha, whole: Alpha) -> String {
    format!("{:.1} %", part.0 as f64 * 100.0 / whole.0.max(1) as f64)
}

/// Foreign text for a terminal: one line, no control characters.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn describe(paint: Paint, view: &ProposalView) -> String {
    let proposal = &view.proposal;
    let now = match (proposal.status, view.outcome) {
        (Status::Open, outcome) => {
            format!("open until block {}; result so far: {}", proposal.closes_at, status(outcome))
        }
        (decided, _) => format!("{}, decided at block {}", status(decided), proposal.closes_at),
    };
    let part = |name: &str, amount: Alpha| {
        vec![name.to_owned(), format!("{amount} alpha"), percent(amount, proposal.electorate)]
    };
    let tally = [
        part("yes", proposal.yes),
        part("no", proposal.no),
        part("abstain", proposal.abstain),
        part("electorate", proposal.electorate),
    ];
    let title = paint.bold(&format!("proposal {}: {}", proposal.id, proposal.action));
    let votes: Vec<_> = view
        .votes
        .iter()
        .map(|(key, ballot, weight)| {
            vec![key.to_string(), format!("{ballot:?}").to_lowercase(), format!("{weight} alpha")]
        })
        .collect();
    let text = format!(
        "{title}\n{}\nby {}, stakes of block {}\n{now}\n",
        plain(&proposal.title),
        proposal.proposer,
        proposal.snapshot_at
    );
    let votes = if votes.is_empty() {
        "no votes yet".to_owned()
    } else {
        table(paint, Some(&["key", "vote", "weight"]), &votes)
    };
    format!("{text}{}\n{votes}", table(paint, None, &tally))
}

/// The action that a proposal's words name.
fn action_of(what: &str, value: &str) -> Result<Action, Usage> {
    let wrong = |wanted: &str| Usage(format!("`{value}` is not a value for {what}: give {wanted}"));
    let whole = || value.parse::<u32>().map_err(|_| wanted_number(what, value));
    Ok(match what {
        "learning-rate-factor" => Action::Setting(RunSetting::LearningRateFactor(millionths(what, value)?)),
        "outer-alpha" => Action::Setting(RunSetting::OuterAlpha(millionths(what, value)?)),
        "inner-steps" => Action::Setting(RunSetting::InnerSteps(whole()?)),
        "selected" => {
            let selected = u16::try_from(whole()?).map_err(|_| wanted_number(what, value))?;
            Action::Setting(RunSetting::Selected(selected))
        }
        "revenue" => {
            let parts = value
                .split_once(',')
                .and_then(|(burned, treasury)| Some((burned.parse().ok()?, treasury.parse().ok()?)));
            let (burned_per_mille, treasury_per_mille) = parts.ok_or_else(|| wrong("two numbers, such as 300,100"))?;
            Action::Revenue { burned_per_mille, treasury_per_mille }
        }
        "price-generation" | "price-compute" => {
            let service = if what == "price-compute" { Service::Compute } else { Service::Generation };
            let per_thousand = Alpha::from_str(value).map_err(|error| Usage(error.to_string()))?;
            Action::Price { service, per_thousand }
        }
        "spend" => {
            let mut parts = value.split(',');
            let (Some(amount), Some(to), Some(hotkey), None) = (parts.next(), parts.next(), parts.next(), parts.next())
            else {
                return Err(wrong("an amount, a coldkey and a hotkey, with commas between"));
            };
            let amount = Alpha::from_str(amount).map_err(|error| Usage(error.to_string()))?;
            let key = |text: &str| text.parse::<PublicKey>().map_err(|error| Usage(error.to_string()));
            Action::Spend { to: key(to)?, hotkey: key(hotkey)?, amount }
        }
        _ => return Err(Usage(format!("`{what}` cannot be proposed"))),
    })
}

fn wanted_number(what: &str, value: &str) -> Usage {
    Usage(format!("`{value}` is not a value for {what}: give a whole number"))
}

/// A decimal number in millionths, without floats.
fn millionths(what: &str, value: &str) -> Result<u32, Usage> {
    let wrong =
        || Usage(format!("`{value}` is not a value for {what}: give a number with at most six decimals, such as 0.5"));
    let (whole, decimals) = value.split_once('.').unwrap_or((value, "0"));
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_digits(whole) || !is_digits(decimals) || decimals.len() > 6 {
        return Err(wrong());
    }
    let fraction: u32 = format!("{decimals:0<6}").parse().map_err(|_| wrong())?;
    let whole: u32 = whole.parse().map_err(|_| wrong())?;
    whole.checked_mul(MILLIONTHS).and_then(|whole| whole.checked_add(fraction)).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_become_actions() {
        let setting = |what: &str, value: &str| action_of(what, value).unwrap();
        let factor = Action::Setting(RunSetting::LearningRateFactor(500_000));
        assert_eq!(setting("learning-rate-factor", "0.5"), factor);
        assert_eq!(setting("outer-alpha", "1"), Action::Setting(RunSetting::OuterAlpha(1_000_000)));
        assert_eq!(setting("selected", "12"), Action::Setting(RunSetting::Selected(12)));
        let revenue = Action::Revenue { burned_per_mille: 300, treasury_per_mille: 100 };
        assert_eq!(setting("revenue", "300,100"), revenue);
        for (what, value) in [
            ("selected", "70000"),
            ("outer-alpha", "-1"),
            ("outer-alpha", "0.1234567"),
            ("outer-alpha", "5000"),
            ("revenue", "300"),
            ("spend", "1,x"),
            ("nonsense", "1"),
        ] {
            assert!(action_of(what, value).is_err(), "{what} {value}");
        }
    }
}
