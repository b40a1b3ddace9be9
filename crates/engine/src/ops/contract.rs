//! The contract of [`Ops`], for the tests of any implementation (feature `contract`).
//!
//! Each operation runs on odd sizes and is compared with the scalar path of the CPU; each backward operation is
//! compared with finite differences of its forward one. Operands lie between other values, which must stay as they are.
//!
//! ```
//! use templar_engine::ops::contract::{Accuracy, check};
//! use templar_engine::{Cpu, Isa};
//!
//! check(&mut Cpu::new(Isa::best(), 2)?, Accuracy::Bits);
//! # Ok::<(), templar_engine::EngineError>(())
//! ```

mod cases;
mod slopes;

use super::{Ops, OpsResult, View, ViewMut};
use crate::{Cpu, Isa};
use std::borrow::{Borrow, BorrowMut};
use templar_base::random::Stream;

/// How near an implementation must come to the scalar path.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Accuracy {
    /// The strict profile: the same bits.
    Bits,
    /// The largest difference, as a share of the larger of 1 and the operation's largest value.
    Share(f32),
}

/// Checks every operation.
///
/// # Panics
/// With the operation's name and the first value that is off, or the device's error.
pub fn check<O: Ops>(ops: &mut O, accuracy: Accuracy) {
    let mut oracle = Cpu::new(Isa::Scalar, 1).unwrap_or_else(|error| panic!("the scalar path: {error}"));
    for ((name, case), (_, expected)) in cases::all::<O>().into_iter().zip(cases::all::<Cpu>()) {
        let expected = expected(&mut oracle).unwrap_or_else(|error| panic!("{name} on the scalar path: {error}"));
        let actual = case(ops).unwrap_or_else(|error| panic!("{name}: {error}"));
        compare(name, &actual, &expected, accuracy);
    }
    slopes::check(ops);
}

fn compare(name: &str, actual: &[f32], expected: &[f32], accuracy: Accuracy) {
    assert_eq!(actual.len(), expected.len(), "{name}: values");
    let largest = expected.iter().fold(1.0f32, |largest, value| largest.max(value.abs()));
    for (place, (actual, expected)) in actual.iter().zip(expected).enumerate() {
        let is_near = match accuracy {
            Accuracy::Bits => actual.to_bits() == expected.to_bits(),
            Accuracy::Share(share) => (actual - expected).abs() <= share * largest,
        };
        assert!(is_near, "{name}, value {place}: {actual} for {expected}");
    }
}

/// Values in [-2, 2), another sequence for each index.
fn random(len: usize, index: u64) -> Vec<f32> {
    let mut stream = Stream::new([4; 32], "contract", index);
    (0..len).map(|_| 4.0 * stream.unit_f32() - 2.0).collect()
}

/// Values before and after an operand in its memory.
const MARGIN: usize = 3;

/// An operand in device memory, between other values.
struct Operand<O: Ops> {
    memory: O::Owned,
    len: usize,
}

impl<O: Ops> Operand<O> {
    fn new(ops: &mut O, values: &[f32]) -> OpsResult<Self> {
        let margin = [7.0; MARGIN];
        let whole = [&margin, values, &margin].concat();
        let mut operand = Self { memory: ops.allocate(whole.len())?, len: values.len() };
        ops.upload(&whole, ViewMut::new(operand.memory_mut(), 0))?;
        Ok(operand)
    }

    fn memory(&self) -> &O::Memory {
        self.memory.borrow()
    }

    fn memory_mut(&mut self) -> &mut O::Memory {
        self.memory.borrow_mut()
    }

    fn read(&self) -> View<'_, O::Memory> {
        View::new(self.memory(), MARGIN)
    }

    fn write(&mut self) -> ViewMut<'_, O::Memory> {
        ViewMut::new(self.memory_mut(), MARGIN)
    }

    /// The values with what is around them.
    fn whole(&self, ops: &mut O) -> OpsResult<Vec<f32>> {
        let mut values = vec![0.0; self.len + 2 * MARGIN];
        ops.download(View::new(self.memory(), 0), &mut values)?;
        Ok(values)
    }

    /// The values alone.
    fn values(&self, ops: &mut O) -> OpsResult<Vec<f32>> {
        let mut values = vec![0.0; self.len];
        ops.download(self.read(), &mut values)?;
        Ok(values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_keeps_the_contract_with_every_instruction_set_and_number_of_threads() {
        for isa in Isa::available() {
            for threads in [1, 2, 3] {
                check(&mut Cpu::new(isa, threads).unwrap(), Accuracy::Bits);
            }
        }
    }

    #[test]
    #[should_panic(expected = "sums, value 1: 2 for 2.5")]
    fn a_value_that_is_off_is_named() {
        compare("sums", &[1.0, 2.0], &[1.0, 2.5], Accuracy::Share(0.1));
    }
}
