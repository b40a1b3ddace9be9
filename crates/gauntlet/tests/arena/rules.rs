//! The rules of the arena's run.

use templar_base::{
    BlockHash, BlockNumber, ContentHash, DataRule, Economics, FirstParameters, GENESIS_VERSION, Genesis,
    InnerOptimiser, InnerSchedule, JudgingRule, ModelConfig, Netuid, OuterRule, StateHash, WindowBudget, WindowClock,
};

/// 32 tokens a step, 4 steps a window; the rest as a run would have it.
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
        name: "arena".to_owned(),
        ledger: BlockHash::default(),
        netuid: Netuid(3),
        clock: WindowClock { start_block: BlockNumber(0), blocks_per_window: 32 },
        budget,
        model,
        numerics: "strict-2".to_owned(),
        first_parameters: FirstParameters::Seed(ContentHash::default()),
        first_state: StateHash::default(),
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
            error_feedback_decay: 0.9,
            tensor_classes: Vec::new(),
            alpha: 0.7,
            final_alpha: 0.7,
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
            selected: 15,
            newcomer_places: 2,
            newcomer_windows: 4,
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
