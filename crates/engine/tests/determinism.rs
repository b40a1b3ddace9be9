//! The same bits for every instruction set and number of threads, and the same bits as ever.

use templar_base::random::Stream;
use templar_engine::{
    Batch, Buffer, CpuBackend, DeltaError, DeviceName, Engine, EngineError, GenerateOptions, IGNORED_TOKEN, Isa,
    ModelConfig, OpenRequest, OptimiserState, Segments, SparseDelta, hash_optimiser, initial_parameters, open, preset,
    read_optimiser, write_optimiser,
};

/// The parameters after three steps of [`trained`]. It changes only together with the kernel version of the numerics.
const GOLDEN: &str = "8363e204a96b3bd4e85a555f9b1accaf9b28e2e83de8ca2159142dbd8793ddfd";

fn config() -> ModelConfig {
    ModelConfig {
        hidden_size: 40,
        intermediate_size: 76,
        num_hidden_layers: 2,
        head_dim: 10,
        qk_norm: true,
        tie_word_embeddings: false,
        ..preset("nano", 301).unwrap()
    }
}

fn batch(index: u64, sequences: usize, length: usize) -> Batch {
    let mut stream = Stream::new([7; 32], "batch", index);
    let tokens = (0..sequences * (length + 1)).map(|_| stream.below(301) as u32).collect();
    Batch { end_of_text: Some(5), ..Batch::new(tokens, sequences, length) }
}

fn engine(isa: Isa, threads: usize) -> Box<dyn Engine> {
    let request = OpenRequest::new(config()).with_threads(threads);
    let mut engine = open(&DeviceName::cpu_with(isa), &[&CpuBackend], request).unwrap();
    engine.write(Buffer::Parameters, 0, &initial_parameters(&config(), [3; 32])).unwrap();
    engine
}

fn parameters(engine: &mut Box<dyn Engine>) -> Vec<f32> {
    engine.to_vec(Buffer::Parameters).unwrap()
}

/// Three steps of two micro-batches of different sizes.
fn trained(isa: Isa, threads: usize) -> Box<dyn Engine> {
    let mut engine = engine(isa, threads);
    for step in 0..3 {
        engine.train_step(&[batch(2 * step, 3, 150), batch(2 * step + 1, 2, 61)], 1e-2).unwrap();
    }
    engine
}

fn digest(values: &[f32]) -> String {
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    blake3::hash(&bytes).to_hex().to_string()
}

#[test]
fn training_gives_the_golden_bits_on_every_instruction_set_and_thread_count() {
    for isa in Isa::available() {
        for threads in [1, 2, 3] {
            assert_eq!(digest(&parameters(&mut trained(isa, threads))), GOLDEN, "{isa}, {threads} threads");
        }
    }
}

#[test]
fn losses_gradients_and_texts_are_the_same_bits_everywhere() {
    let run = |isa, threads| {
        let mut engine = engine(isa, threads);
        let loss = engine.gradient(&batch(9, 2, 100)).unwrap();
        let gradient = engine.to_vec(Buffer::Gradient).unwrap();
        let losses = engine.evaluate(&batch(8, 3, 77)).unwrap();
        let options = GenerateOptions { temperature: 1.0, max_new_tokens: 20, ..Default::default() };
        let text = engine.generator().unwrap().generate(&[1, 2, 3], &options, &mut |_| true).unwrap();
        (loss.to_bits(), digest(&gradient), digest(&losses), text)
    };
    let oracle = run(Isa::Scalar, 1);
    for isa in Isa::available() {
        for threads in [1, 2, 3] {
            assert_eq!(run(isa, threads), oracle, "{isa}, {threads} threads");
        }
    }
}

