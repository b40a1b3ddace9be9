//! What PyTorch's engine must do, against the native engine on the CPU.
//!
//! With `TEMPLAR_TORCH_PYTHON` naming a Python that has PyTorch these run with one rank and with several; without it
//! each says that it was skipped.

mod death;
mod support;

use support::{
    CONFIGS, assert_close, batches, bits, engine, engine_by, has_ranks, native, native_by, relative, torch,
    worst_tensor,
};
use templar_engine::{
    Batch, Buffer, Engine, EngineError, IGNORED_TOKEN, MatrixOptimiser, Piece, ReadText, Scorer, Segments, SparseDelta,
    TokenScore,
};
use templar_engine_torch::Precision;

/// How near PyTorch's results must be: losses, the whole gradient and the logits, and the gradient of each tensor, in
/// parts of the native engine's.
struct Near {
    loss: f64,
    whole: f64,
    tensor: f64,
}

const F32: Near = Near { loss: 1e-5, whole: 1e-5, tensor: 1e-5 };
/// Measured on 15 tiny models: 0.8 to 1.6e-2 for the whole gradient, 1.2 to 3.0e-2 for a tensor.
const BF16: Near = Near { loss: 1e-2, whole: 2e-2, tensor: 4e-2 };

/// The gradients of both engines at the same parameters, and the losses and logits, for some of the models.
fn compare(models: &[usize], ranks: usize, precision: Precision, near: Near) {
    let Some(python) = torch().filter(|_| has_ranks(ranks)) else { return };
    let Near { loss, whole, tensor } = near;
    for make in models.iter().map(|model| CONFIGS[*model]) {
        let (mut ours, mut theirs) = (native(make()), engine(&python, make(), ranks, precision));
        for batch in batches(&make()) {
            assert_close(theirs.gradient(&batch).unwrap(), ours.gradient(&batch).unwrap(), loss);
            let (a, b) = (theirs.to_vec(Buffer::Gradient).unwrap(), ours.to_vec(Buffer::Gradient).unwrap());
            let worst = worst_tensor(ours.layout(), &a, &b);
            println!("{ranks} ranks {precision:?}: gradient {:.1e}, worst tensor {worst:.1e}", relative(&a, &b));
            assert!(relative(&a, &b) < whole, "{:e}", relative(&a, &b));
            assert!(worst < tensor, "{worst:e}");
            let (a, b) = (theirs.evaluate(&batch).unwrap(), ours.evaluate(&batch).unwrap());
            a.iter().zip(&b).for_each(|(a, b)| assert_close(*a, *b, loss));
            assert!(relative(&theirs.logits(&batch).unwrap(), &ours.logits(&batch).unwrap()) < whole);
        }
    }
}

#[test]
fn gradients_losses_and_logits_are_near_those_of_the_native_engine_in_f32() {
    compare(&[0, 2], 1, Precision::F32, F32);
    compare(&[0, 1], 2, Precision::F32, F32);
}

#[test]
fn gradients_losses_and_logits_are_near_those_of_the_native_engine_in_bf16() {
    compare(&[1], 1, Precision::Bf16, BF16);
    compare(&[0, 2], 2, Precision::Bf16, BF16);
}

/// The scores of answers that share a beginning, of a text in pieces, and of one that begins with its answer.
fn scores(engine: &mut dyn Engine, wants_likeliest: bool) -> Vec<TokenScore> {
    let scorer = engine.scorer().unwrap();
    let token = |at: usize| ((at * at * 31 + 7) % 101) as u32;
    let head: Vec<u32> = (0..20).map(token).collect();
    let mut shared = scorer.start(20).unwrap();
    let piece = Piece { text: &mut shared, tokens: &head, targets: &[] };
    assert_eq!(scorer.read(&mut [piece], wants_likeliest).unwrap(), [vec![]]);
    let answers: Vec<Vec<u32>> = (1..8).map(|own| (0..5 * own).map(|at| token(3 * at + own)).collect()).collect();
    let mut begun: Vec<(ReadText, Vec<u32>)> = Vec::new();
    for answer in &answers {
        let inputs = [&head[19..], &answer[..answer.len() - 1]].concat();
        begun.push((scorer.branch(&shared, 19, 19 + answer.len()).unwrap(), inputs));
    }
    let mut alone = scorer.start(1).unwrap();
    let mut pieces = vec![Piece { text: &mut alone, tokens: &[5], targets: &[6] }];
    let of = |((text, inputs), answer)| Piece { text, tokens: inputs, targets: answer };
    let whole = begun.iter_mut().map(|(text, inputs)| (text, inputs.as_slice())).zip(answers.iter().map(Vec::as_slice));
    pieces.extend(whole.map(of));
    let mut scores = scorer.read(&mut pieces, wants_likeliest).unwrap();
    let (inputs, answer) = (begun.pop().unwrap().1, answers.last().unwrap());
    let mut text = scorer.branch(&shared, 19, 19 + answer.len()).unwrap();
    for (tokens, targets) in inputs.chunks(9).zip(answer.chunks(9)) {
        scores.extend(scorer.read(&mut [Piece { text: &mut text, tokens, targets }], wants_likeliest).unwrap());
    }
    scores.concat()
}

