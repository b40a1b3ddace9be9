//! Who trains on what: the sequences of each (run, window, uid), and those to evaluate on.
//!
//! The training tokens are cut into sequences. An epoch permutes all of them under a key of (run, epoch); each window
//! takes the next slice of the permutation, and each slot its part of the slice. The beacon of the window's start
//! block says which uid has which slot. So nobody knows what he will train on before the window starts, two miners of
//! a window share nothing, and nothing comes back before the epoch is over. All of it is arithmetic on indices: no
//! token is needed, and a judge computes any miner's share at once.

use crate::permutation::Permutation;
use crate::token_shards::TokensUnreadable;
use serde::{Deserialize, Serialize};
use templar_base::{Beacon, ContentHash, DataRule, RunId, Uid, Window};

/// How the text is shared out in a run; every node takes it from the genesis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssignmentRule {
    /// Tokens that a sequence predicts; the sequence itself has one more.
    pub sequence_length: u32,
    /// Sequences of one inner step's batch.
    pub sequences_per_batch: u32,
    /// Batches that one miner gets per window: the most inner steps, and those that are carried into the next window.
    pub batches_per_window: u32,
    /// How many uids get a share: the uids under this number.
    pub slots: u16,
}

impl AssignmentRule {
    /// The rule in a genesis document.
    pub fn of_genesis(data: &DataRule) -> Result<Self, PlanError> {
        let number = |field, value: usize| u32::try_from(value).map_err(|_| PlanError::TooLargeInRule { field });
        Ok(Self {
            sequence_length: number("sequence_length", data.sequence_length)?,
            sequences_per_batch: number("sequences_per_batch", data.sequences_per_batch)?,
            batches_per_window: number("batches_per_window", data.batches_per_window)?,
            slots: data.slots,
        })
    }

    /// Sequences that one miner gets per window.
    pub fn sequences_per_slot(&self) -> u64 {
        u64::from(self.sequences_per_batch) * u64::from(self.batches_per_window)
    }

    /// Sequences that a window hands out, over all slots.
    pub fn sequences_per_window(&self) -> u64 {
        // The product of a u32, a u32 and a u16 may pass 64 bits; a rule like this asks for more text than exists.
        self.sequences_per_slot().saturating_mul(u64::from(self.slots))
    }

    /// Training tokens that the rule needs to have `windows` windows in an epoch.
    pub fn tokens_needed(&self, windows: u64) -> u64 {
        self.sequences_per_window()
            .saturating_mul(windows)
            .saturating_mul(u64::from(self.sequence_length))
            .saturating_add(1)
    }
}

/// Why a text cannot be shared out by a rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// A number of the rule is zero.
    #[error("`{field}` of the assignment rule is zero; the genesis is at fault")]
    ZeroInRule {
        /// The name of the number.
        field: &'static str,
    },
    /// A number of the rule is beyond any text.
    #[error("`{field}` of the assignment rule does not fit in 32 bits; the genesis is at fault")]
    TooLargeInRule {
        /// The name of the number.
        field: &'static str,
    },
    /// One window needs more text than there is.
    #[error(
        "the text has {tokens} training tokens and one window needs {tokens_needed} (about {bytes_needed} bytes of \
         text): give more text, or take fewer slots, smaller batches, fewer steps or shorter sequences"
    )]
    TextTooSmall {
        /// Training tokens that there are.
        tokens: u64,
        /// Training tokens that there must be.
        tokens_needed: u64,
        /// About so many bytes of text have that many tokens.
        bytes_needed: u64,
    },
}

/// Why there are no sequences for a window.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum AssignmentError {
    /// The uid has no share.
    #[error("uid {uid} has no share of the text: the run has {slots} slots")]
    NoSlot {
        /// The uid that was asked for.
        uid: Uid,
        /// Uids under this number have a share.
        slots: u16,
    },
    /// More evaluation sequences are wanted than lie outside the training of the window.
    #[error(
        "{wanted} evaluation sequences are wanted and {available} lie outside the training of the window: give more \
         text or evaluate on fewer sequences"
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
}

