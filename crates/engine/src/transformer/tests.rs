//! Caches and memory of the passes.

use super::workspace::{BackwardMemory, Workspace};
use super::*;
use crate::{Cpu, Isa, MemoryNeeds, TrainingShape, initial_parameters, preset};

#[test]
fn a_cache_filled_in_any_pieces_gives_the_logits_of_one_pass_bit_for_bit() {
    let config = ModelConfig { head_dim: 10, qk_norm: true, initializer_range: 0.2, ..preset("nano", 50).unwrap() };
    let parameters = initial_parameters(&config, [1; 32]);
    let tokens: Vec<u32> = (0..300).map(|place| place * place % 47).collect();
    for isa in Isa::available() {
        let mut ops = Cpu::new(isa, 2).unwrap();
        let mut model = Transformer::new(&mut ops, config.clone()).unwrap();
        let whole = model.all_logits(&mut ops, &parameters, &Positions::of_prompt(&tokens)).unwrap();
        let mut cache = model.cache(&mut ops, tokens.len()).unwrap();
        for piece in [1, 1, 2, 80, 1, 170, 3, 1, 1, 40] {
            let start = cache.filled;
            let logits = model.extend(&mut ops, &parameters, &mut cache, &tokens[start..start + piece]).unwrap();
            let expected = &whole[(start + piece - 1) * 50..(start + piece) * 50];
            assert_eq!(logits, expected, "{isa}, {} positions", start + piece);
        }
    }
}

/// Values that the passes of a model hold at present.
fn held(model: &Transformer<Cpu>) -> usize {
    let workspace = &model.workspace;
    let layers = workspace.layers.iter().flat_map(|layer| {
        let LayerMemory { input, qkv, raw, attended, log_sum_exp, middle, gate_up } = layer;
        [input, qkv, raw, attended, log_sum_exp, middle, gate_up]
    });
    let backward = workspace.backward.iter().flat_map(|backward| {
        let BackwardMemory { d_stream, d_normed, d_qkv, d_activated } = backward;
        [d_stream, d_normed, d_qkv, d_activated]
    });
    let packed: usize = model.packed.0.iter().map(|matrix| matrix.terms() * matrix.columns()).sum();
    let Workspace { stream, normed, activated, logits, d_embedded, .. } = workspace;
    let single = [stream, normed, activated, logits, d_embedded, &model.table];
    let all = layers.chain(backward).chain(&workspace.entries).chain(single);
    all.map(|buffer| Borrow::<[f32]>::borrow(buffer).len()).sum::<usize>() + packed
}

#[test]
fn the_computed_memory_is_what_the_passes_hold() {
    let config = ModelConfig { head_dim: 10, qk_norm: true, ..preset("nano", 50).unwrap() };
    let parameters = initial_parameters(&config, [1; 32]);
    // More than one part, and more than one group.
    let (sequences, length) = (35, 128);
    let batch = crate::Batch::new(vec![1; sequences * (length + 1)], sequences, length);
    let positions = Positions::new(&batch, 50).unwrap();
    // Each buffer begins and ends at a cache line.
    let check = |held: usize, needs: MemoryNeeds| {
        let share = 4.0 * held as f64 / needs.activations as f64;
        assert!((1.0..1.002).contains(&share), "{share}");
    };
    for is_recomputing in [false, true] {
        let mut ops = Cpu::new(Isa::best(), 1).unwrap();
        let new = |ops: &mut Cpu| {
            let mut model = Transformer::new(ops, config.clone()).unwrap();
            model.set_recomputing(is_recomputing);
            model
        };
        let hidden_matrices = templar_base::MatrixOptimiser::AdamW;
        let shape = TrainingShape { sequences, length, is_recomputing, hidden_matrices };
        let mut model = new(&mut ops);
        model.losses(&mut ops, &parameters, &positions).unwrap();
        check(held(&model), MemoryNeeds::judging(&config, shape));
        let mut model = new(&mut ops);
        let mut gradient = vec![0.0; parameters.len()];
        let gradient = GradientSum { memory: &mut gradient[..], scale: 1.0, accumulate: false };
        model.gradient(&mut ops, &parameters, &positions, gradient).unwrap();
        check(held(&model), MemoryNeeds::training(&config, shape));
    }
}

#[test]
fn parts_change_no_bit_of_losses_and_gradients() {
    let (sequences, length) = (11, 128);
    for (tie_word_embeddings, qk_norm, is_recomputing) in
        [(true, false, false), (false, true, false), (true, true, true)]
    {
        // More logits than one block of a loss holds.
        let config = ModelConfig { tie_word_embeddings, qk_norm, ..preset("nano", 1100).unwrap() };
        let parameters = initial_parameters(&config, [1; 32]);
        let tokens = (0..sequences * (length + 1)).map(|place| (place * place % 1097) as u32).collect();
        let mut batch = crate::Batch::new(tokens, sequences, length);
        batch.end_of_text = Some(7);
        let positions = Positions::new(&batch, 1100).unwrap();
        let of = |sequences| {
            let mut ops = Cpu::new(Isa::best(), 2).unwrap();
            let mut model = Transformer::new(&mut ops, config.clone()).unwrap();
            model.set_recomputing(is_recomputing);
            let mut gradient = vec![0.0; parameters.len()];
            let losses = model.losses_in_parts(&mut ops, &parameters, &positions, sequences, sequences / 3).unwrap();
            for accumulate in [false, true] {
                let gradient = GradientSum { memory: &mut gradient[..], scale: 0.1, accumulate };
                let again = model.gradient_in_parts(&mut ops, &parameters, &positions, sequences, gradient).unwrap();
                assert!(losses == again);
            }
            (losses, gradient)
        };
        // The head's chunks are of 512 rows here, which makes four sequences the fewest that are whole.
        assert!(of(4) == of(sequences), "tied {tie_word_embeddings}");
    }
}