#[test]
fn scores_of_texts_are_near_those_of_the_native_engine() {
    let Some(python) = torch() else { return };
    for (model, ranks, precision, near) in [
        (0, 1, Precision::F32, 1e-3),
        (1, 2, Precision::F32, 1e-3),
        (2, 5, Precision::F32, 1e-3),
        (1, 1, Precision::Bf16, 0.1),
    ] {
        if !has_ranks(ranks) {
            continue;
        }
        let make = CONFIGS[model];
        let mut theirs = engine(&python, make(), ranks, precision);
        let (ours, found) = (scores(native(make()).as_mut(), true), scores(theirs.as_mut(), true));
        assert_eq!(ours.len(), found.len());
        let worst = ours.iter().zip(&found).map(|(a, b)| (a.loss - b.loss).abs()).fold(0.0, f32::max);
        println!("{ranks} ranks {precision:?}: {} scores, at most {worst:.1e} apart", found.len());
        assert!(worst < near && ours.iter().all(|score| score.loss > 0.0), "{worst:e}");
        if precision == Precision::F32 {
            let likeliest = |scores: &[TokenScore]| scores.iter().map(|one| one.is_likeliest).collect::<Vec<_>>();
            assert_eq!(likeliest(&ours), likeliest(&found));
        }
        let without = scores(theirs.as_mut(), false);
        assert!(without.iter().zip(&found).all(|(a, b)| a.is_likeliest.is_none() && a.loss == b.loss));
    }
}

#[test]
fn texts_that_cannot_be_scored_are_rejected_and_the_ranks_go_on() {
    let Some(python) = torch() else { return };
    let mut engine = engine(&python, CONFIGS[0](), 1, Precision::F32);
    let mut foreign = native(CONFIGS[0]());
    let mut foreign = foreign.scorer().unwrap().start(4).unwrap();
    let scorer = engine.scorer().unwrap();
    assert!(matches!(scorer.start(65).err(), Some(EngineError::TextTooLong { tokens: 65, limit: 64 })));
    let mut text = scorer.start(2).unwrap();
    let read = |scorer: &mut dyn Scorer, text: &mut ReadText, tokens: &[u32], targets: &[u32]| {
        scorer.read(&mut [Piece { text, tokens, targets }], false)
    };
    assert!(matches!(read(scorer, &mut text, &[], &[]), Err(EngineError::Empty(_))));
    assert!(matches!(read(scorer, &mut text, &[1], &[2, 3]), Err(EngineError::MoreTargets { .. })));
    assert!(matches!(read(scorer, &mut text, &[101], &[]), Err(EngineError::Token { .. })));
    assert!(matches!(read(scorer, &mut text, &[1, 2, 3], &[]), Err(EngineError::TextTooLong { .. })));
    assert_eq!(read(scorer, &mut foreign, &[1], &[]), Err(EngineError::ForeignText));
    assert!(matches!(scorer.branch(&text, 1, 2).err(), Some(EngineError::TextTooLong { .. })));
    assert_eq!(scorer.read(&mut [], true), Ok(Vec::new()));
    assert_eq!(read(scorer, &mut text, &[1, 2], &[3]).unwrap()[0].len(), 1);
}

#[test]
fn ranks_that_hold_nothing_of_a_tensor_take_part() {
    compare(&[1], 5, Precision::F32, F32);
}