/// Bytes of English text per token, rounded up: what an error tells people. Byte-level BPE has 3.5 to 4.5 bytes a
/// token at vocabularies of 4 to 50 thousand.
const BYTES_PER_TOKEN: u64 = 5;

impl AssignmentPlan {
    /// The plan for a text of `train_tokens` tokens; an error where not even one window fits.
    pub fn new(run: RunId, rule: AssignmentRule, train_tokens: u64) -> Result<Self, PlanError> {
        let numbers = [
            ("sequence_length", rule.sequence_length),
            ("sequences_per_batch", rule.sequences_per_batch),
            ("batches_per_window", rule.batches_per_window),
            ("slots", u32::from(rule.slots)),
        ];
        if let Some((field, _)) = numbers.into_iter().find(|(_, value)| *value == 0) {
            return Err(PlanError::ZeroInRule { field });
        }
        let sequences = train_tokens.saturating_sub(1) / u64::from(rule.sequence_length);
        if sequences < rule.sequences_per_window() {
            let tokens_needed = rule.tokens_needed(1);
            return Err(PlanError::TextTooSmall {
                tokens: train_tokens,
                tokens_needed,
                bytes_needed: tokens_needed.saturating_mul(BYTES_PER_TOKEN),
            });
        }
        Ok(Self { run, rule, sequences })
    }

    /// The rule of the plan.
    pub fn rule(&self) -> &AssignmentRule {
        &self.rule
    }

    /// Sequences of the whole text.
    pub fn sequences(&self) -> u64 {
        self.sequences
    }

    /// Windows until sequences come back; at least 1.
    pub fn windows_per_epoch(&self) -> u64 {
        self.sequences / self.rule.sequences_per_window()
    }

    /// The epoch of a window, and the window's number within the epoch.
    pub fn epoch_of(&self, window: Window) -> (u64, u64) {
        (window.period(self.windows_per_epoch()), window.position(self.windows_per_epoch()))
    }

    /// The slot of a uid in a window whose start block has this beacon.
    pub fn slot_of(&self, window: Window, uid: Uid, beacon: &Beacon) -> Result<u16, AssignmentError> {
        let slots = self.rule.slots;
        if uid.0 >= slots {
            return Err(AssignmentError::NoSlot { uid, slots });
        }
        let key = joined_key("templar slots of a window", &self.run, beacon);
        let permutation = Permutation::new(u64::from(slots), key, "slots", window.0);
        // A permutation of u16 many values stays in u16.
        Ok(permutation.at(u64::from(uid.0)) as u16)
    }

    /// The sequence indices of a uid in a window, in the order of training: `sequences_per_batch` to a batch.
    pub fn sequences_of(&self, window: Window, uid: Uid, beacon: &Beacon) -> Result<Vec<u64>, AssignmentError> {
        let slot = self.slot_of(window, uid, beacon)?;
        let (epoch, number) = self.epoch_of(window);
        let permutation = self.epoch_permutation(epoch);
        let per_slot = self.rule.sequences_per_slot();
        let start = number * self.rule.sequences_per_window() + u64::from(slot) * per_slot;
        Ok((start..start + per_slot).map(|position| permutation.at(position)).collect())
    }

    /// How many sequences lie outside a window's training and, in epochs of three windows or more, outside the next
    /// window's (miners train on it already while this one is judged). A lower bound at an epoch's last window.
    pub fn available_to_evaluate(&self) -> u64 {
        let slices = if self.windows_per_epoch() >= 3 { 2 } else { 1 };
        self.sequences - slices * self.rule.sequences_per_window()
    }

