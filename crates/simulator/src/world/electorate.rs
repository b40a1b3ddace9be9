//! Whose stake counts: all validators' from the start, and where the genesis asks for right votes, of those that judged of late.

use crate::chain::Chain;
use std::collections::BTreeMap;
use templar_base::{AgreedFindings, BlockNumber, ElectorRule, PublicKey, Uid, Window};
use templar_gauntlet::{Compared, OpenWindow, RightVotes};
use templar_round::{Elector, Phases, judging_electors, right_voters, seals_end};

/// The electors of every window, as they follow from the ledger.
#[derive(Debug)]
pub(crate) struct Electorate {
    all: Vec<Elector>,
    rule: Option<ElectorRule>,
    /// Right votes at the starts of windows, as the first node that settled the window before had them.
    records: BTreeMap<Window, RightVotes>,
}

impl Electorate {
    pub fn new(all: Vec<Elector>, rule: Option<ElectorRule>) -> Self {
        Self { all, rule, records: BTreeMap::from([(Window::ZERO, RightVotes::default())]) }
    }

    /// All validators, whether they count or not.
    pub fn all(&self) -> &[Elector] {
        &self.all
    }

    /// Whose stake counts in a window.
    pub fn of(&self, window: Window) -> Vec<Elector> {
        let record = self.records.range(..=window).next_back().map(|(_, record)| record);
        let standing = self.rule.zip(record).map(|(rule, record)| record.standing(&rule, window));
        match standing.filter(|standing| standing.is_in_force) {
            Some(standing) => judging_electors(self.all.clone(), |hotkey| standing.has_judged(hotkey)),
            None => self.all.clone(),
        }
    }

    /// A node settles a window. Whenever it does, it comes to the right votes that others came to; else this says so.
    pub fn settle(
        &mut self,
        (window, agreed): (Window, &AgreedFindings),
        (chain, phases): (&Chain, &Phases),
        head: BlockNumber,
    ) -> Result<(), String> {
        let Some(rule) = self.rule else { return Ok(()) };
        let Some(mut record) = self.records.get(&window).cloned() else { return Ok(()) };
        if !agreed.miners.is_empty() {
            let right = record.to_compare(window).map(|open| {
                let votes = chain.votes_opened_after(open.window, open.sealed_until);
                right_voters(&votes, phases.open(open.window), &open.shares)
            });
            let seals = chain.vote_seals_on(window);
            let until = seals_end(&self.of(window), &seals, phases.seal_time(window), head);
            let until =
                until.ok_or_else(|| format!("votes on window {window} were counted before their seals ended"))?;
            let registered: BTreeMap<Uid, PublicKey> = self.all.iter().map(|own| (own.uid, own.hotkey)).collect();
            let (right, open) = (right.unwrap_or_default(), OpenWindow::new(window, until, agreed));
            let (rule, right, registered) = (&rule, &right, &registered);
            record.fold(Compared { rule, window, right, open, registered });
        }
        let known = self.records.entry(window.next()).or_insert_with(|| record.clone());
        if *known == record {
            Ok(())
        } else {
            Err(format!("two nodes count the right votes of window {window} differently"))
        }
    }
}
