//! A model that counts the sequences that it is run on.

use templar_engine::Batch;
use templar_gauntlet::{Model, ModelError};

/// Sequences that a model was run on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sequences {
    /// Forwards.
    pub forwards: u64,
    /// Of those, the ones that were run backwards too.
    pub backwards: u64,
}

impl Sequences {
    /// The cost in sequence-forwards: a backward pass takes as many operations as two forward passes.
    pub fn sequence_forwards(self) -> u64 {
        self.forwards + 2 * self.backwards
    }

    pub(super) fn add(&mut self, other: Self) {
        self.forwards += other.forwards;
        self.backwards += other.backwards;
    }
}

/// A model, and how much it was asked for. Judges see no difference.
pub struct Counted<M> {
    model: M,
    /// Sequences of each part.
    parts: Vec<u64>,
    seen: Sequences,
}

impl<M: Model> Counted<M> {
    /// Counts from now on; `text` are the parts that the model is evaluated on.
    pub fn new(model: M, text: &[Batch]) -> Self {
        Self { model, parts: text.iter().map(|part| part.sequences as u64).collect(), seen: Sequences::default() }
    }

    /// What was asked for so far.
    pub fn seen(&self) -> Sequences {
        self.seen
    }
}

impl<M: Model> Model for Counted<M> {
    fn parts(&self) -> usize {
        self.model.parts()
    }

    fn set_point(&mut self, start: usize, params: &[f32]) -> Result<(), ModelError> {
        self.model.set_point(start, params)
    }

    fn gradient(&mut self, part: usize) -> Result<f64, ModelError> {
        let sequences = self.parts.get(part).copied().unwrap_or_default();
        self.seen.add(Sequences { forwards: sequences, backwards: sequences });
        self.model.gradient(part)
    }

    fn read_gradient(&mut self, start: usize, out: &mut [f32]) -> Result<(), ModelError> {
        self.model.read_gradient(start, out)
    }

    fn losses(&mut self) -> Result<Vec<f64>, ModelError> {
        self.seen.add(Sequences { forwards: self.parts.iter().sum(), backwards: 0 });
        self.model.losses()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Loss 1 on every part, gradient 2 everywhere.
    struct Flat;

    impl Model for Flat {
        fn parts(&self) -> usize {
            2
        }

        fn set_point(&mut self, _: usize, _: &[f32]) -> Result<(), ModelError> {
            Ok(())
        }

        fn gradient(&mut self, _: usize) -> Result<f64, ModelError> {
            Ok(1.0)
        }

        fn read_gradient(&mut self, _: usize, out: &mut [f32]) -> Result<(), ModelError> {
            out.fill(2.0);
            Ok(())
        }

        fn losses(&mut self) -> Result<Vec<f64>, ModelError> {
            Ok(vec![1.0; 2])
        }
    }

    #[test]
    fn a_gradient_costs_three_forwards_and_everything_else_passes_through() {
        let text = [3, 5].map(|sequences| Batch::new(vec![0; sequences * 3], sequences, 2));
        let mut model = Counted::new(Flat, &text);
        model.set_point(0, &[0.0]).unwrap();
        assert_eq!((model.parts(), model.seen()), (2, Sequences::default()), "a point costs nothing");
        assert_eq!(model.losses().unwrap(), [1.0, 1.0]);
        assert_eq!(model.seen().sequence_forwards(), 8);
        assert_eq!(model.gradient(1).unwrap(), 1.0);
        let mut gradient = [0.0; 2];
        model.read_gradient(0, &mut gradient).unwrap();
        assert_eq!(gradient, [2.0, 2.0]);
        assert_eq!(model.seen(), Sequences { forwards: 13, backwards: 5 });
        assert_eq!(model.seen().sequence_forwards(), 8 + 3 * 5);
    }
}
