//! Who trains on what: the sequences of each (run, window, hotkey), and those to evaluate on.
//!
//! The training tokens are cut into sequences. An epoch permutes all of them under a key of (run, epoch), and the order is
//! cut into spans, each for a number of windows. The first positions of a span are its evaluation text, which no miner is
//! assigned in the span; a miner's batches in a window are the beginning of a permutation of the rest, keyed by (run,
//! window, beacon of the window's start block, hotkey). So nobody knows what he will train on before the window starts,
//! any number of miners have text, and what is judged on is not what the run trains on. Two miners may meet on a sequence:
//! both learn from it, and neither loses. All of it is arithmetic on indices: no token is needed, and a judge computes any
//! miner's share at once.

use crate::permutation::Permutation;
use crate::rule::{AssignmentRule, PlanError};
use crate::span::{Span, Spans};
use crate::token_shards::TokensUnreadable;
use templar_base::{Beacon, ContentHash, PublicKey, RunId, Window};

/// Why there are no sequences for a window.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum AssignmentError {
    /// More evaluation sequences are wanted than the evaluation text has.
    #[error(
        "{wanted} evaluation sequences are wanted and the evaluation text has {available}: give more text or evaluate \
         on fewer sequences"
    )]
    TooFewToEvaluate {
        /// How many are wanted.
        wanted: u64,
        /// How many there are.
        available: u64,
    },
    /// A batch or a range of batches past the assignment's end.
    #[error("batch {batch} is past the {batches} batches of a window's assignment")]
    NoBatch {
        /// The batch that was asked for.
        batch: u64,
        /// Batches that there are.
        batches: u32,
    },
    /// The tokens cannot be read.
    #[error(transparent)]
    Tokens(#[from] TokensUnreadable),
}

/// The share-out of a text of known length by a rule, for one run. Pure arithmetic.
#[derive(Debug, Clone)]
pub struct AssignmentPlan {
    run: RunId,
    rule: AssignmentRule,
    sequences: u64,
    spans: Spans,
    /// Sequences of the evaluation text, the same in each span.
    evaluation: u64,
}

impl AssignmentPlan {
    /// The plan for a text of `train_tokens` tokens; an error where not even one window of one miner fits.
    pub fn new(run: RunId, rule: AssignmentRule, train_tokens: u64) -> Result<Self, PlanError> {
        rule.check()?;
        let sequences = train_tokens.saturating_sub(1) / u64::from(rule.sequence_length);
        let least = rule.least_span();
        let spans = Spans::new(sequences, rule.span_sequences.max(least), rule.span_windows);
        if spans.smallest() < least {
            return Err(PlanError::too_small(train_tokens, rule.tokens_needed()));
        }
        let evaluation = rule.evaluation_of(spans.smallest());
        Ok(Self { run, rule, sequences, spans, evaluation })
    }

    /// The rule of the plan.
    pub fn rule(&self) -> &AssignmentRule {
        &self.rule
    }

    /// Sequences of the whole text.
    pub fn sequences(&self) -> u64 {
        self.sequences
    }

    /// Spans of an epoch; at least 1. A text of one span keeps its evaluation text for the whole run.
    pub fn spans_per_epoch(&self) -> u64 {
        self.spans.count()
    }

    /// The sequence indices of a miner in a window whose start block has this beacon, in the order of training:
    /// `sequences_per_batch` to a batch. No index comes twice.
    pub fn sequences_of(&self, window: Window, hotkey: &PublicKey, beacon: &Beacon) -> Vec<u64> {
        let span = self.spans.of(window);
        let key = key_of("templar batches of a miner v1", &[self.run.as_bytes(), beacon.as_bytes(), hotkey.as_bytes()]);
        let choice = Permutation::new(span.size - self.evaluation, key, "batches", window.0);
        let (order, start) = (self.order(span), span.start + self.evaluation);
        (0..self.rule.sequences_per_miner()).map(|turn| order.at(start + choice.at(turn))).collect()
    }