#[test]
fn a_sparse_delta_is_undone_bit_for_bit() {
    let mut engine = trained(Isa::best(), 2);
    let before = digest(&parameters(&mut engine));
    let total = engine.layout().total() as u32;
    let mut stream = Stream::new([8; 32], "delta", 0);
    let mut indices: Vec<u32> = (0..5000).map(|_| stream.below(u64::from(total)) as u32).collect();
    indices.extend([0, 0, total - 1]);
    let values: Vec<f32> = indices.iter().map(|_| 1e3 * (stream.unit_f32() - 0.5)).collect();
    let delta = SparseDelta { indices: &indices, values: &values };
    let with = engine.evaluate_with(delta, &batch(20, 2, 50)).unwrap();
    assert_eq!(digest(&parameters(&mut engine)), before);

    let unchanged = parameters(&mut engine);
    let mut changed = unchanged.clone();
    indices.iter().zip(&values).for_each(|(&index, value)| changed[index as usize] += value);
    engine.write(Buffer::Parameters, 0, &changed).unwrap();
    assert_eq!(engine.evaluate(&batch(20, 2, 50)).unwrap(), with);
    engine.write(Buffer::Parameters, 0, &unchanged).unwrap();
    engine.add(delta).unwrap();
    assert_eq!(digest(&parameters(&mut engine)), digest(&changed));
    engine.write(Buffer::Parameters, 0, &unchanged).unwrap();

    let outside = SparseDelta { indices: &[0, total], values: &[1.0, 1.0] };
    let refused = engine.evaluate_with(outside, &batch(20, 2, 50)).unwrap_err();
    assert_eq!(refused, EngineError::Delta(DeltaError::Index { index: total as usize, total: total as usize }));
    assert_eq!(digest(&parameters(&mut engine)), before);
}

#[test]
fn training_goes_on_from_a_saved_state_as_if_it_had_not_stopped() {
    let mut one = trained(Isa::best(), 1);
    let mut bytes = Vec::new();
    write_optimiser(one.as_mut(), &mut bytes).unwrap();
    let mut other = engine(Isa::best(), 2);
    other.write(Buffer::Parameters, 0, &parameters(&mut one)).unwrap();
    read_optimiser(other.as_mut(), &mut bytes.as_slice()).unwrap();
    assert_eq!(hash_optimiser(other.as_mut()).unwrap(), hash_optimiser(one.as_mut()).unwrap());
    // Judging in between, with other sizes, leaves no trace.
    other.evaluate(&batch(30, 7, 33)).unwrap();
    other.gradient(&batch(29, 1, 20)).unwrap();
    let reports = [&mut one, &mut other].map(|engine| engine.train_step(&[batch(31, 2, 90)], 1e-3).unwrap());
    assert_eq!(reports[0], reports[1]);
    assert_eq!(digest(&parameters(&mut one)), digest(&parameters(&mut other)));

    one.reset_optimiser().unwrap();
    assert_eq!(OptimiserState::of(one.as_mut()).unwrap(), OptimiserState::new(one.layout().total()));
}

#[test]
fn a_cache_gives_the_logits_of_recomputing() {
    let mut engine = trained(Isa::best(), 1);
    let prompt = [9, 8, 7, 6];
    let options = GenerateOptions { max_new_tokens: 60, ..Default::default() };
    let mut streamed = Vec::new();
    let text = engine.generator().unwrap().generate(&prompt, &options, &mut |token| {
        streamed.push(token);
        true
    });
    let text = text.unwrap();
    assert_eq!(text, streamed);
    assert_eq!(text.len(), 60);
    let mut all = prompt.to_vec();
    for token in &text {
        // One more token than read, since a batch has a target for each input.
        all.push(0);
        let logits = engine.logits(&Batch::new(all.clone(), 1, all.len() - 1)).unwrap();
        let last = &logits[logits.len() - 301..];
        let best = (0..301).rev().max_by(|&a, &b| last[a].total_cmp(&last[b])).unwrap();
        assert_eq!(best as u32, *token);
        all.pop();
        all.push(*token);
    }
    let stop = GenerateOptions { stop_tokens: vec![text[3]], ..options.clone() };
    let first = text.iter().position(|&token| token == text[3]).unwrap();
    assert_eq!(engine.generator().unwrap().generate(&prompt, &stop, &mut |_| true).unwrap(), text[..first]);
    assert_eq!(engine.generator().unwrap().generate(&prompt, &options, &mut |_| false).unwrap(), text[..1]);

    let endless = GenerateOptions { max_new_tokens: usize::MAX, ..Default::default() };
    assert_eq!(engine.generator().unwrap().generate(&[1; 510], &endless, &mut |_| true).unwrap().len(), 2);
    let refused = engine.generator().unwrap().generate(&[1; 512], &endless, &mut |_| true).unwrap_err();
    assert_eq!(refused, EngineError::PromptTooLong { tokens: 512, limit: 512 });
}

