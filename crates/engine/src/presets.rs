//! Model sizes with a name.

use templar_base::ModelConfig;

/// The sizes of a preset that depend on nothing else.
struct Preset {
    name: &'static str,
    hidden: usize,
    intermediate: usize,
    layers: usize,
    heads: usize,
    kv_heads: usize,
    /// The longest sequence.
    positions: usize,
    is_tied: bool,
}

/// Parameters without the tables of the vocabulary: nano 0.33M, tiny 1.2M, small 4.3M (8.5M with its untied 8192-token
/// tables); from 30m on the name says it, about. The sizes from 3b on are those of well-known open models. From 1b on heads
/// are 128 wide, which the attention kernels of GPUs serve best.
#[rustfmt::skip]
const PRESETS: [Preset; 12] = [
    Preset { name: "nano", hidden: 96, intermediate: 256, layers: 3, heads: 4, kv_heads: 2, positions: 512, is_tied: true },
    Preset { name: "tiny", hidden: 160, intermediate: 432, layers: 4, heads: 5, kv_heads: 5, positions: 1024, is_tied: true },
    Preset { name: "small", hidden: 256, intermediate: 688, layers: 6, heads: 8, kv_heads: 4, positions: 2048, is_tied: false },
    Preset { name: "30m", hidden: 512, intermediate: 1408, layers: 10, heads: 8, kv_heads: 4, positions: 2048, is_tied: true },
    Preset { name: "120m", hidden: 768, intermediate: 2048, layers: 18, heads: 12, kv_heads: 4, positions: 2048, is_tied: true },
    Preset { name: "350m", hidden: 1024, intermediate: 2816, layers: 30, heads: 16, kv_heads: 4, positions: 4096, is_tied: true },
    Preset { name: "1b", hidden: 2048, intermediate: 5632, layers: 22, heads: 16, kv_heads: 4, positions: 4096, is_tied: true },
    Preset { name: "3b", hidden: 3072, intermediate: 8192, layers: 28, heads: 24, kv_heads: 8, positions: 8192, is_tied: true },
    Preset { name: "8b", hidden: 4096, intermediate: 14336, layers: 32, heads: 32, kv_heads: 8, positions: 8192, is_tied: false },
    Preset { name: "14b", hidden: 5120, intermediate: 13824, layers: 48, heads: 40, kv_heads: 8, positions: 8192, is_tied: false },
    Preset { name: "32b", hidden: 5120, intermediate: 27648, layers: 64, heads: 40, kv_heads: 8, positions: 8192, is_tied: false },
    Preset { name: "72b", hidden: 8192, intermediate: 28672, layers: 80, heads: 64, kv_heads: 8, positions: 8192, is_tied: false },
];

/// Long contexts want slower rotations.
const LONG_CONTEXT_THETA: f64 = 500_000.0;

/// A preset's name that does not exist.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown model preset `{name}`; choose one of: {}", preset_names().join(", "))]
pub struct UnknownPreset {
    /// The name that was asked for.
    pub name: String,
}

/// The names that [`preset`] knows, smallest first.
pub fn preset_names() -> Vec<&'static str> {
    PRESETS.iter().map(|preset| preset.name).collect()
}

/// The sizes of this name for a vocabulary of `vocab_size` tokens.
pub fn preset(name: &str, vocab_size: usize) -> Result<ModelConfig, UnknownPreset> {
    let found = PRESETS.iter().find(|preset| preset.name == name);
    let &Preset { hidden, intermediate, layers, heads, kv_heads, positions, is_tied, .. } =
        found.ok_or_else(|| UnknownPreset { name: name.to_owned() })?;
    Ok(ModelConfig {
        vocab_size,
        hidden_size: hidden,
        intermediate_size: intermediate,
        num_hidden_layers: layers,
        num_attention_heads: heads,
        num_key_value_heads: kv_heads,
        head_dim: hidden / heads,
        max_position_embeddings: positions,
        rms_norm_eps: 1e-5,
        rope_theta: if positions > 4096 { LONG_CONTEXT_THETA } else { 10_000.0 },
        rope_scaling: None,
        tie_word_embeddings: is_tied,
        qk_norm: false,
        initializer_range: 0.02,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_passes_its_check_and_has_the_size_of_its_name() {
        let expected = [0.33e6, 1.2e6, 4.3e6, 28e6, 113e6, 338e6, 992e6, 2.82e9, 6.98e9, 13.2e9, 31.2e9, 68.4e9];
        assert_eq!(preset_names().len(), expected.len());
        for (name, expected) in preset_names().into_iter().zip(expected) {
            let config = preset(name, 8192).unwrap();
            config.check().unwrap();
            let tables = config.vocab_size * config.hidden_size * if config.tie_word_embeddings { 1 } else { 2 };
            let body = (config.parameter_count() - tables) as f64;
            assert!((body / expected - 1.0).abs() < 0.1, "{name}: {body}");
        }
    }

    #[test]
    fn an_unknown_name_lists_the_known_ones() {
        assert_eq!(
            preset("huge", 10).unwrap_err().to_string(),
            "unknown model preset `huge`; choose one of: nano, tiny, small, 30m, 120m, 350m, 1b, 3b, 8b, 14b, 32b, 72b"
        );
    }
}
