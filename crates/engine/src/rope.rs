//! The angles of the rotary position embedding.

use templar_base::ModelConfig;

/// For each position `head_dim / 2` cosines, then as many sines: `[positions, head_dim]`.
///
/// Pair i turns by `position * theta^(-2 i / head_dim)`. Frequency and angle are rounded to f32 as Hugging Face does,
/// so that far positions agree with it; cosine and sine are taken in f64.
pub(crate) fn rope_table(config: &ModelConfig, positions: usize) -> Vec<f32> {
    let frequencies = frequencies(config);
    let mut table = Vec::with_capacity(positions * config.head_dim);
    for position in 0..positions {
        let angles = frequencies.iter().map(|frequency| f64::from(frequency * position as f32));
        table.extend(angles.clone().map(|angle| libm::cos(angle) as f32));
        table.extend(angles.map(|angle| libm::sin(angle) as f32));
    }
    table
}

/// How far each pair of a head turns from one position to the next, in radians.
pub(crate) fn frequencies(config: &ModelConfig) -> Vec<f32> {
    (0..config.head_dim / 2).map(|pair| frequency(config, pair)).collect()
}

fn frequency(config: &ModelConfig, pair: usize) -> f32 {
    let base = 1.0 / libm::pow(config.rope_theta, 2.0 * pair as f64 / config.head_dim as f64);
    let Some(scaling) = &config.rope_scaling else { return base as f32 };
    // Llama 3.1: long waves are slowed, short ones kept, those between in proportion.
    let wavelength = 2.0 * std::f64::consts::PI / base;
    let original = scaling.original_max_position_embeddings as f64;
    let scaled = if wavelength < original / scaling.high_freq_factor {
        base
    } else if wavelength > original / scaling.low_freq_factor {
        base / scaling.factor
    } else {
        let smooth =
            (original / wavelength - scaling.low_freq_factor) / (scaling.high_freq_factor - scaling.low_freq_factor);
        (1.0 - smooth) * base / scaling.factor + smooth * base
    };
    scaled as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preset;
    use templar_base::RopeScaling;

    #[test]
    fn the_first_pair_turns_by_the_position_and_later_pairs_slower() {
        let config = preset("nano", 10).unwrap();
        let table = rope_table(&config, 3);
        let row = &table[2 * config.head_dim..];
        assert_eq!(row[0], libm::cos(2.0) as f32);
        assert_eq!(row[config.head_dim / 2], libm::sin(2.0) as f32);
        let slower = 2.0 / libm::pow(10_000.0, 2.0 / config.head_dim as f64);
        assert!((row[1] - libm::cos(slower) as f32).abs() < 1e-6);
    }

    #[test]
    fn scaling_keeps_short_waves_and_slows_long_ones() {
        let mut config = preset("small", 10).unwrap();
        let plain: Vec<f32> = (0..16).map(|pair| frequency(&config, pair)).collect();
        config.rope_scaling = Some(RopeScaling {
            factor: 8.0,
            low_freq_factor: 1.0,
            high_freq_factor: 4.0,
            original_max_position_embeddings: 512,
        });
        assert_eq!(frequency(&config, 0), plain[0]);
        assert!((frequency(&config, 15) * 8.0 / plain[15] - 1.0).abs() < 1e-6);
        let between = (0..16).filter(|&pair| {
            let share = frequency(&config, pair) / plain[pair];
            share > 0.126 && share < 0.999
        });
        assert!(between.count() > 0);
    }
}