#[test]
fn a_prompt_that_is_read_ahead_gives_the_same_text() {
    let config = ModelConfig { max_position_embeddings: 1_300, ..config() };
    let mut engine = open(&DeviceName::cpu(), &[&CpuBackend], OpenRequest::new(config.clone())).unwrap();
    engine.write(Buffer::Parameters, 0, &initial_parameters(&config, [3; 32])).unwrap();
    let options = GenerateOptions { max_new_tokens: 12, logprobs: Some(3), ..Default::default() };
    // The last piece of a prompt may be a single token.
    for length in [3, 512, 513, 1_100] {
        let prompt: Vec<u32> = (0..length).map(|place| place * 7 % 301).collect();
        let generator = engine.generator().unwrap();
        let mut whole = generator.begin(&prompt, &options).unwrap();
        let mut pieces = generator.begin(&prompt, &options).unwrap();
        let mut read = 0;
        while generator.read_ahead(&mut pieces).unwrap() {
            read += 1;
        }
        assert_eq!(read, (length - 1) / 512, "pieces of {length} tokens");
        while whole.finish().is_none() {
            generator.advance(&mut [&mut whole]).unwrap();
            generator.advance(&mut [&mut pieces]).unwrap();
        }
        assert_eq!((whole.tokens(), whole.logprobs()), (pieces.tokens(), pieces.logprobs()), "{length} tokens");
        assert_eq!(whole.logprobs().len(), 12);
        assert!(whole.logprobs().iter().all(|entry| entry.top[0] == (entry.token, entry.logprob)));
    }
}

#[test]
fn micro_batches_add_up_to_the_gradient_of_the_whole() {
    let whole = Batch::new([batch(1, 2, 40).tokens, batch(2, 2, 40).tokens].concat(), 4, 40);
    let parts = [1, 2].map(|index| Batch { end_of_text: None, ..batch(index, 2, 40) });
    let step = |batches: &[Batch]| engine(Isa::best(), 1).train_step(batches, 1e-3).unwrap();
    let (one, two) = (step(&[whole]), step(&parts));
    assert_eq!(one.tokens, two.tokens);
    assert!((one.loss - two.loss).abs() < 1e-5);
    assert!((one.gradient_norm / two.gradient_norm - 1.0).abs() < 1e-5);
}

#[test]
fn refused_steps_leave_everything_as_it_was() {
    let mut engine = trained(Isa::best(), 1);
    let (before, state) = (digest(&parameters(&mut engine)), OptimiserState::of(engine.as_mut()).unwrap());
    assert!(engine.train_step(&[], 1e-3).is_err());
    assert!(engine.train_step(&[Batch::new(vec![1, 301], 1, 1)], 1e-3).is_err());
    assert!(engine.train_step(&[Batch::new(vec![1, IGNORED_TOKEN], 1, 1)], 1e-3).is_err());
    assert!(engine.train_step(&[batch(0, 1, 5)], f32::NAN).is_err());
    assert_eq!(digest(&parameters(&mut engine)), before);
    assert_eq!(OptimiserState::of(engine.as_mut()).unwrap(), state);
    let norm = engine.layout().tensor("model.norm.weight").unwrap().range.start;
    engine.write(Buffer::Parameters, norm, &[f32::NAN]).unwrap();
    let refused = engine.train_step(&[batch(0, 1, 5)], 1e-3).unwrap_err();
    assert!(matches!(refused, EngineError::NotFinite(_)));
    assert_eq!(OptimiserState::of(engine.as_mut()).unwrap(), state);
    let total = engine.layout().total();
    for what in [Buffer::Parameters, Buffer::Gradient, Buffer::FirstMoment, Buffer::SecondMoment] {
        let rejected = engine.write(what, total - 1, &[0.0; 2]).unwrap_err();
        assert_eq!(rejected, EngineError::Range { what, start: total - 1, len: 2, total });
        assert!(engine.read(what, usize::MAX, &mut [0.0]).is_err());
    }
}
