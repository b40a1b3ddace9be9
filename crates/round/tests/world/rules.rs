//! The rules of the world's run, and what each effect must keep to.

use super::World;
use templar_base::{
    BlockHash, BlockNumber, ContentHash, DataRule, Economics, FirstParameters, GENESIS_VERSION, Genesis,
    InnerOptimiser, InnerSchedule, JudgingRule, ModelConfig, Netuid, OuterRule, WindowBudget, WindowClock,
};
use templar_round::Effect;

impl World {
    /// Checks an effect at the moment when a machine asks for it.
    pub(super) fn check(&mut self, index: usize, effect: &Effect) {
        let (seed, head) = (self.seed, self.head);
        let node = &mut self.nodes[index];
        match effect {
            Effect::Seal { window, start } => {
                assert!(node.sealed.insert(*window), "seed {seed}: node {index} seals window {window} twice");
                assert_eq!(self.phases.window_of(node_head(node)), Some(*window), "seed {seed}: seals another window");
                if !node.corrupted {
                    assert_eq!(
                        self.states.get(window),
                        Some(start),
                        "seed {seed}: node {index} sends from a stray state"
                    );
                }
            }
            Effect::Reveal { window } => {
                assert!(head >= self.phases.end(*window).0, "seed {seed}: node {index} reveals before the end");
            }
            Effect::Vote { window, .. } => {
                assert!(node.voted.insert(*window), "seed {seed}: node {index} votes twice on window {window}");
                assert!(node_head(node) < self.phases.judge(*window), "seed {seed}: a vote that comes too late");
            }
            Effect::Apply { window, aggregate } => {
                let known = *self.decided.entry(*window).or_insert(*aggregate);
                assert_eq!(known, *aggregate, "seed {seed}: node {index} decides window {window} otherwise");
            }
            _ => {}
        }
    }
}

fn node_head(node: &super::Node) -> BlockNumber {
    node.machine.as_ref().map_or(BlockNumber(0), |machine| machine.follower().head())
}

/// 32 blocks a window; a checkpoint every 3, objects kept for 8.
pub fn genesis() -> Genesis {
    let budget = WindowBudget {
        seal_blocks: 6,
        reveal_blocks: 4,
        judge_blocks: 11,
        apply_blocks: 16,
        retention_windows: 8,
        checkpoint_windows: 3,
    };
    let model = ModelConfig {
        vocab_size: 256,
        hidden_size: 16,
        intermediate_size: 32,
        num_hidden_layers: 1,
        num_attention_heads: 1,
        num_key_value_heads: 1,
        head_dim: 16,
        max_position_embeddings: 32,
        rms_norm_eps: 1e-5,
        rope_theta: 1e4,
        rope_scaling: None,
        tie_word_embeddings: true,
        qk_norm: false,
        initializer_range: 0.02,
    };
    let schedule = InnerSchedule {
        peak: 1e-3,
        warm_up_windows: 1,
        decay_from_window: 100,
        decay_to_window: 200,
        final_share: 0.1,
    };
    Genesis {
        version: GENESIS_VERSION,
        name: "world".to_owned(),
        ledger: BlockHash::default(),
        netuid: Netuid(3),
        clock: WindowClock { start_block: BlockNumber(0), blocks_per_window: 32 },
        budget,
        model,
        numerics: "strict-2".to_owned(),
        first_parameters: FirstParameters::Seed(ContentHash::default()),
        first_state: super::first_state(),
        data: DataRule {
            tokenizer: ContentHash::default(),
            manifest: ContentHash::default(),
            sequence_length: 32,
            sequences_per_batch: 1,
            batches_per_window: 4,
            slots: 64,
        },
        inner: InnerOptimiser {
            beta1: 0.9,
            beta2: 0.95,
            epsilon: 1e-8,
            weight_decay: 0.1,
            clip_norm: 1.0,
            hidden_matrices: Default::default(),
            schedule,
        },
        outer: OuterRule {
            error_feedback_decay: 0.95,
            tensor_classes: Vec::new(),
            alpha: 1.0,
            final_alpha: 1.0,
            decay_from_window: 0,
            decay_to_window: 0,
            scale_clip: 4,
            merge: Default::default(),
            domain: Default::default(),
            values: Default::default(),
            step: Default::default(),
        },
        judging: JudgingRule {
            evaluation_sequences: 8,
            evaluation_parts: 8,
            selected: super::SELECTION_LIMIT,
            newcomer_places: 2,
            newcomer_windows: 8,
            admission_share: 0.4,
            confirmation_share: 0.5,
            copy_agreement: 0.25,
            rating_process_noise: 0.02,
            held_out_sequences: 1,
        },
        economics: Economics {
            averaged_windows: 8,
            unselected_share: 0.15,
            ramp_windows: 24,
            weights_every_windows: 2,
        },
    }
}
