//! The coarse interface of an engine, and the one on the CPU.

use crate::batch::{Batch, Positions};
use crate::cpu::Cpu;
use crate::generate::{Finish, GenerateOptions, Generation, Sampler};
use crate::layout::ParamLayout;
use crate::muon::{self, Matrix, Muon, MuonMemory};
use crate::numerics::{Isa, NumericsId};
use crate::ops::{AdamW, Ops, View, ViewMut};
use crate::optimiser::{OptimiserConfig, OptimiserState, bias_correction};
use crate::transformer::{GradientSum, Transformer};
use crate::{EngineError, check_tokens};
use templar_base::{MatrixOptimiser, ModelConfig};

/// What a training step saw and did.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepReport {
    /// Mean loss (nats per target) before the step.
    pub loss: f32,
    /// L2 norm of the gradient before clipping.
    pub gradient_norm: f32,
    /// Number of targets that counted.
    pub tokens: usize,
}

/// Some changed parameters: `parameters[indices[i]] += values[i]`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SparseDelta<'a> {
    /// Places in the flat buffer.
    pub indices: &'a [u32],
    /// What is added there.
    pub values: &'a [f32],
}

/// A language model that can be trained, judged and spoken to. Only flat slices in canonical order cross it.
///
/// A refused request leaves the state as it was. Results depend on the arguments, the own state and
/// [`Self::numerics`] alone, never on the machine.
pub trait Engine: Send {
    /// The model's sizes.
    fn config(&self) -> &ModelConfig;

    /// Where each tensor lies in the flat buffers.
    fn layout(&self) -> &ParamLayout;

    /// The arithmetic that this engine does.
    fn numerics(&self) -> NumericsId;

    /// The own parameters.
    fn parameters(&self) -> &[f32];

    /// The own parameters, to be changed. The optimiser's state stays as it is.
    fn parameters_mut(&mut self) -> &mut [f32];

    /// One step of the optimiser on the mean loss over the targets of all micro-batches.
    fn train_step(&mut self, micro_batches: &[Batch], learning_rate: f32) -> Result<StepReport, EngineError>;

    /// A copy of the optimiser's state.
    fn optimiser_state(&self) -> OptimiserState;

    /// Replaces the optimiser's state.
    fn load_optimiser_state(&mut self, state: OptimiserState) -> Result<(), EngineError>;

    /// Forgets all steps.
    fn reset_optimiser(&mut self);

    /// The mean loss at `parameters` and, in `out`, its gradient. The own state stays as it is.
    fn gradient(&mut self, parameters: &[f32], batch: &Batch, out: &mut [f32]) -> Result<f32, EngineError>;

    /// The mean loss of each sequence at `parameters`; 0 for a sequence without targets.
    fn evaluate(&mut self, parameters: &[f32], batch: &Batch) -> Result<Vec<f32>, EngineError>;

    /// The mean loss of each sequence at the own parameters changed by `delta`. Afterwards the own parameters are the
    /// same bits as before. An index that occurs twice is changed twice.
    fn evaluate_with(&mut self, delta: SparseDelta, batch: &Batch) -> Result<Vec<f32>, EngineError>;

    /// Continues `prompt` at the own parameters; each token goes to `on_token`, which answers whether to go on.
    ///
    /// Returns the tokens that `on_token` got. The stop token ends the text and is not part of it; so does the last of
    /// the model's positions (`max_position_embeddings`).
    fn generate(
        &mut self,
        prompt: &[u32],
        options: &GenerateOptions,
        on_token: &mut dyn FnMut(u32) -> bool,
    ) -> Result<Vec<u32>, EngineError>;
}

/// Tokens of a prompt that are read in one pass, which bounds the working memory.
const PROMPT_PIECE: usize = 512;

/// The engine on the CPU, in the strict profile.
pub struct CpuEngine {
    ops: Cpu,
    model: Transformer<Cpu>,
    optimiser: OptimiserConfig,
    parameters: Vec<f32>,
    /// Empty until the first training step.
    gradient: Vec<f32>,
    /// Its moments are empty until the first training step: an engine that only judges does without.
    state: OptimiserState,
    /// With Muon, from the first training step on.
    muon: Option<MuonMemory<<Cpu as Ops>::Owned>>,
    /// What a delta changed, as it was.
    undo: Vec<f32>,
}

impl CpuEngine {
    /// An engine on `threads` threads (the caller's is one of them) with the best instructions of the machine.
    ///
    /// The parameters are zero: fill [`Engine::parameters_mut`], such as with [`crate::initial_parameters`].
    pub fn new(config: ModelConfig, optimiser: OptimiserConfig, threads: usize) -> Result<Self, EngineError> {
        Self::with_isa(config, optimiser, threads, Isa::best())
    }