#[test]
fn texts_that_grow_together_get_the_logits_that_each_gets_alone_bit_for_bit() {
    let config = ModelConfig { qk_norm: true, initializer_range: 0.2, ..preset("nano", 50).unwrap() };
    let parameters = initial_parameters(&config, [1; 32]);
    for isa in Isa::available() {
        let mut ops = Cpu::new(isa, 3).unwrap();
        let mut model = Transformer::new(&mut ops, config.clone()).unwrap();
        let prompts: [&[u32]; 3] = [&[1; 70], &[2, 3], &[4]];
        let new = [[5, 6, 7], [8, 9, 10], [11, 12, 13]];
        let mut alone = Vec::new();
        for (prompt, new) in prompts.iter().zip(&new) {
            let mut cache = model.cache(&mut ops, 80).unwrap();
            model.extend(&mut ops, &parameters, &mut cache, prompt).unwrap();
            alone.push(new.map(|token| model.extend(&mut ops, &parameters, &mut cache, &[token]).unwrap()));
        }
        let mut caches: Vec<_> = prompts.iter().map(|_| model.cache(&mut ops, 80).unwrap()).collect();
        for (prompt, cache) in prompts.iter().zip(&mut caches) {
            model.extend(&mut ops, &parameters, cache, prompt).unwrap();
        }
        for step in 0..3 {
            let tokens = new.map(|tokens| tokens[step]);
            let together = model.extend_each(&mut ops, &parameters, caches.iter_mut().collect(), &tokens).unwrap();
            assert_eq!(together, alone.iter().flat_map(|text| text[step].clone()).collect::<Vec<_>>(), "{isa}");
        }
    }
}

#[test]
fn scores_of_branches_are_the_losses_of_whole_texts_bit_for_bit() {
    // More logits than one block of a loss holds.
    let config = ModelConfig { qk_norm: true, initializer_range: 0.2, ..preset("nano", 1100).unwrap() };
    let parameters = initial_parameters(&config, [1; 32]);
    let stem: Vec<u32> = (0..90).map(|place| place * place % 1097).collect();
    let ends: [&[u32]; 3] = [&[5], &[6, 7, 8, 9], &[10, 11]];
    for isa in Isa::available() {
        let mut ops = Cpu::new(isa, 2).unwrap();
        let mut model = Transformer::new(&mut ops, config.clone()).unwrap();
        let mut stem_cache = model.cache(&mut ops, stem.len()).unwrap();
        for tokens in stem.chunks(40) {
            let piece = ScoredPiece { cache: &mut stem_cache, tokens, targets: &[] };
            assert!(model.extend_scored(&mut ops, &parameters, vec![piece], false).unwrap().is_empty());
        }
        for wants_likeliest in [false, true] {
            // The last token of the stem is read once more by each end, whose first token it predicts.
            let known = stem.len() - 1;
            let mut caches: Vec<_> =
                ends.iter().map(|end| model.branch(&mut ops, &stem_cache, known, known + end.len()).unwrap()).collect();
            let inputs: Vec<Vec<u32>> =
                ends.iter().map(|end| [&stem[known..], &end[..end.len() - 1]].concat()).collect();
            let pieces = caches.iter_mut().zip(&inputs).zip(ends);
            let pieces = pieces.map(|((cache, tokens), targets)| ScoredPiece { cache, tokens, targets }).collect();
            let mut scores = model.extend_scored(&mut ops, &parameters, pieces, wants_likeliest).unwrap().into_iter();
            for end in ends {
                let tokens = [&stem[..], end].concat();
                let length = tokens.len() - 1;
                let whole = Positions::new(&crate::Batch::new(tokens, 1, length), 1100).unwrap();
                let losses = model.losses(&mut ops, &parameters, &whole).unwrap();
                let logits = model.all_logits(&mut ops, &parameters, &whole).unwrap();
                for place in length - end.len()..length {
                    let score = scores.next().unwrap();
                    assert_eq!(score.loss.to_bits(), losses[place].to_bits(), "{isa}");
                    let row = &logits[place * 1100..(place + 1) * 1100];
                    let best = (0..1100).rev().max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap();
                    let is_likeliest = best == whole.targets[place] as usize;
                    assert_eq!(score.is_likeliest, wants_likeliest.then_some(is_likeliest));
                }
            }
        }
    }
}
