//! Model sizes with a name.

use templar_base::ModelConfig;

/// (name, hidden, intermediate, layers, heads, kv heads, longest sequence, tied)
type Preset = (&'static str, usize, usize, usize, usize, usize, usize, bool);

/// Parameters without the tables of the vocabulary: nano 0.33M, tiny 1.2M, small 4.3M (8.5M with its untied 8192-token
/// tables); from 30m on the name says it, about. The sizes from 3b on are those of well-known open models.
const PRESETS: [Preset; 12] = [
    ("nano", 96, 256, 3, 4, 2, 512, true),
    ("tiny", 160, 432, 4, 5, 5, 1024, true),
    ("small", 256, 688, 6, 8, 4, 2048, false),
    ("30m", 512, 1408, 10, 8, 4, 2048, true),
    ("120m", 768, 2048, 18, 12, 4, 2048, true),
    ("350m", 1024, 2816, 30, 16, 4, 4096, true),
    ("1b", 2048, 5632, 22, 32, 4, 4096, true),
    ("3b", 3072, 8192, 28, 24, 8, 8192, true),
    ("8b", 4096, 14336, 32, 32, 8, 8192, false),
    ("14b", 5120, 13824, 48, 40, 8, 8192, false),
    ("32b", 5120, 27648, 64, 40, 8, 8192, false),
    ("72b", 8192, 28672, 80, 64, 8, 8192, false),
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
    PRESETS.iter().map(|preset| preset.0).collect()
}

/// The sizes of this name for a vocabulary of `vocab_size` tokens.
pub fn preset(name: &str, vocab_size: usize) -> Result<ModelConfig, UnknownPreset> {
    let found = PRESETS.iter().find(|preset| preset.0 == name);
    let &(_, hidden, intermediate, layers, heads, kv_heads, positions, tied) =
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
        tie_word_embeddings: tied,
        qk_norm: false,
        initializer_range: 0.02,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_passes_its_check_and_has_the_size_of_its_name() {
        let expected = [0.33e6, 1.2e6, 4.3e6, 28e6, 113e6, 338e6, 969e6, 2.82e9, 6.98e9, 13.2e9, 31.2e9, 68.4e9];
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