    /// As [`Self::new`] with these instructions, which change the speed and no bit of a result.
    pub fn with_isa(
        config: ModelConfig,
        optimiser: OptimiserConfig,
        threads: usize,
        isa: Isa,
    ) -> Result<Self, EngineError> {
        config.check()?;
        optimiser.check()?;
        let mut ops = Cpu::new(isa, threads)?;
        let model = Transformer::new(&mut ops, config);
        let parameters = vec![0.0; model.layout().total()];
        let (gradient, undo, state) = (Vec::new(), Vec::new(), OptimiserState::default());
        Ok(Self { ops, model, optimiser, parameters, gradient, state, muon: None, undo })
    }

    /// The instructions in use.
    pub fn isa(&self) -> Isa {
        self.ops.isa()
    }

    /// The logits of every position, `[sequences, length, vocab]`, at the own parameters; for comparisons with other
    /// engines, as it holds them all.
    pub fn logits(&mut self, batch: &Batch) -> Result<Vec<f32>, EngineError> {
        let positions = Positions::new(batch, self.model.config().vocab_size)?;
        Ok(self.model.all_logits(&mut self.ops, &self.parameters, &positions))
    }

    /// Whether training computes activations a second time rather than keep them: about a third more work, and the
    /// memory of one layer instead of all. No bit of a result depends on it.
    pub fn set_recomputing(&mut self, is_recomputing: bool) {
        self.model.set_recomputing(is_recomputing);
    }

    /// A text that goes on from `prompt`; [`Self::advance`] makes its tokens.
    ///
    /// Its memory is taken at once, for the prompt and all new tokens.
    pub fn begin(&mut self, prompt: &[u32], options: &GenerateOptions) -> Result<Generation, EngineError> {
        check_tokens(prompt, self.model.config().vocab_size, false)?;
        if prompt.is_empty() {
            return Err(EngineError::Empty("the prompt"));
        }
        let sampler = Sampler::new(options, prompt)?;
        let limit = self.model.config().max_position_embeddings;
        let Some(room) = limit.checked_sub(prompt.len()).filter(|&room| room > 0) else {
            return Err(EngineError::PromptTooLong { tokens: prompt.len(), limit });
        };
        let limit = options.max_new_tokens.min(room);
        let cache = self.model.cache(&mut self.ops, prompt.len() + limit);
        let finish = (limit == 0).then_some(Finish::Length);
        Ok(Generation { sampler, cache, unread: prompt.to_vec(), tokens: Vec::new(), limit, finish })
    }

    /// Adds a token to each text, in one pass for those whose prompts are read; gives the new tokens, none for a text
    /// that has ended. After an error the texts have ended. What a text has read with earlier parameters stays so.
    pub fn advance(&mut self, texts: &mut [&mut Generation]) -> Result<Vec<Option<u32>>, EngineError> {
        let vocab = self.model.config().vocab_size;
        let mut logits: Vec<Vec<f32>> = texts.iter().map(|_| Vec::new()).collect();
        let (mut together, mut tokens, mut caches) = (Vec::new(), Vec::new(), Vec::new());
        for (index, text) in texts.iter_mut().enumerate().filter(|(_, text)| text.finish.is_none()) {
            if let [token] = text.unread[..] {
                together.push(index);
                tokens.push(token);
                caches.push(&mut text.cache);
                continue;
            }
            for piece in text.unread.chunks(PROMPT_PIECE) {
                logits[index] = self.model.extend(&mut self.ops, &self.parameters, &mut text.cache, piece);
            }
        }
        if !together.is_empty() {
            let all = self.model.extend_each(&mut self.ops, &self.parameters, caches, &tokens);
            for (&index, row) in together.iter().zip(all.chunks_exact(vocab)) {
                logits[index] = row.to_vec();
            }
        }
        let mut chosen = Vec::with_capacity(texts.len());
        for (text, logits) in texts.iter_mut().zip(&mut logits) {
            chosen.push(match text.finish {
                Some(_) => Ok(None),
                None => text.sampler.choose(logits).map(|token| text.take(token)),
            });
        }
        if chosen.iter().any(Result::is_err) {
            texts.iter_mut().for_each(|text| text.stop());
        }
        chosen.into_iter().collect()
    }

