//! Muon: a step for a matrix along its momentum made orthogonal (Jordan and others, 2024).
//!
//! ```text
//! M = mu M + (1 - mu) g              running mean of the gradient
//! U = mu M + (1 - mu) g              Nesterov's look ahead
//! X = U / (|U| + 1e-7)               then five times (Newton and Schulz, an odd polynomial of the singular values)
//! X = a X + (b G + c G²) X           with G = X Xᵀ; for a tall matrix X (b G + c G²) with G = Xᵀ X
//! W = W (1 - lr decay) - lr 0.2 sqrt(max(rows, columns)) X
//! ```
//!
//! The polynomial brings all singular values near 1 without a decomposition. The last factor gives the step the size
//! that AdamW's steps usually have, so that one learning rate serves both (Moonlight, 2025). All of it is products and
//! sums of the strict profile: equal bits everywhere.

use crate::ParamLayout;
use crate::ops::{Gemm, Ops, OpsResult, Transposition, View, ViewMut};
use crate::transformer::{read, write};
use std::borrow::{Borrow, BorrowMut};

/// Decay of the running mean.
const MOMENTUM: f32 = 0.95;

/// Coefficients a, b, c of the polynomial: steepest at 0 among those that keep the values within 0.7 to 1.2.
const POLYNOMIAL: [f32; 3] = [3.4445, -4.7750, 2.0315];

/// Times that the polynomial is applied.
const ROUNDS: usize = 5;

/// Keeps a matrix without gradient from a division by zero.
const SMALLEST_NORM: f64 = 1e-7;

/// Root mean square of a step of AdamW, about.
const USUAL_STEP: f64 = 0.2;

/// The factors of one update.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Muon {
    pub learning_rate: f32,
    /// Share of the weight (times the learning rate) that is taken off.
    pub weight_decay: f32,
    /// The gradient is multiplied by this first (clipping).
    pub gradient_scale: f32,
}

/// Where a matrix `[rows, columns]` lies in the flat buffers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Matrix {
    pub start: usize,
    pub rows: usize,
    pub columns: usize,
}

/// Working memory: two matrices of the largest size, and three squares of the largest smaller side.
pub(crate) struct MuonMemory<B> {
    direction: B,
    next: B,
    gram: B,
    square: B,
    polynomial: B,
}

impl<B> MuonMemory<B> {
    /// For matrices of at most `values` values whose smaller side is at most `side`.
    pub(crate) fn new<O: Ops<Owned = B>>(ops: &mut O, values: usize, side: usize) -> OpsResult<Self> {
        Ok(Self {
            direction: ops.allocate(values)?,
            next: ops.allocate(values)?,
            gram: ops.allocate(side * side)?,
            square: ops.allocate(side * side)?,
            polynomial: ops.allocate(side * side)?,
        })
    }
}

/// The most values and the longest smaller side of the matrices that Muon moves.
pub(crate) fn largest(layout: &ParamLayout) -> (usize, usize) {
    let hidden = layout.tensors().iter().filter(|tensor| tensor.is_hidden());
    let values = hidden.clone().map(|tensor| tensor.range.len()).max().unwrap_or(0);
    let side = hidden.filter_map(|tensor| tensor.shape.iter().min().copied()).max().unwrap_or(0);
    (values, side)
}

/// The whole flat buffers that an update reads and writes.
pub(crate) struct MuonBuffers<'a, M: ?Sized> {
    pub gradient: &'a M,
    pub parameters: &'a mut M,
    pub momentum: &'a mut M,
}

