//! Settings of training that change its cost or its rule: recomputed activations, and Muon.

use templar_base::MatrixOptimiser;
use templar_base::random::Stream;
use templar_engine::{
    Batch, Buffer, CpuBackend, DeviceName, Engine, Finish, GenerateOptions, Isa, ModelConfig, OpenRequest,
    OptimiserConfig, OptimiserState, RopeScaling, Segments, initial_parameters, open, preset,
};

/// The parameters after three steps of Muon in [`muon_bits`]. They change only with the kernel version.
const GOLDEN_MUON: &str = "11d8a3ed0de1d35d681aababa50efccf87a43d896366b8fc61694db141184fde";

fn config() -> ModelConfig {
    ModelConfig {
        hidden_size: 40,
        intermediate_size: 76,
        num_hidden_layers: 3,
        head_dim: 10,
        qk_norm: true,
        rope_scaling: Some(RopeScaling {
            factor: 8.0,
            low_freq_factor: 1.0,
            high_freq_factor: 4.0,
            original_max_position_embeddings: 128,
        }),
        ..preset("nano", 301).unwrap()
    }
}

fn batch(index: u64, sequences: usize, length: usize) -> Batch {
    let mut stream = Stream::new([7; 32], "batch", index);
    let tokens = (0..sequences * (length + 1)).map(|_| stream.below(301) as u32).collect();
    Batch { end_of_text: Some(5), ..Batch::new(tokens, sequences, length) }
}

fn engine(isa: Isa, threads: usize, hidden_matrices: MatrixOptimiser) -> Box<dyn Engine> {
    let optimiser = OptimiserConfig { hidden_matrices, ..Default::default() };
    let request = OpenRequest::new(config()).with_optimiser(optimiser).with_threads(threads);
    let mut engine = open(&DeviceName::cpu_with(isa), &[&CpuBackend], request).unwrap();
    engine.write(Buffer::Parameters, 0, &initial_parameters(&config(), [3; 32])).unwrap();
    engine
}

fn parameters(engine: &mut Box<dyn Engine>) -> Vec<f32> {
    engine.to_vec(Buffer::Parameters).unwrap()
}

fn digest(values: &[f32]) -> String {
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    blake3::hash(&bytes).to_hex().to_string()
}

#[test]
fn recomputed_activations_change_no_bit() {
    for threads in [1, 2] {
        let mut kept = engine(Isa::best(), threads, MatrixOptimiser::AdamW);
        let mut recomputed = engine(Isa::best(), threads, MatrixOptimiser::AdamW);
        recomputed.set_recomputing(true).unwrap();
        for step in 0..4 {
            // Larger and smaller batches in turn, judging in between, and a change of mind.
            let batches = [batch(2 * step, 2 + step as usize % 3, 70), batch(2 * step + 1, 1, 33)];
            let reports = [&mut kept, &mut recomputed].map(|engine| engine.train_step(&batches, 1e-2).unwrap());
            assert_eq!(reports[0], reports[1]);
            assert_eq!(digest(&parameters(&mut kept)), digest(&parameters(&mut recomputed)), "step {step}");
            let losses = [&mut kept, &mut recomputed].map(|engine| engine.evaluate(&batch(50, 3, 90)).unwrap());
            assert_eq!(losses[0], losses[1]);
            recomputed.set_recomputing(step != 2).unwrap();
        }
    }
}

/// AdamW's formulas in f64, three steps of it.
#[test]
fn adamw_follows_its_formulas() {
    let settings = OptimiserConfig { clip_norm: 0.5, ..Default::default() };
    let request = OpenRequest::new(config()).with_optimiser(settings);
    let mut engine = open(&DeviceName::cpu(), &[&CpuBackend], request).unwrap();
    engine.write(Buffer::Parameters, 0, &initial_parameters(&config(), [3; 32])).unwrap();
    let count = engine.layout().total();
    let (mut m, mut v) = (vec![0.0f64; count], vec![0.0f64; count]);
    let [beta1, beta2, epsilon, decay] =
        [settings.beta1, settings.beta2, settings.epsilon, settings.weight_decay].map(f64::from);
    for step in 1..=3 {
        let rate = 1e-2 / step as f32;
        let before = parameters(&mut engine);
        engine.gradient(&batch(step, 2, 40)).unwrap();
        let gradient = engine.to_vec(Buffer::Gradient).unwrap();
        let report = engine.train_step(&[batch(step, 2, 40)], rate).unwrap();
        let norm = gradient.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
        assert!((f64::from(report.gradient_norm) / norm - 1.0).abs() < 1e-5 && norm > 0.5);
        let rate = f64::from(rate);
        let after = parameters(&mut engine);
        for tensor in engine.layout().tensors() {
            for place in tensor.range.clone() {
                let g = f64::from(gradient[place]) * 0.5 / norm;
                m[place] = beta1 * m[place] + (1.0 - beta1) * g;
                v[place] = beta2 * v[place] + (1.0 - beta2) * g * g;
                let (m, v) = (m[place] / (1.0 - beta1.powi(step as i32)), v[place] / (1.0 - beta2.powi(step as i32)));
                let kept = f64::from(before[place]) * if tensor.is_matrix() { 1.0 - rate * decay } else { 1.0 };
                let expected = kept - rate * m / (v.sqrt() + epsilon);
                let actual = f64::from(after[place]);
                assert!((actual - expected).abs() < 1e-6, "{} {place}: {actual} for {expected}", tensor.name);
            }
        }
    }
}