    /// Goes on with each prompt by its own options, all in the same passes; each token goes to `on_token` with the
    /// number of its prompt, which answers whether that text shall go on. The tokens of a text are those of
    /// [`Engine::generate`].
    pub fn generate_batch(
        &mut self,
        prompts: &[(Vec<u32>, GenerateOptions)],
        on_token: &mut dyn FnMut(usize, u32) -> bool,
    ) -> Result<Vec<Generation>, EngineError> {
        let begun = prompts.iter().map(|(prompt, options)| self.begin(prompt, options));
        let mut texts = begun.collect::<Result<Vec<_>, _>>()?;
        while texts.iter().any(|text| text.finish.is_none()) {
            let tokens = self.advance(&mut texts.iter_mut().collect::<Vec<_>>())?;
            for (index, token) in tokens.into_iter().enumerate() {
                if token.is_some_and(|token| !on_token(index, token)) {
                    texts[index].stop();
                }
            }
        }
        Ok(texts)
    }

    fn check_length(&self, what: &'static str, actual: usize) -> Result<(), EngineError> {
        match self.model.layout().total() {
            expected if expected != actual => Err(EngineError::Length { what, actual, expected }),
            _ => Ok(()),
        }
    }

    fn apply_optimiser(&mut self, learning_rate: f32, gradient_norm: f64) {
        let total = self.parameters.len();
        if self.state.first_moment.is_empty() {
            self.state = OptimiserState { step: self.state.step, ..OptimiserState::new(total) };
        }
        self.state.step += 1;
        self.reserve_muon();
        let OptimiserConfig { beta1, beta2, epsilon, weight_decay, clip_norm, .. } = self.optimiser;
        let clip = f64::from(clip_norm);
        let gradient_scale = if gradient_norm > clip { (clip / gradient_norm) as f32 } else { 1.0 };
        let rule = AdamW {
            learning_rate,
            beta1,
            beta2,
            epsilon,
            weight_decay: 0.0,
            correction1: bias_correction(beta1, self.state.step),
            correction2: bias_correction(beta2, self.state.step),
            gradient_scale,
        };
        let muon = Muon { learning_rate, weight_decay, gradient_scale };
        for tensor in self.model.layout().tensors() {
            let start = tensor.range.start;
            if let (Some(memory), &[rows, columns]) = (&mut self.muon, &tensor.shape[..])
                && tensor.is_hidden()
            {
                let (ops, matrix) = (&mut self.ops, Matrix { start, rows, columns });
                let momentum = &mut self.state.first_moment;
                muon::step(ops, muon, matrix, &self.gradient[..], &mut self.parameters[..], momentum, memory);
                continue;
            }
            let rule = if tensor.is_matrix() { AdamW { weight_decay, ..rule } } else { rule };
            self.ops.adamw(
                rule,
                View::new(&self.gradient[..], start),
                ViewMut::new(&mut self.parameters[..], start),
                ViewMut::new(&mut self.state.first_moment[..], start),
                ViewMut::new(&mut self.state.second_moment[..], start),
                tensor.range.len(),
            );
        }
    }

    /// Muon's working memory, taken at the first step.
    fn reserve_muon(&mut self) {
        if self.muon.is_some() || self.optimiser.hidden_matrices == MatrixOptimiser::AdamW {
            return;
        }
        let (values, side) = muon::largest(self.model.layout());
        self.muon = Some(MuonMemory::new(&mut self.ops, values, side));
    }
}

/// The mean of the counted losses of each sequence.
fn sequence_means(positions: &Positions, losses: &[f32]) -> Vec<f32> {
    let rows = losses.chunks_exact(positions.length).zip(positions.targets.chunks_exact(positions.length));
    rows.map(|(losses, targets)| {
        let counted = targets.iter().filter(|&&target| target != crate::IGNORED_TOKEN).count();
        (sum(losses) / counted.max(1) as f64) as f32
    })
    .collect()
}

/// In order, in f64.
fn sum(values: &[f32]) -> f64 {
    values.iter().map(|&value| f64::from(value)).sum()
}

impl Engine for CpuEngine {
    fn config(&self) -> &ModelConfig {
        self.model.config()
    }

    fn layout(&self) -> &ParamLayout {
        self.model.layout()
    }

    fn numerics(&self) -> NumericsId {
        NumericsId::STRICT
    }

    fn parameters(&self) -> &[f32] {
        &self.parameters
    }

    fn parameters_mut(&mut self) -> &mut [f32] {
        &mut self.parameters
    }

