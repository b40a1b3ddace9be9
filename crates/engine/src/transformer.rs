//! The schedule of the model's forward and backward pass, written once over [`Ops`].
//!
//! ```text
//! x = embedding[tokens]
//! each layer:  x += Wo attention(rope(Wqkv norm(x)))
//!              x += Wdown swiglu(Wgate_up norm(x))
//! logits = Whead norm(x)
//! ```

mod backward;
mod judging;
mod matrices;
mod scoring;
mod workspace;

pub(crate) use backward::GradientSum;
pub(crate) use scoring::ScoredPiece;

use matrices::{LayerMatrices, Matrix, MatrixShapes, PackedLayer};
use workspace::{LayerMemory, Workspace};

use crate::batch::Positions;
use crate::layout::ParamLayout;
use crate::ops::{
    Attention, Gemm, HeadNorm, HeadNormWeights, Heads, Norm, Ops, OpsResult, Rope, Transposition, View, ViewMut,
};
use crate::parts;
use std::borrow::{Borrow, BorrowMut};
use templar_base::ModelConfig;

/// How a layer is run.
struct LayerRun<'a, P> {
    layer: usize,
    /// The row of the stream that the first position has.
    first_row: usize,
    /// Whether what the backward pass needs stays.
    keep: bool,
    /// The layer's matrices, if they were packed.
    packed: Option<&'a PackedLayer<P>>,
}

/// Keys and values of the positions that a generation has passed, a buffer for each layer.
pub(crate) struct Cache<B> {
    qkv: Vec<B>,
    /// Number of positions that it holds.
    pub filled: usize,
    capacity: usize,
}

/// New positions of a text whose cache holds those before them.
struct Extension<'a, B> {
    cache: &'a mut Cache<B>,
    count: usize,
}

/// A model on a device: sizes, working memory, and the passes.
pub(crate) struct Transformer<O: Ops> {
    config: ModelConfig,
    layout: ParamLayout,
    heads: Heads,
    table: O::Owned,
    table_positions: usize,
    workspace: Workspace<O::Owned>,
    /// The layer that is judged.
    packed: PackedLayer<O::Packed>,
    /// Whether training keeps a layer's entry only and computes the rest again in the backward pass.
    is_recomputing: bool,
}

impl<O: Ops> Transformer<O> {
    /// A model of these (checked) sizes.
    pub(crate) fn new(ops: &mut O, config: ModelConfig) -> OpsResult<Self> {
        let heads = Heads::of(&config);
        let workspace = Workspace::new(ops)?;
        let layout = ParamLayout::new(&config);
        let table = ops.allocate(0)?;
        Ok(Self {
            layout,
            heads,
            table,
            table_positions: 0,
            workspace,
            packed: PackedLayer::default(),
            config,
            is_recomputing: false,
        })
    }

    /// Whether training computes the layers a second time rather than keep their activations. No bit of a result
    /// depends on it.
    pub(crate) fn set_recomputing(&mut self, is_recomputing: bool) {
        self.is_recomputing = is_recomputing;
        self.workspace.layers.truncate(1);
        self.workspace.entries.clear();
    }

    pub(crate) fn config(&self) -> &ModelConfig {
        &self.config
    }

    pub(crate) fn layout(&self) -> &ParamLayout {
        &self.layout
    }

    fn logit_rows(&self) -> usize {
        parts::logit_rows(self.config.vocab_size)
    }

    fn norm(&self, rows: usize) -> Norm {
        Norm { rows, width: self.config.hidden_size, epsilon: self.config.rms_norm_eps }
    }

    /// Runs the layers; leaves the residual stream in the workspace. With `keep`, what the backward pass needs stays;
    /// otherwise one memory serves all layers. With extensions, which make up the rows, the positions of each follow
    /// those that its cache holds.
    fn run_layers(
        &mut self,
        ops: &mut O,
        parameters: &O::Memory,
        positions: &Positions,
        keep: bool,
        extensions: &mut [Extension<O::Owned>],
    ) -> OpsResult {
        let (rows, layers) = (positions.rows(), self.config.num_hidden_layers);
        let reach = extensions.iter().map(|new| new.cache.filled + new.count).max();
        self.reserve_positions(ops, reach.unwrap_or(positions.length))?;
        let entries = if keep && self.is_recomputing { layers } else { 0 };
        let memories = if keep && !self.is_recomputing { layers } else { 1 };
        self.reserve_stream(ops, rows)?;
        self.reserve(ops, rows, memories, entries)?;
        self.embed(ops, parameters, positions)?;
        for layer in 0..layers {
            if let Some(entry) = self.workspace.entries.get_mut(layer).filter(|_| entries > 0) {
                let stream = View::new(self.workspace.stream.borrow(), 0);
                ops.copy(stream, write(entry), rows * self.config.hidden_size)?;
            }
            let run = LayerRun { layer, first_row: 0, keep, packed: None };
            self.run_layer(ops, parameters, positions, run, extensions)?;
        }
        for new in extensions {
            new.cache.filled += new.count;
        }
        Ok(())
    }

