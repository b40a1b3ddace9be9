//! The gradient of the whole model against finite differences, on odd sizes.

use templar_base::random::Stream;
use templar_engine::{
    Batch, Buffer, CpuBackend, DeviceName, Engine, IGNORED_TOKEN, ModelConfig, OpenRequest, Segments,
    initial_parameters, open, preset,
};

fn config(tied: bool, qk_norm: bool, kv_heads: usize) -> ModelConfig {
    ModelConfig {
        hidden_size: 10,
        intermediate_size: 14,
        num_hidden_layers: 2,
        num_attention_heads: 4,
        num_key_value_heads: kv_heads,
        head_dim: 6,
        tie_word_embeddings: tied,
        qk_norm,
        initializer_range: 0.4,
        ..preset("nano", 23).unwrap()
    }
}

fn random_tokens(count: usize, vocab: u64) -> Vec<u32> {
    let mut stream = Stream::new([5; 32], "tokens", 0);
    (0..count).map(|_| stream.below(vocab) as u32).collect()
}

fn engine(config: &ModelConfig) -> Box<dyn Engine> {
    open(&DeviceName::cpu(), &[&CpuBackend], OpenRequest::new(config.clone())).unwrap()
}

/// The slope of the loss along a random direction within each tensor, from the gradient and from two evaluations.
fn check(config: &ModelConfig, batch: &Batch) {
    let mut engine = engine(config);
    let mut parameters = initial_parameters(config, [2; 32]);
    let mut stream = Stream::new([6; 32], "directions", 0);
    // Norms unlike 1, so that a forgotten factor shows.
    for tensor in engine.layout().tensors().to_vec().iter().filter(|tensor| !tensor.is_matrix()) {
        parameters[tensor.range.clone()].iter_mut().for_each(|value| *value = 0.5 + stream.unit_f32());
    }
    engine.write(Buffer::Parameters, 0, &parameters).unwrap();
    engine.write(Buffer::Gradient, 0, &vec![f32::NAN; parameters.len()]).unwrap();
    let loss = engine.gradient(batch).unwrap();
    let gradient = engine.to_vec(Buffer::Gradient).unwrap();
    assert!(loss > 1.0);
    for tensor in engine.layout().tensors().to_vec() {
        let direction: Vec<f32> = tensor.range.clone().map(|_| 2.0 * stream.unit_f32() - 1.0).collect();
        let along = |x: f32, parameters: &[f32]| {
            let mut moved = parameters.to_vec();
            moved[tensor.range.clone()].iter_mut().zip(&direction).for_each(|(value, d)| *value += x * d);
            moved
        };
        // The loss is a mean over counted targets, which may differ between sequences.
        let counted: Vec<f64> = batch
            .tokens
            .chunks(batch.length + 1)
            .map(|row| row[1..].iter().filter(|&&token| token != IGNORED_TOKEN).count() as f64)
            .collect();
        let mut mean_loss = |parameters: &[f32]| {
            engine.write(Buffer::Parameters, 0, parameters).unwrap();
            let losses = engine.evaluate(batch).unwrap();
            losses.iter().zip(&counted).map(|(&loss, count)| f64::from(loss) * count).sum::<f64>()
                / counted.iter().sum::<f64>()
        };
        let step = 3e-3;
        let slope = |mean_loss: &mut dyn FnMut(&[f32]) -> f64, step: f32| {
            (mean_loss(&along(step, &parameters)) - mean_loss(&along(-step, &parameters))) / (2.0 * f64::from(step))
        };
        // Richardson's combination takes the error of third order away.
        let found = (4.0 * slope(&mut mean_loss, step) - slope(&mut mean_loss, 2.0 * step)) / 3.0;
        let values = &gradient[tensor.range.clone()];
        let expected: f64 = values.iter().zip(&direction).map(|(g, d)| f64::from(*g) * f64::from(*d)).sum();
        let norm = values.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
        assert!((found - expected).abs() < 2e-3 * norm + 3e-4, "{}: {found} for {expected}", tensor.name);
        assert!(norm > 0.0, "{}", tensor.name);
    }
}

#[test]
fn tied_with_grouped_heads() {
    check(&config(true, false, 2), &Batch::new(random_tokens(3 * 46, 23), 3, 45));
}

#[test]
fn untied_with_one_key_value_head() {
    check(&config(false, false, 1), &Batch::new(random_tokens(2 * 8, 23), 2, 7));
}

#[test]
fn with_norms_of_queries_and_keys() {
    check(&config(true, true, 2), &Batch::new(random_tokens(2 * 50, 23), 2, 49));
}

#[test]
fn with_document_boundaries_and_padding() {
    let mut tokens = random_tokens(2 * 90, 23);
    tokens[80..90].fill(IGNORED_TOKEN);
    let batch = Batch { end_of_text: Some(3), ..Batch::new(tokens, 2, 89) };
    check(&config(false, true, 4), &batch);
}

#[test]
fn a_document_does_not_see_the_one_before_and_padding_changes_nothing() {
    let config = config(true, false, 2);
    let mut engine = engine(&config);
    engine.write(Buffer::Parameters, 0, &initial_parameters(&config, [2; 32])).unwrap();
    let mut tokens: Vec<u32> = random_tokens(600, 22).iter().map(|token| token + 1).collect();
    tokens[300] = 0;
    let logits = |engine: &mut dyn Engine, tokens: &[u32]| {
        let batch = Batch { end_of_text: Some(0), ..Batch::new(tokens.to_vec(), 1, 599) };
        engine.logits(&batch).unwrap()
    };
    let before = logits(engine.as_mut(), &tokens);
    tokens[..300].iter_mut().for_each(|token| *token = 23 - *token);
    let after = logits(engine.as_mut(), &tokens);
    let second = 301 * 23;
    assert_eq!(before[second..], after[second..]);
    assert_ne!(before[..second], after[..second]);

    let short = Batch::new(tokens[..20].to_vec(), 1, 19);
    let mut padded = tokens[..20].to_vec();
    padded.resize(50, IGNORED_TOKEN);
    let padded = Batch::new(padded, 1, 49);
    assert_eq!(engine.evaluate(&short).unwrap(), engine.evaluate(&padded).unwrap());
}