/// Steps with both engines, and then from the state of one engine in another.
fn steps(optimiser: MatrixOptimiser, ranks: usize, precision: Precision, near: f64) {
    let Some(python) = torch().filter(|_| has_ranks(ranks)) else { return };
    let make = CONFIGS[1];
    let engine =
        || engine_by(&python, make(), optimiser, |options| (options.ranks, options.precision) = (ranks, precision));
    let (mut ours, mut theirs) = (native_by(make(), optimiser), engine());
    let batches = batches(&make());
    for step in 1..=8 {
        let (a, b) = (theirs.train_step(&batches, 3e-3).unwrap(), ours.train_step(&batches, 3e-3).unwrap());
        println!("{optimiser:?}, {ranks} ranks {precision:?}: step {step}, loss {} and {}", a.loss, b.loss);
        assert_close(a.loss, b.loss, near);
        assert_close(a.gradient_norm, b.gradient_norm, 20.0 * near);
        assert_eq!((a.tokens, theirs.optimiser_step()), (b.tokens, step));
    }
    let last = theirs.train_step(&batches, 3e-3).unwrap();
    let norm = theirs.to_vec(Buffer::Gradient).unwrap().iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
    assert!(last.gradient_norm > support::CLIP_NORM, "the steps clip");
    assert_close(norm as f32, last.gradient_norm, 1e-4);
    let state: Vec<_> = [Buffer::Parameters, Buffer::FirstMoment, Buffer::SecondMoment]
        .map(|what| (what, theirs.to_vec(what).unwrap()))
        .into();
    let step = theirs.optimiser_step();
    let mut next = engine();
    for (what, values) in &state {
        next.write(*what, 0, values).unwrap();
    }
    next.set_optimiser_step(step).unwrap();
    assert_eq!(next.train_step(&batches, 3e-3).unwrap(), theirs.train_step(&batches, 3e-3).unwrap());
    let (a, b) = (next.to_vec(Buffer::Parameters).unwrap(), theirs.to_vec(Buffer::Parameters).unwrap());
    assert_eq!(bits(&a), bits(&b), "new ranks go on to the bit where the old ones were");
    next.reset_optimiser().unwrap();
    assert_eq!(next.optimiser_step(), 0);
    assert!(next.to_vec(Buffer::SecondMoment).unwrap().iter().all(|value| *value == 0.0));
}

#[test]
fn steps_follow_the_native_engine_and_go_on_to_the_bit_in_new_ranks() {
    steps(MatrixOptimiser::AdamW, 1, Precision::F32, 1e-4);
    steps(MatrixOptimiser::AdamW, 2, Precision::F32, 1e-4);
    steps(MatrixOptimiser::AdamW, 2, Precision::Bf16, 2e-2);
}

#[test]
fn steps_of_muon_follow_the_native_engine_and_go_on_to_the_bit_in_new_ranks() {
    steps(MatrixOptimiser::Muon, 1, Precision::F32, 1e-4);
    steps(MatrixOptimiser::Muon, 2, Precision::F32, 1e-4);
    // Ranks without rows of some matrices.
    steps(MatrixOptimiser::Muon, 5, Precision::F32, 1e-4);
    steps(MatrixOptimiser::Muon, 2, Precision::Bf16, 3e-2);
}

/// One step of Muon moves every tensor as the native engine does, and its second moments stay what was written.
#[test]
fn a_step_of_muon_is_that_of_the_native_engine() {
    let Some(python) = torch().filter(|_| has_ranks(2)) else { return };
    let make = CONFIGS[0];
    let mut theirs = engine_by(&python, make(), MatrixOptimiser::Muon, |options| {
        (options.ranks, options.precision) = (2, Precision::F32);
    });
    let mut ours = native_by(make(), MatrixOptimiser::Muon);
    let before = ours.to_vec(Buffer::Parameters).unwrap();
    let batches = batches(&make());
    theirs.train_step(&batches, 1e-2).unwrap();
    ours.train_step(&batches, 1e-2).unwrap();
    let moved = |engine: &mut dyn Engine| -> Vec<f32> {
        engine.to_vec(Buffer::Parameters).unwrap().iter().zip(&before).map(|(after, before)| after - before).collect()
    };
    let (a, b) = (moved(theirs.as_mut()), moved(ours.as_mut()));
    let worst = worst_tensor(ours.layout(), &a, &b);
    println!("moved: {:.1e}, worst tensor {worst:.1e}", relative(&a, &b));
    assert!(worst < 1e-3, "{worst:e}");
    let (a, b) = (theirs.to_vec(Buffer::FirstMoment).unwrap(), ours.to_vec(Buffer::FirstMoment).unwrap());
    assert!(worst_tensor(ours.layout(), &a, &b) < 1e-5);
    let (a, b) = (theirs.to_vec(Buffer::SecondMoment).unwrap(), ours.to_vec(Buffer::SecondMoment).unwrap());
    for tensor in ours.layout().tensors().iter().filter(|tensor| tensor.is_hidden()) {
        assert!(a[tensor.range.clone()].iter().chain(&b[tensor.range.clone()]).all(|value| *value == 0.0));
    }
    let written: Vec<f32> = (0..a.len()).map(|at| (at as f32).sin()).collect();
    theirs.write(Buffer::SecondMoment, 0, &written).unwrap();
    assert_eq!(bits(&theirs.to_vec(Buffer::SecondMoment).unwrap()), bits(&written));
}