    /// `count` distinct sequence indices to evaluate a window on, drawn by a beacon: none of them is trained on in
    /// this window nor, in epochs of three windows or more, in the next.
    pub fn evaluation_sequences(
        &self,
        window: Window,
        beacon: &Beacon,
        count: usize,
    ) -> Result<Vec<u64>, AssignmentError> {
        let available = self.available_to_evaluate();
        if count as u64 > available {
            return Err(AssignmentError::TooFewToEvaluate { wanted: count as u64, available });
        }
        let slice = self.rule.sequences_per_window();
        let (epoch, number) = self.epoch_of(window);
        let spare_next = self.windows_per_epoch() >= 3;
        let last = number + 1 == self.windows_per_epoch();
        let excluded_start = number * slice;
        let excluded = if spare_next && !last { 2 * slice } else { slice };
        // The last window's successor opens the next epoch, whose order is another one: look each index up in it.
        let next_epoch = (spare_next && last).then(|| self.epoch_permutation(epoch.wrapping_add(1)));

        let key = joined_key("templar evaluation of a window", &self.run, beacon);
        let draw = Permutation::new(self.sequences - excluded, key, "evaluation", window.0);
        let order = self.epoch_permutation(epoch);
        let indices = (0..draw.size()).map(|turn| {
            let position = draw.at(turn);
            order.at(if position < excluded_start { position } else { position + excluded })
        });
        let spared = |index: &u64| next_epoch.as_ref().is_none_or(|next| next.position_of(*index) >= slice);
        Ok(indices.filter(spared).take(count).collect())
    }

