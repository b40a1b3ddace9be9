//! DeMo: what moves fast in the momentum is sent in the frequency domain, and all step by the sign of the mean (Peng,
//! Quesnelle and Kingma 2024).

use super::{Content, Exchange, ExchangeError, Message, accumulate, check_length, sparse_mean};
use crate::feedback::{Scratch, select_largest};
use crate::frequencies;
use crate::layout::GradientLayout;

/// DeMo's rule. With D the orthonormal cosine transform (DCT-II) of each block of 64 values:
/// ```text
/// m ← β·m + Δ
/// q = the k largest of D·m in each chunk      sent
/// m ← m − Dᵀ·q
/// Θ ← Θ − α·sign(Dᵀ·mean of q)
/// ```
/// A sent coefficient costs 12 bits of index and 32 of value.
#[derive(Debug, Clone)]
pub struct Demo {
    /// How many coefficients are kept of each tensor's chunks.
    pub layout: GradientLayout,
    /// Decay of the momentum (β).
    pub decay: f32,
}

impl Demo {
    /// The values of these coefficients, over the parameters.
    fn values_of(&self, coefficients: &[(usize, f32)]) -> Result<Vec<f32>, ExchangeError> {
        let mut values = vec![0f32; self.layout.parameters()];
        for (place, coefficient) in coefficients {
            *values.get_mut(*place).ok_or(ExchangeError::Foreign)? = *coefficient;
        }
        frequencies::backwards(&self.layout, &mut values);
        Ok(values)
    }
}

impl Exchange for Demo {
    fn send(&self, memory: &mut Vec<f32>, drift: &[f32]) -> Result<Message, ExchangeError> {
        check_length(drift.len(), self.layout.parameters())?;
        accumulate(memory, drift, self.decay)?;
        let mut frequencies = memory.clone();
        frequencies::forwards(&self.layout, &mut frequencies);
        let mut sent = Vec::with_capacity(self.layout.kept());
        let (mut scratch, mut kept) = (Scratch::default(), Vec::new());
        for chunk in self.layout.chunks() {
            select_largest(&frequencies[chunk.range()], usize::from(chunk.kept), &mut scratch, &mut kept);
            let place = |index: &u16| chunk.start + usize::from(*index);
            sent.extend(kept.iter().map(|index| (place(index), frequencies[place(index)])));
        }
        memory.iter_mut().zip(self.values_of(&sent)?).for_each(|(m, value)| *m -= value);
        Ok(Message { bytes: (sent.len() * 44).div_ceil(8), content: Content::Sparse(sent) })
    }

    fn take_back(&self, memory: &mut Vec<f32>, message: &Message) -> Result<(), ExchangeError> {
        let Content::Sparse(sent) = &message.content else { return Err(ExchangeError::Foreign) };
        check_length(memory.len(), self.layout.parameters())?;
        memory.iter_mut().zip(self.values_of(sent)?).for_each(|(m, value)| *m += value);
        Ok(())
    }

    fn apply(
        &self,
        params: &mut [f32],
        _momentum: &mut [f32],
        messages: &[Message],
        alpha: f32,
    ) -> Result<usize, ExchangeError> {
        check_length(params.len(), self.layout.parameters())?;
        let mut step = sparse_mean(messages, params.len())?;
        frequencies::backwards(&self.layout, &mut step);
        for (theta, value) in params.iter_mut().zip(step) {
            // A value that is no direction does not step.
            *theta -= if value == 0.0 { 0.0 } else { alpha * value.signum() };
        }
        Ok(messages.iter().map(|message| message.bytes).sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: usize = 64;

    fn wave(frequency: usize) -> [f32; BLOCK] {
        let angle = |place: usize| std::f64::consts::PI * ((2 * place + 1) * frequency) as f64 / (2 * BLOCK) as f64;
        std::array::from_fn(|place| angle(place).cos() as f32)
    }

    #[test]
    fn a_step_is_the_sign_of_the_mean_of_what_was_sent() {
        let layout = GradientLayout::new([("t".to_owned(), BLOCK, 64)]).unwrap();
        // One coefficient of a short chunk is kept: the wave, which both workers have in another size.
        let rule = Demo { layout, decay: 1.0 };
        let send = |size: f32| {
            let drift: Vec<f32> = wave(3).iter().map(|value| size * value).collect();
            let mut memory = vec![0f32; BLOCK];
            let message = rule.send(&mut memory, &drift).unwrap();
            assert!(memory.iter().all(|value| value.abs() < 1e-5));
            message
        };
        let mut params = vec![0f32; BLOCK];
        rule.apply(&mut params, &mut [], &[send(2.0), send(-1.0)], 0.25).unwrap();
        for (value, wave) in params.iter().zip(wave(3)) {
            assert_eq!(*value, -0.25 * wave.signum());
        }
    }
}