fn muon_bits(isa: Isa, threads: usize) -> String {
    let mut engine = engine(isa, threads, MatrixOptimiser::Muon);
    for step in 0..3 {
        engine.train_step(&[batch(step, 3, 60)], 1e-2).unwrap();
    }
    digest(&parameters(&mut engine))
}

#[test]
fn muon_gives_the_golden_bits_everywhere() {
    for isa in Isa::available() {
        for threads in [1, 2, 3] {
            assert_eq!(muon_bits(isa, threads), GOLDEN_MUON, "{isa}, {threads} threads");
        }
    }
}

#[test]
fn muon_learns_and_moves_embedding_and_norms_as_adamw_does() {
    let mut engines = [MatrixOptimiser::AdamW, MatrixOptimiser::Muon].map(|rule| engine(Isa::best(), 2, rule));
    let reports = engines.each_mut().map(|engine| engine.train_step(&[batch(0, 2, 50)], 1e-2).unwrap());
    assert_eq!(reports[0], reports[1]);
    let moved = engines.each_mut().map(parameters);
    for tensor in engines[0].layout().tensors() {
        let [adamw, muon] = moved.each_ref().map(|moved| &moved[tensor.range.clone()]);
        assert_eq!(adamw == muon, !tensor.is_hidden(), "{}", tensor.name);
    }
    let muon = &mut engines[1];
    let losses: Vec<f32> = (0..30).map(|_| muon.train_step(&[batch(0, 2, 50)], 1e-2).unwrap().loss).collect();
    assert!(losses[29] < losses[0] - 2.0, "{losses:?}");
}

#[test]
fn muon_goes_on_from_a_saved_state() {
    let mut one = engine(Isa::best(), 1, MatrixOptimiser::Muon);
    one.train_step(&[batch(0, 2, 50)], 1e-2).unwrap();
    let mut other = engine(Isa::best(), 2, MatrixOptimiser::Muon);
    other.write(Buffer::Parameters, 0, &parameters(&mut one)).unwrap();
    OptimiserState::of(one.as_mut()).unwrap().put_into(other.as_mut()).unwrap();
    for engine in [&mut one, &mut other] {
        engine.train_step(&[batch(1, 2, 50)], 1e-2).unwrap();
    }
    assert_eq!(digest(&parameters(&mut one)), digest(&parameters(&mut other)));
}

#[test]
fn texts_made_together_are_those_made_alone_for_any_threads() {
    let drawn = |seed: u8, max_new_tokens| GenerateOptions {
        max_new_tokens,
        temperature: 1.0,
        top_k: 50,
        top_p: 0.9,
        repetition_penalty: 1.2,
        seed: [seed; 32],
        ..Default::default()
    };
    let prompts = [
        (vec![1, 2, 3], drawn(1, 20)),
        ((0..600).map(|token| token % 300).collect(), drawn(2, 5)),
        (vec![9], GenerateOptions { max_new_tokens: 12, ..Default::default() }),
        (vec![4, 4], drawn(1, 0)),
    ];
    let large = ModelConfig { max_position_embeddings: 1024, ..config() };
    let mut all = Vec::new();
    for threads in [1, 2, 3] {
        let request = OpenRequest::new(large.clone()).with_threads(threads);
        let mut engine = open(&DeviceName::cpu(), &[&CpuBackend], request).unwrap();
        engine.write(Buffer::Parameters, 0, &initial_parameters(&large, [3; 32])).unwrap();
        let engine = engine.generator().unwrap();
        let mut streamed = vec![Vec::new(); prompts.len()];
        let texts = engine.generate_batch(&prompts, &mut |text, token| {
            streamed[text].push(token);
            true
        });
        let texts = texts.unwrap();
        assert!(texts.iter().all(|text| text.finish() == Some(Finish::Length)));
        let together: Vec<Vec<u32>> = texts.iter().map(|text| text.tokens().to_vec()).collect();
        assert_eq!(together, streamed);
        assert_eq!(together.iter().map(Vec::len).collect::<Vec<_>>(), [20, 5, 12, 0]);
        for ((prompt, options), tokens) in prompts.iter().zip(&together) {
            assert_eq!(engine.generate(prompt, options, &mut |_| true).unwrap(), *tokens);
        }
        all.push(together);
    }
    assert!(all.iter().all(|texts| *texts == all[0]));
    assert_ne!(all[0][0], all[0][2]);
}