    /// The rows of the positions' tokens become the stream.
    fn embed(&mut self, ops: &mut O, parameters: &O::Memory, positions: &Positions) -> OpsResult {
        let (table, stream) = (View::new(parameters, 0), write(&mut self.workspace.stream));
        ops.embedding_forward(&positions.inputs, self.config.hidden_size, table, stream)
    }

    /// Which of the memories a layer uses in training.
    fn memory_of(&self, layer: usize) -> usize {
        if self.is_recomputing { 0 } else { layer }
    }

    fn run_layer(
        &mut self,
        ops: &mut O,
        parameters: &O::Memory,
        positions: &Positions,
        run: LayerRun<O::Packed>,
        extensions: &mut [Extension<O::Owned>],
    ) -> OpsResult {
        let LayerRun { layer, first_row, keep, packed } = run;
        let rows = positions.rows();
        let slot = if keep { self.memory_of(layer) } else { 0 };
        let (heads, config, norm) = (self.heads, &self.config, self.norm(rows));
        let hidden = config.hidden_size;
        let at = self.layout.layer(layer);
        let weight = |start| View::new(parameters, start);
        let matrices = LayerMatrices { shapes: MatrixShapes::new(config), parameters, at, packed };
        let Workspace { layers, stream, normed, activated, .. } = &mut self.workspace;
        let memory = &mut layers[slot];
        let stream: &mut O::Memory = stream.borrow_mut();
        let first = first_row * hidden;
        let table = View::new(self.table.borrow(), 0);

        if keep {
            ops.copy(View::new(stream, first), write(&mut memory.input), rows * hidden)?;
        }
        ops.rms_norm_forward(norm, View::new(stream, first), weight(at.input_norm), write(normed))?;
        matrices.apply(ops, Matrix::QueryKeyValue, rows, read(normed), write(&mut memory.qkv))?;
        if config.qk_norm {
            let shape = HeadNorm { rows, heads, epsilon: config.rms_norm_eps };
            let weights = HeadNormWeights { query: weight(at.query_norm), key: weight(at.key_norm) };
            ops.head_norm_forward(shape, weights, write(&mut memory.qkv), write(&mut memory.raw))?;
        }
        if extensions.is_empty() {
            let rope = Rope { rows, length: positions.length, first_position: 0, heads, is_backward: false };
            ops.rope(rope, table, write(&mut memory.qkv))?;
            let (sequences, length) = (positions.sequences, positions.length);
            let document_starts = &positions.document_starts;
            let attention = Attention { heads, sequences, length, first_query: 0, document_starts };
            let (attended, log_sum_exp) = (write(&mut memory.attended), write(&mut memory.log_sum_exp));
            ops.attention_forward(attention, read(&memory.qkv), attended, log_sum_exp)?;
        } else {
            attend_to_caches(ops, heads, table, layer, memory, extensions)?;
        }
        matrices.apply(ops, Matrix::Output, rows, read(&memory.attended), ViewMut::new(stream, first))?;

        if keep {
            ops.copy(View::new(stream, first), write(&mut memory.middle), rows * hidden)?;
        }
        ops.rms_norm_forward(norm, View::new(stream, first), weight(at.middle_norm), write(normed))?;
        matrices.activate(ops, rows, read(normed), &mut memory.gate_up, write(activated))?;
        matrices.apply(ops, Matrix::Down, rows, read(activated), ViewMut::new(stream, first))
    }

    /// `normed[..count] = norm(stream[first..first + count])`.
    fn final_norm(&mut self, ops: &mut O, parameters: &O::Memory, first: usize, count: usize) -> OpsResult {
        let norm = self.norm(count);
        let weight = View::new(parameters, self.layout.final_norm());
        let from = View::new(self.workspace.stream.borrow(), first * self.config.hidden_size);
        ops.rms_norm_forward(norm, from, weight, write(&mut self.workspace.normed))
    }

    /// Writes the logits of some normed rows to the start of the workspace's logits.
    fn logits(&mut self, ops: &mut O, parameters: &O::Memory, first: usize, count: usize) -> OpsResult {
        let (hidden, vocab) = (self.config.hidden_size, self.config.vocab_size);
        self.reserve_logits(ops, count)?;
        let shape = Gemm { m: count, n: vocab, k: hidden, transposition: Transposition::Right, accumulate: false };
        let normed = View::new(self.workspace.normed.borrow(), first * hidden);
        let weight = View::new(parameters, self.layout.head());
        ops.gemm(shape, normed, weight, write(&mut self.workspace.logits))
    }

