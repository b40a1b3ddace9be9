//! Why a miner stands where it stands after a window: every fact on the way from its commitment to its weight, from public
//! objects alone.

use crate::{PublicRecord, RecordError, Rules, fetch_verdict};
use serde::Serialize;
use templar_base::{
    AgreedFinding, AgreedFindings, Alpha, BlockNumber, ContentHash, Finding, PublicKey, StepShare, Uid, Window,
};
use templar_gauntlet::{Rating, Ratings, weights};
use templar_round::{Elector, applied_majority, leading_verdict};

/// What is known of one miner in one window.
#[derive(Debug, Clone, Serialize)]
pub struct Explanation {
    /// The window.
    pub window: Window,
    /// The miner's slot.
    pub uid: Uid,
    /// Who held it at the window's end.
    pub hotkey: Option<PublicKey>,
    /// What it committed in time.
    pub sealed: Option<SealedFact>,
    /// Who holds its payload; none where the run does not agree on that, or the ratings that the pool goes by are not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held: Option<HeldFact>,
    /// What each elector found.
    pub ballots: Vec<Ballot>,
    /// What is agreed of it; none where it is no candidate.
    pub agreed: Option<AgreedFinding>,
    /// The part of the step that was taken; none in a null window.
    pub step: Option<StepShare>,
    /// What the verdict with the most stake behind it says; none where nobody has it any more.
    pub verdict: Option<VerdictFact>,
    /// What follows from the agreed numbers; only where that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recomputed: Option<Recomputed>,
    /// What the ledger pays.
    pub pay: Option<PayFact>,
    /// Whether all permit holders were counted, although the run asks for right votes, since nobody has the ratings of that
    /// time any more.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub counts_all_permits: bool,
}

/// A commitment in time.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct SealedFact {
    /// The block that holds it.
    pub block: BlockNumber,
    /// The window's first block after the last in which it is in time.
    pub end: BlockNumber,
    /// Hash of the sealed object.
    pub digest: ContentHash,
    /// Its size.
    pub bytes: u32,
}

/// Who holds a payload, as electors stated it in time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HeldFact {
    /// Whether it was drawn into the window's pool: others are not fetched.
    pub is_in_pool: bool,
    /// The electors that hold it, by uid.
    pub holders: Vec<Uid>,
    /// Their lasting stake.
    pub stake: Alpha,
    /// That of all electors: it is a candidate if more than half of this holds it.
    pub of: Alpha,
}

impl HeldFact {
    /// Whether it is a candidate.
    pub fn is_candidate(&self) -> bool {
        u128::from(self.stake.as_rao()) * 2 > u128::from(self.of.as_rao())
    }
}

/// One elector's word.
#[derive(Debug, Clone, Serialize)]
pub struct Ballot {
    /// The elector's slot.
    pub validator: Uid,
    /// Its lasting stake.
    pub stake: Alpha,
    /// The block of its vote.
    pub block: BlockNumber,
    /// What it found; none where it did not see the miner among the candidates.
    pub finding: Option<Finding>,
    /// The verdict that explains it.
    pub verdict: ContentHash,
    /// How many right votes the elector had before, counted up to what the run asks for; none where it does not ask, or where
    /// that is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub right_votes: Option<usize>,
}

/// What a verdict says of the miner.
#[derive(Debug, Clone, Serialize)]
pub struct VerdictFact {
    /// Its hash.
    pub hash: ContentHash,
    /// In words.
    pub standing: String,
    /// Hash of the payload, if it opened.
    pub payload: Option<ContentHash>,
    /// Tokens that the payload states.
    pub tokens: u64,
    /// What it brings (φ) in nats, and its standard error.
    pub contribution: Option<(f64, f64)>,
    /// The rating before the window.
    pub rating_before: Option<Rating>,
    /// The rating after it.
    pub rating_after: Option<Rating>,
}

