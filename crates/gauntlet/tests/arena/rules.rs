//! The rules of the arena's run.

use templar_base::{CorpusHashes, Economics, Genesis, InnerSchedule, ModelConfig, ScaleRule};

/// 32 tokens a step, 4 steps a window; the rest as a run would have it.
pub fn genesis() -> Genesis {
    let mut genesis = Genesis::small(ModelConfig::tiny(256), CorpusHashes::default());
    genesis.name = "arena".to_owned();
    genesis.inner.schedule = InnerSchedule {
        peak: 1e-3,
        warm_up_windows: 1,
        decay_from_window: 100,
        decay_to_window: 200,
        final_share: 0.1,
        ..InnerSchedule::default()
    };
    genesis.outer.error_feedback_decay = 0.9;
    (genesis.outer.alpha, genesis.outer.final_alpha) = (0.7, 0.7);
    genesis.outer.scales = ScaleRule::Clipped { times: 4 };
    genesis.judging.newcomer_windows = 4;
    genesis.economics = Economics { ramp_windows: 24, weights_every_windows: 2 };
    genesis
}
