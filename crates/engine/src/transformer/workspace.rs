//! The memory of the passes.

use super::Transformer;
use crate::ops::{Ops, OpsResult, ViewMut};
use crate::rope::rope_table;
use std::borrow::BorrowMut;

/// What a layer's backward pass needs of its forward pass; each `[rows, width]`.
pub(super) struct LayerMemory<B> {
    /// Entering the layer.
    pub input: B,
    /// Queries, keys and values, rotated.
    pub qkv: B,
    /// Queries and keys before their norms (with QK-norm only).
    pub raw: B,
    pub attended: B,
    /// `[sequences, heads, length]`.
    pub log_sum_exp: B,
    /// Between attention and SwiGLU.
    pub middle: B,
    pub gate_up: B,
}

/// Memory of the passes; it grows when a larger batch comes.
pub(super) struct Workspace<B> {
    /// Rows of the stream and of its norm.
    pub stream_rows: usize,
    /// Rows of what layers work in.
    pub rows: usize,
    pub logit_rows: usize,
    /// One for each layer in training, else one for all.
    pub layers: Vec<LayerMemory<B>>,
    /// The stream as it enters each layer, where layers are computed again in the backward pass.
    pub entries: Vec<B>,
    /// The residual stream `[rows, hidden]`.
    pub stream: B,
    /// The norm of the stream where it was taken last; the backward pass makes those of the layers again, which costs
    /// less than memory for them.
    pub normed: B,
    /// SwiGLU's output `[rows, intermediate]`, made again like the norms.
    pub activated: B,
    pub logits: B,
    pub backward_rows: usize,
    pub backward: Option<BackwardMemory<B>>,
    pub embedded_rows: usize,
    /// The gradient of the embedded tokens of all parts.
    pub d_embedded: B,
}

pub(super) struct BackwardMemory<B> {
    pub d_stream: B,
    pub d_normed: B,
    pub d_qkv: B,
    pub d_activated: B,
}

impl<B> Workspace<B> {
    /// Without room for anything.
    pub(super) fn new<O: Ops<Owned = B>>(ops: &mut O) -> OpsResult<Self> {
        Ok(Self {
            stream_rows: 0,
            rows: 0,
            logit_rows: 0,
            layers: Vec::new(),
            entries: Vec::new(),
            stream: ops.allocate(0)?,
            normed: ops.allocate(0)?,
            activated: ops.allocate(0)?,
            logits: ops.allocate(0)?,
            backward_rows: 0,
            backward: None,
            embedded_rows: 0,
            d_embedded: ops.allocate(0)?,
        })
    }
}

// What is reserved counts as there only once it was allocated: a device may run out of memory in between.
impl<O: Ops> Transformer<O> {
    pub(super) fn reserve_positions(&mut self, ops: &mut O, positions: usize) -> OpsResult {
        if positions <= self.table_positions {
            return Ok(());
        }
        let positions = positions.next_multiple_of(64);
        let table = rope_table(&self.config, positions);
        self.table_positions = 0;
        self.table = ops.allocate(table.len())?;
        ops.upload(&table, ViewMut::new(self.table.borrow_mut(), 0))?;
        self.table_positions = positions;
        Ok(())
    }

    /// Makes room for a stream of this number of rows.
    pub(super) fn reserve_stream(&mut self, ops: &mut O, rows: usize) -> OpsResult {
        let workspace = &mut self.workspace;
        if rows > workspace.stream_rows {
            workspace.stream_rows = 0;
            // The old memory goes before the new one comes.
            workspace.stream = ops.allocate(0)?;
            workspace.normed = ops.allocate(0)?;
            workspace.stream = ops.allocate(rows * self.config.hidden_size)?;
            workspace.normed = ops.allocate(rows * self.config.hidden_size)?;
            workspace.stream_rows = rows;
        }
        Ok(())
    }

    /// Makes room for the logits of `rows` rows, or of as many of them as exist at once.
    pub(super) fn reserve_logits(&mut self, ops: &mut O, rows: usize) -> OpsResult {
        let rows = rows.min(self.logit_rows());
        let workspace = &mut self.workspace;
        if rows > workspace.logit_rows {
            workspace.logit_rows = 0;
            workspace.logits = ops.allocate(0)?;
            workspace.logits = ops.allocate(rows * self.config.vocab_size)?;
            workspace.logit_rows = rows;
        }
        Ok(())
    }

    /// Makes room for `rows` rows in the layers, the memory of `layers` of them, and the entries of `entries`.
    pub(super) fn reserve(&mut self, ops: &mut O, rows: usize, layers: usize, entries: usize) -> OpsResult {
        let (config, heads, workspace) = (&self.config, self.heads, &mut self.workspace);
        if rows > workspace.rows {
            let kept = workspace.layers.len();
            workspace.rows = 0;
            workspace.layers.clear();
            workspace.entries.clear();
            workspace.activated = ops.allocate(0)?;
            workspace.activated = ops.allocate(rows * config.intermediate_size)?;
            workspace.rows = rows;
            workspace.layers.reserve(kept);
        }
        let rows = workspace.rows;
        while workspace.entries.len() < entries {
            workspace.entries.push(ops.allocate(rows * config.hidden_size)?);
        }
        while workspace.layers.len() < layers {
            let raw = if config.qk_norm { heads.rotated() * heads.head_dim } else { 0 };
            workspace.layers.push(LayerMemory {
                input: ops.allocate(rows * config.hidden_size)?,
                qkv: ops.allocate(rows * heads.row())?,
                raw: ops.allocate(rows * raw)?,
                attended: ops.allocate(rows * heads.queries())?,
                log_sum_exp: ops.allocate(rows * heads.heads)?,
                middle: ops.allocate(rows * config.hidden_size)?,
                gate_up: ops.allocate(rows * 2 * config.intermediate_size)?,
            });
        }
        Ok(())
    }

    pub(super) fn reserve_backward(&mut self, ops: &mut O) -> OpsResult {
        let (config, workspace) = (&self.config, &mut self.workspace);
        let rows = workspace.rows;
        if workspace.backward.is_none() || workspace.backward_rows < rows {
            workspace.backward = None;
            workspace.backward = Some(BackwardMemory {
                d_stream: ops.allocate(rows * config.hidden_size)?,
                d_normed: ops.allocate(rows * config.hidden_size.max(self.heads.queries()))?,
                d_qkv: ops.allocate(rows * self.heads.row())?,
                d_activated: ops.allocate(rows * config.intermediate_size)?,
            });
            workspace.backward_rows = rows;
        }
        Ok(())
    }

    pub(super) fn reserve_embedded(&mut self, ops: &mut O, rows: usize) -> OpsResult {
        if rows > self.workspace.embedded_rows {
            self.workspace.embedded_rows = 0;
            self.workspace.d_embedded = ops.allocate(rows * self.config.hidden_size)?;
            self.workspace.embedded_rows = rows;
        }
        Ok(())
    }
}