/// Ratings made again from the ledger's votes.
#[derive(Debug, Clone, Serialize)]
pub struct Recomputed {
    /// The checkpoint that they start from, by its window; window 0 is the run's start.
    pub from: Window,
    /// The miner's rating before the window.
    pub before: Option<Rating>,
    /// The same after it.
    pub after: Option<Rating>,
    /// Its place among the ratings before the window, 1 for the best.
    pub rank: Option<usize>,
    /// Whether it is paid.
    pub is_paid: bool,
    /// Its weight, of 65535.
    pub weight: u16,
    /// The root of all ratings after the window, as recomputed.
    pub root: ContentHash,
    /// The root that most of the stake reported; none where there is no such majority.
    pub agreed_root: Option<ContentHash>,
}

impl Recomputed {
    /// Whether what most of the stake reported is what follows from the votes; none where nothing is agreed.
    pub fn agrees(&self) -> Option<bool> {
        self.agreed_root.map(|agreed| agreed == self.root)
    }
}

/// A slot's part of the pay.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct PayFact {
    /// After which block.
    pub block: BlockNumber,
    /// Its part of the miners' pay, of 65535.
    pub incentive: u16,
    /// Its pay for the last epoch.
    pub emission: Alpha,
}

impl PublicRecord {
    /// What is known of a miner in a window whose outcome stands; where that is asked for, with the ratings made again from the
    /// newest checkpoint before it.
    pub async fn explain(
        &self,
        run: &Rules,
        window: Window,
        uid: Uid,
        is_recomputed: bool,
    ) -> Result<Explanation, RecordError> {
        // Without the ratings all permit holders count, and the explanation says so.
        if let Err(error) = self.learn_electors(run, window).await {
            tracing::debug!(%window, %error, "who has judged is not known");
        }
        let agreed = self.agreed(run, window).await?;
        let end = run.phases.end(window);
        let hotkey = self.metagraph(end).await?.neurons.iter().find(|own| own.uid == uid).map(|own| own.hotkey);
        let sealed = self.sealed(&run.phases, window, run.layout.max_payload_bytes()).await?;
        let sealed = sealed.records.iter().find(|record| record.uid == uid).map(|record| {
            let (block, commitment) = (record.block, record.commitment);
            SealedFact { block, end, digest: commitment.digest, bytes: commitment.bytes }
        });
        let recomputed = match is_recomputed {
            true => Some(self.recompute(run, window, uid, &agreed).await?),
            false => None,
        };
        Ok(Explanation {
            window,
            uid,
            hotkey,
            sealed,
            held: self.held_fact(run, window, uid).await?,
            ballots: self.ballots(run, window, uid).await?,
            agreed: agreed.miners.get(&uid).copied(),
            step: agreed.step,
            verdict: self.verdict_on(run, window, uid).await?,
            recomputed,
            pay: self.pay_of(uid).await?,
            counts_all_permits: !self.knows_electors(run, window),
        })
    }

    async fn held_fact(&self, run: &Rules, window: Window, uid: Uid) -> Result<Option<HeldFact>, RecordError> {
        let Some(deadline) = run.phases.hold(window) else { return Ok(None) };
        let electors = self.electors(run, window).await?;
        let Some(read) = self.held(run, window, &electors).await? else { return Ok(None) };
        let holds = |elector: &&Elector| {
            let own = read.held.iter().filter(|record| record.hotkey == elector.hotkey && record.block <= deadline);
            own.min_by_key(|record| record.block).is_some_and(|record| record.held.holds(&read.pool, uid))
        };
        let stake = |electors: &[&Elector]| {
            Alpha::from_rao(electors.iter().fold(0u64, |sum, elector| sum.saturating_add(elector.stake)))
        };
        let mut by: Vec<&Elector> = electors.iter().filter(holds).collect();
        by.sort_by_key(|elector| elector.uid);
        Ok(Some(HeldFact {
            is_in_pool: read.pool.binary_search(&uid).is_ok(),
            stake: stake(&by),
            of: stake(&electors.iter().collect::<Vec<_>>()),
            holders: by.into_iter().map(|elector| elector.uid).collect(),
        }))
    }