/// One update of a matrix.
pub(crate) fn step<O: Ops>(
    ops: &mut O,
    rule: Muon,
    matrix: Matrix,
    buffers: MuonBuffers<O::Memory>,
    memory: &mut MuonMemory<O::Owned>,
) -> OpsResult {
    let Matrix { start, rows, columns } = matrix;
    let MuonBuffers { gradient, parameters, momentum } = buffers;
    let len = rows * columns;
    let new = (1.0 - MOMENTUM) * rule.gradient_scale;
    let gradient = View::new(gradient, start);
    let MuonMemory { direction, next, .. } = memory;
    sum(ops, [(MOMENTUM, View::new(momentum, start)), (new, gradient)], next.borrow_mut(), len)?;
    ops.copy(read(next), ViewMut::new(momentum, start), len)?;
    sum(ops, [(MOMENTUM, View::new(momentum, start)), (new, gradient)], next.borrow_mut(), len)?;
    let norm = ops.sum_of_squares(read(next), len)?.sqrt();
    ops.zero(write(direction), len)?;
    let inverse = (1.0 / (norm + SMALLEST_NORM)) as f32;
    ops.axpy(inverse, read(next), write(direction), len)?;
    for _ in 0..ROUNDS {
        orthogonalise(ops, rows, columns, memory)?;
    }
    let MuonMemory { direction, next, .. } = memory;
    let size = (USUAL_STEP * (rows.max(columns) as f64).sqrt()) as f32;
    let kept = (1.0 - rule.learning_rate * rule.weight_decay, View::new(parameters, start));
    let taken = (-rule.learning_rate * size, read(direction));
    sum(ops, [kept, taken], next.borrow_mut(), len)?;
    ops.copy(read(next), ViewMut::new(parameters, start), len)
}

/// `to = factor x + factor' x'`.
fn sum<O: Ops>(ops: &mut O, terms: [(f32, View<O::Memory>); 2], to: &mut O::Memory, len: usize) -> OpsResult {
    ops.zero(ViewMut::new(to, 0), len)?;
    for (factor, x) in terms {
        ops.axpy(factor, x, ViewMut::new(to, 0), len)?;
    }
    Ok(())
}

