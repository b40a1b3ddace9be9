//! What a judgement leaves for the next: ratings, doubt, who is paid. A function of agreed numbers alone.

use crate::{MinerRecord, Ratings};
use std::collections::{BTreeMap, BTreeSet};
use templar_base::{AgreedFindings, JudgingRule, Mark, PublicKey, Share, Uid, Window};

/// What the ledger and the genesis say about a window whose findings are agreed.
#[derive(Debug, Clone, Copy)]
pub struct Settlement<'a> {
    /// The run's rule as it holds in the window.
    pub rule: &'a JudgingRule,
    /// The window.
    pub window: Window,
    /// Who is registered at its end.
    pub registered: &'a BTreeMap<Uid, PublicKey>,
}

impl Ratings {
    /// Moves on by what was agreed of a window. A window in which nothing was merged moves next to nothing, and pay goes on:
    /// else a null window would be a way to stop it.
    pub fn fold(&mut self, agreed: &AgreedFindings, settlement: Settlement<'_>) {
        let Settlement { window, registered, .. } = settlement;
        self.keep_registered(registered);
        let rated: BTreeSet<Uid> = self.miners.keys().copied().filter(|uid| self.weight_of(*uid) > 0.0).collect();
        let merged = self.by_rating(agreed.selected());
        if agreed.step.is_some() {
            self.observe(agreed, settlement);
        }
        for (uid, finding) in &agreed.miners {
            match finding.mark {
                Mark::Harmful => self.reset(*uid, window),
                Mark::Fraud => {
                    self.reset(*uid, window);
                    let Some(record) = self.record(*uid, settlement) else { continue };
                    record.is_void = true;
                }
                Mark::Silent => {
                    // The third audit in a row.
                    if finding.is_sure {
                        self.reset(*uid, window);
                    }
                    let Some(record) = self.record(*uid, settlement) else { continue };
                    (record.owes_answer, record.is_paid) = (true, false);
                }
                _ => {}
            }
            // Whoever is judged has answered.
            if let Some(record) = self.miners.get_mut(uid).filter(|_| finding.mark != Mark::Silent) {
                record.owes_answer = false;
            }
        }
        for (uid, probe) in &agreed.probes {
            if let Some(record) = self.miners.get_mut(uid) {
                record.own_text.add(*probe);
            }
        }
        if let Some(magnitude) = agreed.magnitude {
            self.note_magnitude(magnitude);
        }
        match agreed.surplus {
            Some((surplus, error)) => self.doubt.add(surplus.to_f64(), error.to_f64()),
            None => self.doubt.fade(),
        }
        let Some(step) = agreed.step else { return };
        (self.step, self.merged) = (step, merged);
        for (uid, record) in &mut self.miners {
            let mark = agreed.miners.get(uid).map(|finding| finding.mark);
            // A stranger is paid from its first merge on, not for what it promises.
            record.is_paid = match mark {
                Some(Mark::Selected) => true,
                Some(Mark::Admitted) => rated.contains(uid),
                _ => false,
            };
        }
        self.forget_the_absent(window);
    }

    /// The record of a registered miner, new where there is none.
    fn record(&mut self, uid: Uid, settlement: Settlement<'_>) -> Option<&mut MinerRecord> {
        let hotkey = settlement.registered.get(&uid)?;
        Some(self.miners.entry(uid).or_insert_with(|| MinerRecord::new(*hotkey, settlement.window)))
    }

    /// These, the best rated first.
    fn by_rating(&self, uids: impl Iterator<Item = Uid>) -> Vec<Uid> {
        let value = |uid: &Uid| self.miners.get(uid).map_or(f64::NEG_INFINITY, |record| record.rating.value());
        let mut ranked: Vec<Uid> = uids.collect();
        ranked.sort_by(|a, b| value(b).total_cmp(&value(a)).then(a.cmp(b)));
        ranked
    }

    /// Takes the candidates' shares into their ratings.
    fn observe(&mut self, agreed: &AgreedFindings, settlement: Settlement<'_>) {
        let Settlement { rule, window, .. } = settlement;
        for record in self.miners.values_mut() {
            record.rating.predict(rule.rating_process_noise);
        }
        // Half of the least share: an equal share is far above it, noise soon below.
        let least = 0.5 * rule.admission_share;
        for (uid, finding) in &agreed.miners {
            let Some(share) = finding.share else { continue };
            let Some(record) = self.record(*uid, settlement) else { continue };
            record.seen = window;
            observe_share(record, share, finding.is_sure, least);
        }
    }

    /// After harm: nothing is known of the miner but since when it is here, and what audits go by.
    fn reset(&mut self, uid: Uid, window: Window) {
        if let Some(record) = self.miners.get_mut(&uid) {
            let MinerRecord { since, owes_answer, own_text, .. } = *record;
            *record = MinerRecord { since, owes_answer, own_text, ..MinerRecord::new(record.hotkey, window) };
        }
    }
}

fn observe_share(record: &mut MinerRecord, share: Share, is_sure: bool, least: f64) {
    record.rating.observe(share.part(), share.error());
    // What a weak machine brings is a small part of an equal share, and surely over nothing.
    let surely_brings = record.rating.value() > 0.0;
    let has_shown_it = record.is_proven || is_sure || surely_brings;
    record.is_proven = has_shown_it && (record.rating.mean > least || surely_brings);
}