    /// How many sequences the evaluation text of a span has.
    pub fn available_to_evaluate(&self) -> u64 {
        self.evaluation
    }

    /// `count` distinct sequence indices to evaluate a window on, drawn by a beacon from the evaluation text of the
    /// window's span: no miner is assigned any of them in a window of the span.
    pub fn evaluation_sequences(
        &self,
        window: Window,
        beacon: &Beacon,
        count: usize,
    ) -> Result<Vec<u64>, AssignmentError> {
        let (wanted, available) = (count as u64, self.evaluation);
        if wanted > available {
            return Err(AssignmentError::TooFewToEvaluate { wanted, available });
        }
        let span = self.spans.of(window);
        let key = key_of("templar evaluation of a window", &[self.run.as_bytes(), beacon.as_bytes()]);
        let draw = Permutation::new(available, key, "evaluation", window.0);
        let order = self.order(span);
        Ok((0..wanted).map(|turn| order.at(span.start + draw.at(turn))).collect())
    }

    /// The order of a span's epoch.
    fn order(&self, span: Span) -> Permutation {
        Permutation::new(self.sequences, *self.run.as_bytes(), "epoch of the text", span.epoch)
    }
}

/// The digest of the batches that a miner states in its payload: those carried over from the window before, if any, and
/// those of its own share. Both parts are [`Assignment::digest`](crate::Assignment::digest)s.
pub fn digest_of(carried: Option<ContentHash>, own: ContentHash) -> ContentHash {
    match carried {
        None => own,
        Some(carried) => ContentHash::of(&[carried.as_bytes().as_slice(), own.as_bytes()].concat()),
    }
}