    /// The logits of every row, `[rows, vocab]`; for tests and tools, as it holds them all.
    pub(crate) fn all_logits(
        &mut self,
        ops: &mut O,
        parameters: &O::Memory,
        positions: &Positions,
    ) -> OpsResult<Vec<f32>> {
        self.run_layers(ops, parameters, positions, false, &mut [])?;
        self.last_logits(ops, parameters, 0, positions.rows())
    }

    /// Room for `positions` positions of a generation.
    pub(crate) fn cache(&self, ops: &mut O, positions: usize) -> OpsResult<Cache<O::Owned>> {
        let layer = |_| ops.allocate(positions * self.heads.row());
        let qkv = (0..self.config.num_hidden_layers).map(layer).collect::<OpsResult<_>>()?;
        Ok(Cache { qkv, filled: 0, capacity: positions })
    }

    /// Appends `tokens` to the cache; returns the logits behind the last one, `[vocab]`.
    pub(crate) fn extend(
        &mut self,
        ops: &mut O,
        parameters: &O::Memory,
        cache: &mut Cache<O::Owned>,
        tokens: &[u32],
    ) -> OpsResult<Vec<f32>> {
        assert!(!tokens.is_empty() && tokens.len() <= cache.capacity - cache.filled, "no room in the cache");
        let mut extension = [Extension { cache, count: tokens.len() }];
        self.run_layers(ops, parameters, &Positions::of_prompt(tokens), false, &mut extension)?;
        self.last_logits(ops, parameters, tokens.len() - 1, 1)
    }

    /// Appends one token to each cache; returns the logits behind each, `[caches, vocab]`. The same bits as of one
    /// cache after the other.
    pub(crate) fn extend_each(
        &mut self,
        ops: &mut O,
        parameters: &O::Memory,
        caches: Vec<&mut Cache<O::Owned>>,
        tokens: &[u32],
    ) -> OpsResult<Vec<f32>> {
        assert!(caches.len() == tokens.len() && !tokens.is_empty(), "a token for each cache");
        let mut extensions: Vec<_> = caches.into_iter().map(|cache| Extension { cache, count: 1 }).collect();
        assert!(extensions.iter().all(|new| new.cache.filled < new.cache.capacity), "no room in a cache");
        self.run_layers(ops, parameters, &Positions::of_prompt(tokens), false, &mut extensions)?;
        self.last_logits(ops, parameters, 0, tokens.len())
    }

    /// The logits of `count` rows of the stream from `first` on.
    fn last_logits(&mut self, ops: &mut O, parameters: &O::Memory, first: usize, count: usize) -> OpsResult<Vec<f32>> {
        self.final_norm(ops, parameters, first, count)?;
        let (vocab, chunk) = (self.config.vocab_size, self.logit_rows());
        let mut all = vec![0.0; count * vocab];
        for (index, logits) in all.chunks_mut(chunk * vocab).enumerate() {
            self.logits(ops, parameters, index * chunk, logits.len() / vocab)?;
            ops.download(read(&self.workspace.logits), logits)?;
        }
        Ok(all)
    }
}

/// Rotates the new rows of each text by their positions, puts them into its cache, and lets them see what it holds.
fn attend_to_caches<O: Ops>(
    ops: &mut O,
    heads: Heads,
    table: View<O::Memory>,
    layer: usize,
    memory: &mut LayerMemory<O::Owned>,
    extensions: &mut [Extension<O::Owned>],
) -> OpsResult {
    let mut row = 0;
    for Extension { cache, count } in extensions {
        let (first, count, qkv) = (cache.filled, *count, row * heads.row());
        let rope = Rope { rows: count, length: count, first_position: first, heads, is_backward: false };
        ops.rope(rope, table, ViewMut::new(memory.qkv.borrow_mut(), qkv))?;
        let cached: &mut O::Memory = cache.qkv[layer].borrow_mut();
        let (new, place) = (View::new(memory.qkv.borrow(), qkv), ViewMut::new(&mut *cached, first * heads.row()));
        ops.copy(new, place, count * heads.row())?;
        let attention =
            Attention { heads, sequences: 1, length: first + count, first_query: first, document_starts: &[] };
        let attended = ViewMut::new(memory.attended.borrow_mut(), row * heads.queries());
        let log_sum_exp = ViewMut::new(memory.log_sum_exp.borrow_mut(), row * heads.heads);
        ops.attention_forward(attention, View::new(cached, 0), attended, log_sum_exp)?;
        row += count;
    }
    Ok(())
}

/// The start of a buffer, to read.
pub(crate) fn read<M: ?Sized, B: Borrow<M>>(buffer: &B) -> View<'_, M> {
    View::new(buffer.borrow(), 0)
}

/// The start of a buffer, to write.
pub(crate) fn write<M: ?Sized, B: BorrowMut<M>>(buffer: &mut B) -> ViewMut<'_, M> {
    ViewMut::new(buffer.borrow_mut(), 0)
}

#[cfg(test)]
mod tests;