    fn epoch_permutation(&self, epoch: u64) -> Permutation {
        Permutation::new(self.sequences, *self.run.as_bytes(), "epoch of the text", epoch)
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

/// One key of a run and a beacon, apart from all other uses of the two.
fn joined_key(context: &str, run: &RunId, beacon: &Beacon) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key(context);
    hasher.update(run.as_bytes());
    hasher.update(beacon.as_bytes());
    *hasher.finalize().as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;
    use templar_base::CorpusHashes;

    fn beacon(number: u64) -> Beacon {
        Beacon::new(*blake3::hash(&number.to_le_bytes()).as_bytes())
    }

    fn rule() -> impl Strategy<Value = AssignmentRule> {
        (1u32..9, 1u32..4, 1u32..5, 1u16..9).prop_map(|(length, sequences, batches, slots)| AssignmentRule {
            sequence_length: length,
            sequences_per_batch: sequences,
            batches_per_window: batches,
            slots,
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn an_epoch_hands_out_each_sequence_at_most_once_and_all_but_a_rest(
            rule in rule(), windows in 1u64..6, extra in 0u64..40, run in any::<[u8; 32]>(),
        ) {
            let tokens = rule.tokens_needed(windows) + extra;
            let plan = AssignmentPlan::new(RunId::new(run), rule, tokens).unwrap();
            prop_assert!(plan.windows_per_epoch() >= windows);
            for epoch in 0..2 {
                let mut seen = BTreeSet::new();
                for number in 0..plan.windows_per_epoch() {
                    let window = Window(epoch * plan.windows_per_epoch() + number);
                    for uid in 0..rule.slots {
                        for index in plan.sequences_of(window, Uid(uid), &beacon(window.0)).unwrap() {
                            prop_assert!(index < plan.sequences());
                            prop_assert!(seen.insert(index), "sequence {} came twice", index);
                        }
                    }
                }
                let rest = plan.sequences() - seen.len() as u64;
                prop_assert!(rest < rule.sequences_per_window());
            }
        }

        #[test]
        fn evaluation_is_distinct_reproducible_and_outside_the_training(
            rule in rule(), windows in 2u64..7, extra in 0u64..40, window in 0u64..20, run in any::<[u8; 32]>(),
        ) {
            let plan = AssignmentPlan::new(RunId::new(run), rule, rule.tokens_needed(windows) + extra).unwrap();
            let count = plan.available_to_evaluate().min(16) as usize;
            let drawn = plan.evaluation_sequences(Window(window), &beacon(1), count).unwrap();
            prop_assert_eq!(drawn.len(), count);
            prop_assert_eq!(&drawn, &plan.evaluation_sequences(Window(window), &beacon(1), count).unwrap());
            let set: BTreeSet<u64> = drawn.iter().copied().collect();
            prop_assert_eq!(set.len(), count);
            let spared = if plan.windows_per_epoch() >= 3 { window..window + 2 } else { window..window + 1 };
            for trained in spared {
                for uid in 0..rule.slots {
                    for index in plan.sequences_of(Window(trained), Uid(uid), &beacon(7)).unwrap() {
                        prop_assert!(!set.contains(&index));
                    }
                }
            }
        }

        #[test]
        fn any_window_and_uid_gets_an_answer(window: u64, uid: u16, run in any::<[u8; 32]>()) {
            let rule = AssignmentRule { sequence_length: 3, sequences_per_batch: 2, batches_per_window: 2, slots: 5 };
            let plan = AssignmentPlan::new(RunId::new(run), rule, 500).unwrap();
            prop_assert_eq!(plan.sequences_of(Window(window), Uid(uid), &beacon(0)).is_ok(), uid < 5);
            prop_assert!(plan.evaluation_sequences(Window(window), &beacon(0), 20).is_ok());
        }
    }

    #[test]
    fn the_beacon_decides_who_gets_what() {
        let rule = AssignmentRule { sequence_length: 8, sequences_per_batch: 2, batches_per_window: 3, slots: 64 };
        let plan = AssignmentPlan::new(RunId::new([3; 32]), rule, rule.tokens_needed(4)).unwrap();
        let share = |number| plan.sequences_of(Window(2), Uid(5), &beacon(number)).unwrap();
        assert_eq!(share(1), share(1));
        assert!((2..12).any(|number| share(number) != share(1)));
    }

    #[test]
    fn too_little_text_is_said_with_numbers() {
        let rule = AssignmentRule { sequence_length: 8, sequences_per_batch: 2, batches_per_window: 3, slots: 4 };
        assert_eq!(rule.tokens_needed(1), 193);
        assert!(AssignmentPlan::new(RunId::default(), rule, 193).is_ok());
        let error = AssignmentPlan::new(RunId::default(), rule, 192).unwrap_err();
        assert_eq!(error, PlanError::TextTooSmall { tokens: 192, tokens_needed: 193, bytes_needed: 965 });
        let zero = AssignmentRule { slots: 0, ..rule };
        assert_eq!(
            AssignmentPlan::new(RunId::default(), zero, 193).unwrap_err(),
            PlanError::ZeroInRule { field: "slots" }
        );
    }

    #[test]
    fn the_rule_of_a_genesis_is_taken_over() {
        let mut data = DataRule::of(CorpusHashes::default(), 128);
        data.batches_per_window = 30;
        let rule = AssignmentRule::of_genesis(&data).unwrap();
        assert_eq!((rule.sequences_per_slot(), rule.sequences_per_window()), (240, 3840));
        data.batches_per_window = usize::MAX;
        assert_eq!(AssignmentRule::of_genesis(&data), Err(PlanError::TooLargeInRule { field: "batches_per_window" }));
    }

    #[test]
    fn a_rule_of_the_largest_numbers_is_refused_without_overflow() {
        let rule = AssignmentRule {
            sequence_length: u32::MAX,
            sequences_per_batch: u32::MAX,
            batches_per_window: u32::MAX,
            slots: u16::MAX,
        };
        assert!(matches!(
            AssignmentPlan::new(RunId::default(), rule, u64::MAX),
            Err(PlanError::TextTooSmall { tokens_needed: u64::MAX, .. })
        ));
    }

    #[test]
    fn one_window_in_an_epoch_leaves_the_rest_to_evaluate() {
        let rule = AssignmentRule { sequence_length: 8, sequences_per_batch: 1, batches_per_window: 3, slots: 2 };
        let plan = AssignmentPlan::new(RunId::default(), rule, 8 * 8 + 1).unwrap();
        assert_eq!((plan.windows_per_epoch(), plan.available_to_evaluate()), (1, 2));
        assert_eq!(plan.evaluation_sequences(Window(3), &beacon(0), 2).unwrap().len(), 2);
        assert!(matches!(
            plan.evaluation_sequences(Window(3), &beacon(0), 3),
            Err(AssignmentError::TooFewToEvaluate { wanted: 3, available: 2 })
        ));
    }
}
