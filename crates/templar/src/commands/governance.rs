//! `templar governance`.

use super::token::{Consent, Query, Shared, connect, explained, submit};
use crate::bounds;
use crate::config::Config;
use crate::failure::{Advise, Usage};
use crate::{interrupt, keys};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;
use templar_chain::governance::{Action, Ballot, Governance as _, GovernanceCall, Proposal, ProposalId};
use templar_chain::{Call, Chain};
use templar_ledger::Profile;
use templar_screen::governance;

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
    #[arg(long, value_name = "COUNT", default_value_t = 20, value_parser = bounds::newest())]
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
        let action = Action::from_words(&self.what, &self.value).map_err(|error| Usage(error.to_string()));
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
            let view = explained(chain.whole_proposal(netuid, self.proposal).await)?;
            let facts = json!({"transaction": receipt.transaction, "block": receipt.block, "proposal": view});
            self.shared.query.output.facts(&facts, |paint| match &view {
                Some(view) => governance::proposal(paint, view),
                None => format!("voted in block {}", receipt.block),
            })
        })
    }
}

impl List {
    fn run(self, config: Config) -> anyhow::Result<()> {
        let proposals = self.query.ask(config, async |chain, netuid| chain.proposals(netuid, self.last).await)?;
        self.query.output.facts(&json!({"proposals": proposals}), |paint| governance::proposals(paint, &proposals))
    }
}

impl Show {
    fn run(self, config: Config) -> anyhow::Result<()> {
        let view = self.query.ask(config, async |chain, netuid| chain.whole_proposal(netuid, self.proposal).await)?;
        let missing = || anyhow::anyhow!("there is no proposal {}", self.proposal);
        let view = view.ok_or_else(missing).advise("list them with `templar governance list`")?;
        self.query.output.facts(&view, |paint| governance::proposal(paint, &view))
    }
}

impl Settings {
    fn run(self, config: Config) -> anyhow::Result<()> {
        let changes = self.query.ask(config, async |chain, netuid| chain.setting_changes(netuid).await)?;
        self.query.output.facts(&changes, |paint| governance::settings(paint, &changes.changes))
    }
}