    async fn ballots(&self, run: &Rules, window: Window, uid: Uid) -> Result<Vec<Ballot>, RecordError> {
        let electors = self.electors(run, window).await?;
        let (_, votes) = self.votes(run, window, &electors).await?;
        let (deadline, standing) = (run.phases.open(window), self.standing(run, window));
        let ballot = |elector: &Elector| {
            let own = votes.iter().filter(|record| record.hotkey == elector.hotkey && record.block <= deadline);
            let record = own.min_by_key(|record| record.block)?;
            Some(Ballot {
                validator: elector.uid,
                stake: Alpha::from_rao(elector.stake),
                block: record.block,
                finding: record.vote.findings().miners.iter().find(|finding| finding.uid == uid).copied(),
                verdict: record.vote.verdict(),
                right_votes: standing.as_ref().map(|standing| standing.count_of(&elector.hotkey)),
            })
        };
        Ok(electors.iter().filter_map(ballot).collect())
    }

    /// A verdict explains and decides nothing: one that is gone leaves the rest.
    async fn verdict_on(&self, run: &Rules, window: Window, uid: Uid) -> Result<Option<VerdictFact>, RecordError> {
        let electors = self.electors(run, window).await?;
        let (_, votes) = self.votes(run, window, &electors).await?;
        let Some((hash, from)) = leading_verdict(&electors, &votes, run.phases.open(window)) else { return Ok(None) };
        let Ok(verdict) = fetch_verdict(run, self, window, hash, &from).await else { return Ok(None) };
        Ok(verdict.miner(uid).map(|own| VerdictFact {
            hash,
            standing: own.standing.describe(),
            payload: own.payload,
            tokens: own.tokens,
            contribution: own.contribution.as_ref().map(|own| (own.mean.to_f64(), own.standard_error.to_f64())),
            rating_before: own.rating_before,
            rating_after: own.rating_after,
        }))
    }

    async fn recompute(
        &self,
        run: &Rules,
        window: Window,
        uid: Uid,
        agreed: &AgreedFindings,
    ) -> Result<Recomputed, RecordError> {
        let (from, mut ratings) = self.ratings_at_start_of(run, window).await?;
        let rating = |ratings: &Ratings| ratings.miners.get(&uid).map(|record| record.rating);
        let (before, rank) = (rating(&ratings), rank_of(&ratings, uid));
        self.settle(run, window, agreed, &mut ratings).await?;
        let weights = weights(&ratings, &run.genesis.economics, window);
        let electors = self.electors(run, window).await?;
        let majority = applied_majority(&electors, &self.reports(window).await?);
        Ok(Recomputed {
            from,
            before,
            after: rating(&ratings),
            rank,
            is_paid: ratings.miners.get(&uid).is_some_and(|record| record.is_paid),
            weight: weights.iter().find(|(own, _)| *own == uid).map_or(0, |(_, weight)| *weight),
            root: ratings.root(),
            agreed_root: majority.map(|majority| majority.applied.record),
        })
    }

    async fn pay_of(&self, uid: Uid) -> Result<Option<PayFact>, RecordError> {
        let metagraph = self.chain.metagraph(self.netuid, None).await?;
        let pay = |own: &templar_chain::Neuron| PayFact {
            block: metagraph.block,
            incentive: own.incentive,
            emission: own.emission,
        };
        Ok(metagraph.neurons.iter().find(|own| own.uid == uid).map(pay))
    }
}

/// The place of a miner among all ratings, 1 for the best.
fn rank_of(ratings: &Ratings, uid: Uid) -> Option<usize> {
    let own = ratings.miners.get(&uid)?.rating.value();
    Some(1 + ratings.miners.values().filter(|record| record.rating.value() > own).count())
}
