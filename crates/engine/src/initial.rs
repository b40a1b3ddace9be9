//! The parameters that a run starts from.

use crate::layout::ParamLayout;
use templar_base::ModelConfig;
use templar_base::random::Stream;

/// Random parameters: matrices normal with the config's `initializer_range`, norms 1.
///
/// The same for the same config and seed on every machine. Each tensor has a stream of its own.
pub fn initial_parameters(config: &ModelConfig, seed: [u8; 32]) -> Vec<f32> {
    let layout = ParamLayout::new(config);
    let mut parameters = vec![1.0; layout.total()];
    for (index, tensor) in layout.tensors().iter().enumerate() {
        if tensor.is_matrix() {
            let mut stream = Stream::new(seed, "initial parameters", index as u64);
            fill_normal(&mut stream, f64::from(config.initializer_range), &mut parameters[tensor.range.clone()]);
        }
    }
    parameters
}

/// Two normal values from two uniform ones (Box and Muller), in f64 with libm's functions.
fn fill_normal(stream: &mut Stream, deviation: f64, values: &mut [f32]) {
    for pair in values.chunks_mut(2) {
        // In (0, 1], so that the logarithm is finite.
        let uniform = (f64::from(stream.next_u32()) + 1.0) / 4_294_967_296.0;
        let angle = 2.0 * std::f64::consts::PI * (f64::from(stream.next_u32()) / 4_294_967_296.0);
        let radius = deviation * (-2.0 * libm::log(uniform)).sqrt();
        let (sine, cosine) = libm::sincos(angle);
        pair[0] = (radius * cosine) as f32;
        if let Some(second) = pair.get_mut(1) {
            *second = (radius * sine) as f32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preset;

    #[test]
    fn matrices_are_normal_and_norms_are_one() {
        let config = preset("nano", 256).unwrap();
        let parameters = initial_parameters(&config, [9; 32]);
        let layout = ParamLayout::new(&config);
        for tensor in layout.tensors() {
            let values = &parameters[tensor.range.clone()];
            if !tensor.is_matrix() {
                assert!(values.iter().all(|&value| value == 1.0));
                continue;
            }
            let n = values.len() as f64;
            let mean = values.iter().map(|&x| f64::from(x)).sum::<f64>() / n;
            let variance = values.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / n;
            assert!(mean.abs() < 0.02 * 5.0 / n.sqrt(), "{}: mean {mean}", tensor.name);
            assert!((variance.sqrt() / 0.02 - 1.0).abs() < 5.0 / n.sqrt(), "{}", tensor.name);
        }
        assert_eq!(parameters, initial_parameters(&config, [9; 32]));
        assert_ne!(parameters, initial_parameters(&config, [8; 32]));
    }
}