/// One key of several values of 32 bytes, apart from all other uses of them.
fn key_of(context: &str, parts: &[&[u8; 32]]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key(context);
    for part in parts {
        hasher.update(*part);
    }
    *hasher.finalize().as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn beacon(number: u64) -> Beacon {
        Beacon::new(*blake3::hash(&number.to_le_bytes()).as_bytes())
    }

    fn miner(number: u16) -> PublicKey {
        PublicKey::new(*blake3::hash(&number.to_le_bytes()).as_bytes())
    }

    fn rule() -> impl Strategy<Value = AssignmentRule> {
        (1u32..9, 1u32..4, 1u32..5, 1u64..60, 1u64..5, 0u32..=50, 0u32..12).prop_map(
            |(length, batch, batches, span, windows, percent, least)| AssignmentRule {
                sequence_length: length,
                sequences_per_batch: batch,
                batches_per_window: batches,
                span_sequences: span,
                span_windows: windows,
                evaluation_percent: percent,
                least_evaluation: least,
            },
        )
    }

    /// A plan for the least text of the rule and some sequences more.
    fn plan(rule: AssignmentRule, more: u64, run: [u8; 32]) -> AssignmentPlan {
        let tokens = rule.tokens_needed() + more * u64::from(rule.sequence_length);
        AssignmentPlan::new(RunId::new(run), rule, tokens).unwrap()
    }

    /// All sequences of a window's evaluation text.
    fn evaluation_text(plan: &AssignmentPlan, window: Window) -> BTreeSet<u64> {
        let all = plan.available_to_evaluate() as usize;
        plan.evaluation_sequences(window, &beacon(0), all).unwrap().into_iter().collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn no_assignment_touches_the_evaluation_text_of_its_span(
            rule in rule(), more in 0u64..200, window in 0u64..1_000, run in any::<[u8; 32]>(),
        ) {
            let plan = plan(rule, more, run);
            let span = plan.spans.of(Window(window));
            let first = window - window % rule.span_windows;
            let judged = evaluation_text(&plan, Window(first));
            prop_assert_eq!(judged.len() as u64, plan.available_to_evaluate());
            for other in first..first + rule.span_windows {
                prop_assert_eq!(plan.spans.of(Window(other)), span);
                prop_assert_eq!(&evaluation_text(&plan, Window(other)), &judged);
                for number in 0..4 {
                    let own = plan.sequences_of(Window(other), &miner(number), &beacon(other));
                    prop_assert!(own.iter().all(|index| !judged.contains(index)));
                }
            }
        }

        #[test]
        fn an_assignment_is_full_reproducible_and_without_repeats(
            rule in rule(), more in 0u64..200, window: u64, hotkey in any::<[u8; 32]>(), run in any::<[u8; 32]>(),
        ) {
            let plan = plan(rule, more, run);
            let own = plan.sequences_of(Window(window), &PublicKey::new(hotkey), &beacon(1));
            prop_assert_eq!(&own, &plan.sequences_of(Window(window), &PublicKey::new(hotkey), &beacon(1)));
            prop_assert_eq!(own.len() as u64, rule.sequences_per_miner());
            prop_assert!(own.iter().all(|index| *index < plan.sequences()));
            prop_assert_eq!(own.iter().collect::<BTreeSet<_>>().len(), own.len());
        }

        #[test]
        fn every_sequence_outside_the_evaluation_text_can_be_assigned(
            rule in rule(), more in 0u64..60, run in any::<[u8; 32]>(),
        ) {
            let rule = AssignmentRule { span_windows: 1, ..rule };
            let plan = plan(rule, more, run);
            let (mut trained, mut judged) = (BTreeSet::new(), BTreeSet::new());
            for number in 0..plan.spans_per_epoch() {
                let window = Window(number);
                let before = trained.len();
                judged.extend(evaluation_text(&plan, window));
                let size = (plan.spans.of(window).size - plan.available_to_evaluate()) as usize;
                // Each key misses a sequence with a chance of at most 1 - own / size.
                for key in 0..20 * size as u16 {
                    trained.extend(plan.sequences_of(window, &miner(key), &beacon(window.0)));
                    if trained.len() == before + size {
                        break;
                    }
                }
                prop_assert_eq!(trained.len(), before + size);
            }
            prop_assert!(trained.is_disjoint(&judged));
            prop_assert_eq!((trained.len() + judged.len()) as u64, plan.sequences());
        }

        #[test]
        fn evaluation_is_distinct_reproducible_and_drawn_by_the_beacon(
            rule in rule(), more in 0u64..200, window: u64, run in any::<[u8; 32]>(),
        ) {
            let plan = plan(rule, more, run);
            let count = rule.least_evaluation as usize;
            let drawn = plan.evaluation_sequences(Window(window), &beacon(1), count).unwrap();
            prop_assert_eq!(&drawn, &plan.evaluation_sequences(Window(window), &beacon(1), count).unwrap());
            prop_assert_eq!(drawn.iter().collect::<BTreeSet<_>>().len(), count);
            let text = evaluation_text(&plan, Window(window));
            prop_assert!(drawn.iter().all(|index| text.contains(index)));
        }
    }

    const RULE: AssignmentRule = AssignmentRule {
        sequence_length: 8,
        sequences_per_batch: 2,
        batches_per_window: 3,
        span_sequences: 500,
        span_windows: 4,
        evaluation_percent: 2,
        least_evaluation: 5,
    };

    /// There were slots once, which the first comers held for ever.
    #[test]
    fn any_number_of_miners_have_text_of_their_own() {
        let plan = plan(RULE, 2_000, [3; 32]);
        let share = |number| plan.sequences_of(Window(2), &miner(number), &beacon(2));
        let shares: BTreeSet<Vec<u64>> = (0..5_000).map(share).collect();
        assert_eq!(shares.len(), 5_000);
    }

    #[test]
    fn windows_beacons_hotkeys_and_runs_give_other_shares() {
        let of = |run, window, hotkey, number| {
            plan(RULE, 2_000, [run; 32]).sequences_of(Window(window), &miner(hotkey), &beacon(number))
        };
        let shares = [of(3, 2, 1, 2), of(3, 3, 1, 2), of(3, 2, 2, 2), of(3, 2, 1, 3), of(4, 2, 1, 2)];
        assert_eq!(shares.iter().collect::<BTreeSet<_>>().len(), 5);
        let judged = |number| plan(RULE, 20_000, [3; 32]).evaluation_sequences(Window(2), &beacon(number), 5).unwrap();
        assert_ne!(judged(1), judged(2));
    }

    #[test]
    fn the_next_epoch_trains_on_what_a_span_was_judged_on() {
        let plan = plan(RULE, 2_000, [3; 32]);
        let epoch = plan.spans_per_epoch() * RULE.span_windows;
        assert_eq!((plan.spans_per_epoch(), plan.available_to_evaluate()), (4, 10));
        let judged = evaluation_text(&plan, Window(0));
        let next: Vec<u64> = (epoch..2 * epoch)
            .flat_map(|window| (0..200).flat_map(move |key| [(window, key)]))
            .flat_map(|(window, key)| plan.sequences_of(Window(window), &miner(key), &beacon(window)))
            .filter(|index| judged.contains(index))
            .collect();
        assert!(next.into_iter().collect::<BTreeSet<_>>().len() >= 9);
    }

    #[test]
    fn a_text_of_one_span_is_judged_on_the_same_text_for_ever() {
        let plan = plan(RULE, 100, [3; 32]);
        assert_eq!((plan.spans_per_epoch(), plan.available_to_evaluate()), (1, 5));
        assert_eq!(evaluation_text(&plan, Window(0)), evaluation_text(&plan, Window(999_999)));
        let order = |number| plan.evaluation_sequences(Window(7), &beacon(number), 5).unwrap();
        assert!((1..9).any(|number| order(number) != order(0)));
        assert!(matches!(
            plan.evaluation_sequences(Window(3), &beacon(0), 6),
            Err(AssignmentError::TooFewToEvaluate { wanted: 6, available: 5 })
        ));
    }

    #[test]
    fn too_little_text_is_said_with_numbers() {
        assert_eq!((RULE.least_span(), RULE.tokens_needed()), (11, 89));
        assert!(AssignmentPlan::new(RunId::default(), RULE, 89).is_ok());
        let error = AssignmentPlan::new(RunId::default(), RULE, 88).unwrap_err();
        assert_eq!(error, PlanError::TextTooSmall { tokens: 88, tokens_needed: 89, bytes_needed: 445 });
        let zero = AssignmentRule { span_windows: 0, ..RULE };
        let error = AssignmentPlan::new(RunId::default(), zero, 193).unwrap_err();
        assert_eq!(error, PlanError::ZeroInRule { field: "span_windows" });
    }

    #[test]
    fn a_rule_of_the_largest_numbers_is_refused_without_overflow() {
        let rule = AssignmentRule {
            sequence_length: u32::MAX,
            sequences_per_batch: u32::MAX,
            batches_per_window: u32::MAX,
            span_sequences: u64::MAX,
            span_windows: u64::MAX,
            evaluation_percent: u32::MAX,
            least_evaluation: u32::MAX,
        };
        assert!(matches!(
            AssignmentPlan::new(RunId::default(), rule, u64::MAX),
            Err(PlanError::TextTooSmall { tokens_needed: u64::MAX, .. })
        ));
    }

    /// Another share-out would make payloads of a running run false.
    #[test]
    fn the_share_out_is_pinned() {
        let plan = plan(RULE, 2_000, [3; 32]);
        assert_eq!(plan.sequences_of(Window(9), &miner(1), &beacon(9)), [691, 833, 1207, 1086, 1200, 1877]);
        assert_eq!(plan.evaluation_sequences(Window(9), &beacon(10), 5).unwrap(), [1366, 824, 267, 1393, 1826]);
    }
}
