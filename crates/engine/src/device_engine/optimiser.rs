//! The inner optimiser's step over all tensors.

use super::DeviceEngine;
use super::buffers::Training;
use crate::muon::{self, Matrix, Muon, MuonBuffers, MuonMemory};
use crate::ops::{AdamW, AdamWBuffers, Ops, OpsResult, View, ViewMut};
use crate::optimiser::{OptimiserConfig, bias_correction};
use crate::transformer::read;
use std::borrow::BorrowMut;
use templar_base::MatrixOptimiser;

impl<O: Ops> DeviceEngine<O> {
    /// Moves the parameters along the gradient, which has this norm.
    pub(super) fn apply_optimiser(&mut self, learning_rate: f32, gradient_norm: f64) -> OpsResult {
        self.reserve_muon()?;
        let Training { parameters, gradient, moments } = self.buffers.in_training(&mut self.ops)?;
        self.step += 1;
        let OptimiserConfig { beta1, beta2, epsilon, weight_decay, clip_norm, .. } = self.optimiser;
        let clip = f64::from(clip_norm);
        let gradient_scale = if gradient_norm > clip { (clip / gradient_norm) as f32 } else { 1.0 };
        let rule = AdamW {
            learning_rate,
            beta1,
            beta2,
            epsilon,
            weight_decay: 0.0,
            correction1: bias_correction(beta1, self.step),
            correction2: bias_correction(beta2, self.step),
            gradient_scale,
        };
        let muon = Muon { learning_rate, weight_decay, gradient_scale };
        let gradient: &O::Memory = read(gradient).memory;
        let parameters: &mut O::Memory = parameters.borrow_mut();
        let first: &mut O::Memory = moments.first.borrow_mut();
        let second: &mut O::Memory = moments.second.borrow_mut();
        for tensor in self.model.layout().tensors() {
            let start = tensor.range.start;
            if let (Some(memory), &[rows, columns]) = (&mut self.muon, &tensor.shape[..])
                && tensor.is_hidden()
            {
                let (ops, matrix) = (&mut self.ops, Matrix { start, rows, columns });
                let buffers = MuonBuffers { gradient, parameters: &mut *parameters, momentum: &mut *first };
                muon::step(ops, muon, matrix, buffers, memory)?;
                continue;
            }
            let rule = if tensor.is_matrix() { AdamW { weight_decay, ..rule } } else { rule };
            let buffers = AdamWBuffers {
                gradient: View::new(gradient, start),
                parameters: ViewMut::new(&mut *parameters, start),
                first_moment: ViewMut::new(&mut *first, start),
                second_moment: ViewMut::new(&mut *second, start),
            };
            self.ops.adamw(rule, buffers, tensor.range.len())?;
        }
        Ok(())
    }

    /// Muon's working memory, allocated at the first step.
    fn reserve_muon(&mut self) -> OpsResult {
        if self.muon.is_none() && self.optimiser.hidden_matrices == MatrixOptimiser::Muon {
            let (values, side) = muon::largest(self.model.layout());
            self.muon = Some(MuonMemory::new(&mut self.ops, values, side)?);
        }
        Ok(())
    }
}