#[test]
fn what_is_written_is_read_to_the_bit_by_any_cut() {
    let Some(python) = torch().filter(|_| has_ranks(2)) else { return };
    let mut engine = engine(&python, CONFIGS[0](), 2, Precision::Bf16);
    let total = engine.layout().total();
    let values: Vec<f32> = (0..total).map(|at| (at as f32).sin()).collect();
    for what in [Buffer::SecondMoment, Buffer::Gradient, Buffer::FirstMoment, Buffer::Parameters] {
        assert!(what == Buffer::Parameters || engine.to_vec(what).unwrap().iter().all(|value| *value == 0.0));
        for start in (0..total).step_by(1009) {
            let end = (start + 1009).min(total);
            engine.write(what, start, &values[start..end]).unwrap();
        }
        assert_eq!(bits(&engine.to_vec(what).unwrap()), bits(&values), "{what}");
        let mut part = [0.0; 5];
        engine.read(what, 7, &mut part).unwrap();
        assert_eq!(bits(&part), bits(&values[7..12]));
        engine.read(what, total, &mut []).unwrap();
    }
    let error = engine.read(Buffer::Gradient, total - 1, &mut [0.0; 2]).unwrap_err();
    assert!(matches!(error, EngineError::Range { .. }), "{error}");
}

/// FSDP keeps gathered copies after a forward pass: a delta must not be lost in them, and must leave no trace.
#[test]
fn a_delta_does_what_other_parameters_do_and_leaves_no_trace() {
    let Some(python) = torch() else { return };
    for (ranks, precision) in [(1, Precision::F32), (2, Precision::F32), (2, Precision::Bf16)] {
        if !has_ranks(ranks) {
            continue;
        }
        let make = CONFIGS[0];
        let mut engine = engine(&python, make(), ranks, precision);
        let batch = &batches(&make())[0];
        let start = engine.to_vec(Buffer::Parameters).unwrap();
        // Not ascending, and with an index that occurs three times.
        let indices: Vec<u32> = (0..start.len() as u32).rev().step_by(7).chain([70, 70, 70]).collect();
        let values: Vec<f32> = indices.iter().map(|at| (*at as f32 * 0.3).cos() * 0.05).collect();
        let mut moved = start.clone();
        indices.iter().zip(&values).for_each(|(at, value)| moved[*at as usize] += value);
        let delta = SparseDelta { indices: &indices, values: &values };
        let (before, changed) = (engine.evaluate(batch).unwrap(), engine.evaluate_with(delta, batch).unwrap());
        assert_eq!(engine.evaluate(batch).unwrap(), before);
        assert_eq!(bits(&engine.to_vec(Buffer::Parameters).unwrap()), bits(&start));
        engine.write(Buffer::Parameters, 0, &moved).unwrap();
        assert_eq!(engine.evaluate(batch).unwrap(), changed);
        assert_ne!(before, changed);
        engine.write(Buffer::Parameters, 0, &start).unwrap();
        engine.add(delta).unwrap();
        assert_eq!(bits(&engine.to_vec(Buffer::Parameters).unwrap()), bits(&moved));
        engine.add(SparseDelta { indices: &[], values: &[] }).unwrap();
        assert_eq!(engine.evaluate(batch).unwrap(), changed);
    }
}