    fn train_step(&mut self, micro_batches: &[Batch], learning_rate: f32) -> Result<StepReport, EngineError> {
        if !learning_rate.is_finite() {
            return Err(EngineError::NotFinite("the learning rate"));
        }
        let vocab = self.model.config().vocab_size;
        let positions = micro_batches.iter().map(|batch| Positions::new(batch, vocab));
        let positions = positions.collect::<Result<Vec<_>, _>>()?;
        let tokens: usize = positions.iter().map(Positions::counted_targets).sum();
        if tokens == 0 {
            return Err(EngineError::Empty("the set of targets"));
        }
        self.gradient.resize(self.parameters.len(), 0.0);
        let scale = 1.0 / tokens as f32;
        let mut loss = 0.0;
        for (index, positions) in positions.iter().enumerate() {
            let gradient = GradientSum { memory: &mut self.gradient[..], scale, accumulate: index > 0 };
            loss += sum(&self.model.gradient(&mut self.ops, &self.parameters, positions, gradient));
        }
        let loss = (loss / tokens as f64) as f32;
        let gradient_norm = self.ops.sum_of_squares(View::new(&self.gradient[..], 0), self.gradient.len()).sqrt();
        if !loss.is_finite() || !(gradient_norm as f32).is_finite() {
            return Err(EngineError::NotFinite(if loss.is_finite() { "the gradient" } else { "the loss" }));
        }
        self.apply_optimiser(learning_rate, gradient_norm);
        Ok(StepReport { loss, gradient_norm: gradient_norm as f32, tokens })
    }

    fn optimiser_state(&self) -> OptimiserState {
        match self.state.first_moment.is_empty() {
            true => OptimiserState::new(self.parameters.len()),
            false => self.state.clone(),
        }
    }

    fn load_optimiser_state(&mut self, state: OptimiserState) -> Result<(), EngineError> {
        self.check_length("the optimiser's first moment", state.first_moment.len())?;
        self.check_length("the optimiser's second moment", state.second_moment.len())?;
        self.state = state;
        Ok(())
    }

    fn reset_optimiser(&mut self) {
        self.state.step = 0;
        self.state.first_moment.fill(0.0);
        self.state.second_moment.fill(0.0);
    }

    fn gradient(&mut self, parameters: &[f32], batch: &Batch, out: &mut [f32]) -> Result<f32, EngineError> {
        self.check_length("the parameters", parameters.len())?;
        self.check_length("the gradient", out.len())?;
        let positions = Positions::new(batch, self.model.config().vocab_size)?;
        let tokens = positions.counted_targets();
        if tokens == 0 {
            return Err(EngineError::Empty("the set of targets"));
        }
        let gradient = GradientSum { memory: out, scale: 1.0 / tokens as f32, accumulate: false };
        let losses = self.model.gradient(&mut self.ops, parameters, &positions, gradient);
        Ok((sum(&losses) / tokens as f64) as f32)
    }

    fn evaluate(&mut self, parameters: &[f32], batch: &Batch) -> Result<Vec<f32>, EngineError> {
        self.check_length("the parameters", parameters.len())?;
        let positions = Positions::new(batch, self.model.config().vocab_size)?;
        let losses = self.model.losses(&mut self.ops, parameters, &positions);
        Ok(sequence_means(&positions, &losses))
    }

    fn evaluate_with(&mut self, delta: SparseDelta, batch: &Batch) -> Result<Vec<f32>, EngineError> {
        let SparseDelta { indices, values } = delta;
        if indices.len() != values.len() {
            let (actual, expected) = (values.len(), indices.len());
            return Err(EngineError::Length { what: "the delta's values", actual, expected });
        }
        let total = self.parameters.len();
        if let Some(&index) = indices.iter().find(|&&index| index as usize >= total) {
            return Err(EngineError::DeltaIndex { index: index as usize, total });
        }
        let positions = Positions::new(batch, self.model.config().vocab_size)?;
        self.undo.clear();
        for (&index, value) in indices.iter().zip(values) {
            let place = &mut self.parameters[index as usize];
            self.undo.push(*place);
            *place += value;
        }
        let losses = self.model.losses(&mut self.ops, &self.parameters, &positions);
        // Backwards, so that an index that occurs twice gets its first value again.
        for (&index, &value) in indices.iter().zip(&self.undo).rev() {
            self.parameters[index as usize] = value;
        }
        Ok(sequence_means(&positions, &losses))
    }

    fn generate(
        &mut self,
        prompt: &[u32],
        options: &GenerateOptions,
        on_token: &mut dyn FnMut(u32) -> bool,
    ) -> Result<Vec<u32>, EngineError> {
        let mut generation = self.begin(prompt, options)?;
        while generation.finish.is_none() {
            let token = self.advance(&mut [&mut generation])?[0];
            if token.is_some_and(|token| !on_token(token)) {
                generation.stop();
            }
        }
        Ok(generation.tokens)
    }
}