/// Applies the polynomial to the direction once.
fn orthogonalise<O: Ops>(ops: &mut O, rows: usize, columns: usize, memory: &mut MuonMemory<O::Owned>) -> OpsResult {
    let MuonMemory { direction, next, gram, square, polynomial } = memory;
    let (side, long) = (rows.min(columns), rows.max(columns));
    let [a, b, c] = POLYNOMIAL;
    let is_tall = rows > columns;
    let product = |m, n, k, transposition| Gemm { m, n, k, transposition, accumulate: false };
    let whole = |x| View::new(x, 0);

    let transposition = if is_tall { Transposition::Left } else { Transposition::Right };
    let x: &O::Memory = (*direction).borrow();
    ops.gemm(product(side, side, long, transposition), whole(x), whole(x), ViewMut::new(gram.borrow_mut(), 0))?;
    let gram: &O::Memory = (*gram).borrow();
    let squaring = product(side, side, side, Transposition::Neither);
    ops.gemm(squaring, whole(gram), whole(gram), ViewMut::new(square.borrow_mut(), 0))?;
    sum(ops, [(b, whole(gram)), (c, whole((*square).borrow()))], polynomial.borrow_mut(), side * side)?;
    let polynomial: &O::Memory = (*polynomial).borrow();
    let shape = product(rows, columns, side, Transposition::Neither);
    let (left, right) = if is_tall { (x, polynomial) } else { (polynomial, x) };
    ops.gemm(shape, whole(left), whole(right), ViewMut::new(next.borrow_mut(), 0))?;
    ops.axpy(a, whole(x), ViewMut::new(next.borrow_mut(), 0), rows * columns)?;
    std::mem::swap(direction, next);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Cpu, Isa};
    use templar_base::random::Stream;

    fn random(len: usize, index: u64) -> Vec<f32> {
        let mut stream = Stream::new([4; 32], "muon test", index);
        (0..len).map(|_| 2.0 * stream.unit_f32() - 1.0).collect()
    }

    /// `a b` of row-major f64 matrices `[m, k]` and `[k, n]`.
    fn times(a: &[f64], b: &[f64], m: usize, k: usize, n: usize) -> Vec<f64> {
        (0..m * n).map(|place| (0..k).map(|i| a[place / n * k + i] * b[i * n + place % n]).sum()).collect()
    }

    fn transposed(a: &[f64], rows: usize, columns: usize) -> Vec<f64> {
        (0..rows * columns).map(|place| a[place % rows * columns + place / rows]).collect()
    }

    /// The formulas at the head of this file in f64, always from the side `X Xᵀ`.
    fn by_the_formulas(rule: Muon, shape: (usize, usize), g: &[f32], w: &mut [f64], momentum: &mut [f64]) {
        let (m, n) = shape;
        let g: Vec<f64> = g.iter().map(|&g| f64::from(g) * f64::from(rule.gradient_scale)).collect();
        momentum.iter_mut().zip(&g).for_each(|(m, g)| *m = 0.95 * *m + 0.05 * g);
        let u: Vec<f64> = momentum.iter().zip(&g).map(|(m, g)| 0.95 * m + 0.05 * g).collect();
        let norm = u.iter().map(|u| u * u).sum::<f64>().sqrt() + 1e-7;
        let mut x: Vec<f64> = u.iter().map(|u| u / norm).collect();
        for _ in 0..5 {
            let gram = times(&x, &transposed(&x, m, n), m, n, m);
            let square = times(&gram, &gram, m, m, m);
            let polynomial: Vec<f64> = gram.iter().zip(&square).map(|(g, s)| -4.7750 * g + 2.0315 * s).collect();
            let turned = times(&polynomial, &x, m, m, n);
            x = x.iter().zip(&turned).map(|(x, y)| 3.4445 * x + y).collect();
        }
        let rate = f64::from(rule.learning_rate);
        let size = 0.2 * (m.max(n) as f64).sqrt();
        w.iter_mut().zip(&x).for_each(|(w, x)| *w = *w * (1.0 - rate * f64::from(rule.weight_decay)) - rate * size * x);
    }

    #[test]
    fn wide_tall_and_square_matrices_follow_the_formulas() {
        let rule = Muon { learning_rate: 0.02, weight_decay: 0.1, gradient_scale: 0.5 };
        for (rows, columns) in [(7, 19), (19, 7), (8, 8), (1, 5)] {
            let (start, len) = (3, rows * columns);
            let mut parameters = random(start + len + 2, 1);
            let before = parameters.clone();
            let mut momentum = vec![0.0; start + len];
            let mut expected: Vec<f64> = parameters[start..start + len].iter().map(|&w| w.into()).collect();
            let mut expected_momentum = vec![0.0; len];
            let mut ops = Cpu::new(Isa::best(), 2).unwrap();
            let mut memory = MuonMemory::new(&mut ops, len, rows.min(columns)).unwrap();
            for round in 0..3 {
                let gradient = random(start + len, 10 + round);
                let matrix = Matrix { start, rows, columns };
                let buffers = MuonBuffers {
                    gradient: &gradient[..],
                    parameters: &mut parameters[..],
                    momentum: &mut momentum[..],
                };
                step(&mut ops, rule, matrix, buffers, &mut memory).unwrap();
                let (w, m) = (&mut expected, &mut expected_momentum);
                by_the_formulas(rule, (rows, columns), &gradient[start..], w, m);
            }
            for (w, expected) in parameters[start..].iter().zip(&expected) {
                assert!((f64::from(*w) - expected).abs() < 2e-5, "{rows} x {columns}: {w} for {expected}");
            }
            assert_eq!((&parameters[..start], &parameters[start + len..]), (&before[..start], &before[start + len..]));
        }
    }

    #[test]
    fn the_direction_is_nearly_orthogonal() {
        let (rows, columns) = (12, 40);
        let rule = Muon { learning_rate: 1.0, weight_decay: 0.0, gradient_scale: 1.0 };
        let mut ops = Cpu::new(Isa::best(), 1).unwrap();
        let mut memory = MuonMemory::new(&mut ops, rows * columns, rows).unwrap();
        let mut parameters = vec![0.0; rows * columns];
        let mut momentum = parameters.clone();
        let gradient = random(rows * columns, 2);
        let mut turn = |gradient: &[f32], parameters: &mut [f32], momentum: &mut [f32]| {
            let buffers = MuonBuffers { gradient, parameters, momentum };
            step(&mut ops, rule, Matrix { start: 0, rows, columns }, buffers, &mut memory).unwrap();
        };
        turn(&gradient, &mut parameters, &mut momentum);
        let size = 0.2 * (columns as f64).sqrt();
        let x: Vec<f64> = parameters.iter().map(|&w| f64::from(w) / -size).collect();
        let gram = times(&x, &transposed(&x, rows, columns), rows, columns, rows);
        for (place, value) in gram.iter().enumerate() {
            let (low, high) = if place % (rows + 1) == 0 { (0.4, 1.5) } else { (-0.4, 0.4) };
            assert!((low..high).contains(value), "{place}: {value}");
        }
        // A matrix without gradient stays where it is.
        let before = parameters.clone();
        let (nothing, mut momentum) = (vec![0.0; rows * columns], vec![0.0; rows * columns]);
        turn(&nothing, &mut parameters, &mut momentum);
        assert_eq!(parameters, before);
    }
}