#[test]
fn documents_do_not_see_each_other_and_padding_does_not_count() {
    let Some(python) = torch().filter(|_| has_ranks(2)) else { return };
    let make = CONFIGS[0];
    let (mut ours, mut theirs) = (native(make()), engine(&python, make(), 2, Precision::F32));
    // Three sequences over two ranks: one is filled up.
    let tokens: Vec<u32> = (0..3 * 13).map(|at| if at % 17 > 14 { IGNORED_TOKEN } else { at * 7 % 40 }).collect();
    let batch = Batch { end_of_text: Some(21), ..Batch::new(tokens, 3, 12) };
    assert_close(theirs.gradient(&batch).unwrap(), ours.gradient(&batch).unwrap(), 1e-5);
    let (a, b) = (theirs.to_vec(Buffer::Gradient).unwrap(), ours.to_vec(Buffer::Gradient).unwrap());
    assert!(relative(&a, &b) < 1e-5, "{:e}", relative(&a, &b));
    let (a, b) = (theirs.evaluate(&batch).unwrap(), ours.evaluate(&batch).unwrap());
    a.iter().zip(&b).for_each(|(a, b)| assert_close(*a, *b, 1e-5));
    let empty = Batch::new(vec![IGNORED_TOKEN; 13], 1, 12);
    assert_eq!(theirs.evaluate(&empty).unwrap(), [0.0]);
    assert_eq!(theirs.gradient(&empty).unwrap_err(), EngineError::Empty("the set of targets"));
}

#[test]
fn recomputing_and_passes_change_nothing_but_rounding() {
    let Some(python) = torch() else { return };
    let make = CONFIGS[0];
    let batch = &batches(&make())[0];
    let mut engine = engine(&python, make(), 1, Precision::F32);
    engine.gradient(batch).unwrap();
    let kept = engine.to_vec(Buffer::Gradient).unwrap();
    engine.set_recomputing(true).unwrap();
    engine.gradient(batch).unwrap();
    assert!(relative(&engine.to_vec(Buffer::Gradient).unwrap(), &kept) < 1e-6);
    // As many rows at once as one sequence has.
    let mut other = support::engine_with(&python, make(), |options| {
        (options.rows, options.precision) = (batch.length, Precision::F32);
    });
    other.gradient(batch).unwrap();
    assert!(relative(&other.to_vec(Buffer::Gradient).unwrap(), &kept) < 1e-5);
    assert!(relative(&other.evaluate(batch).unwrap(), &engine.evaluate(batch).unwrap()) < 1e-5);
}

#[test]
fn a_rejected_request_leaves_the_state_as_it_was() {
    let Some(python) = torch().filter(|_| has_ranks(2)) else { return };
    let make = CONFIGS[0];
    let batches = batches(&make());
    let mut engine = engine(&python, make(), 2, Precision::Bf16);
    let start = engine.to_vec(Buffer::Parameters).unwrap();
    let bad = Batch::new(vec![10_000; 4], 1, 3);
    assert!(matches!(engine.evaluate(&bad).unwrap_err(), EngineError::Token { .. }));
    assert!(matches!(engine.train_step(&[bad], 1e-3).unwrap_err(), EngineError::Token { .. }));
    assert_eq!(engine.train_step(&[], 1e-3).unwrap_err(), EngineError::Empty("the set of targets"));
    let error = engine.train_step(&batches, f32::NAN).unwrap_err();
    assert_eq!(error, EngineError::NotFinite("the learning rate"));
    let delta = SparseDelta { indices: &[start.len() as u32], values: &[1.0] };
    assert!(matches!(engine.evaluate_with(delta, &batches[0]).unwrap_err(), EngineError::Delta(_)));
    assert!(matches!(engine.generator().err(), Some(EngineError::CannotGenerate(_))));
    assert_eq!(bits(&engine.to_vec(Buffer::Parameters).unwrap()), bits(&start));
    // A loss that is not finite moves nothing.
    engine.write(Buffer::Parameters, 0, &[f32::INFINITY]).unwrap();
    let error = engine.train_step(&batches, 1e-3).unwrap_err();
    assert!(matches!(error, EngineError::NotFinite(_)), "{error}");
    assert_eq!(engine.optimiser_step(), 0);
    engine.write(Buffer::Parameters, 0, &start).unwrap();
    engine.train_step(&batches, 1e-3).unwrap();
}
