//! DiLoCo: the whole drift of each worker, averaged, under an outer Nesterov momentum (Douillard and others 2023).

use super::{Content, Exchange, ExchangeError, Message, check_length};

/// Dense DiLoCo. With g the mean drift:
/// ```text
/// m ← μ·m + g
/// Θ ← Θ − α·rate·(g + μ·m)
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Diloco {
    /// Outer learning rate; 0.7 as published.
    pub rate: f32,
    /// Nesterov momentum (μ); 0.9 as published.
    pub momentum: f32,
}

impl Exchange for Diloco {
    fn send(&self, memory: &mut Vec<f32>, drift: &[f32]) -> Result<Message, ExchangeError> {
        check_length(drift.len(), memory.len())?;
        let values: Vec<f32> = memory.iter_mut().zip(drift).map(|(e, delta)| std::mem::take(e) + delta).collect();
        Ok(Message { bytes: 4 * drift.len(), content: Content::Dense(values) })
    }

    fn take_back(&self, memory: &mut Vec<f32>, message: &Message) -> Result<(), ExchangeError> {
        let Content::Dense(values) = &message.content else { return Err(ExchangeError::Foreign) };
        check_length(values.len(), memory.len())?;
        memory.iter_mut().zip(values).for_each(|(e, value)| *e += value);
        Ok(())
    }

    fn apply(
        &self,
        params: &mut [f32],
        momentum: &mut [f32],
        messages: &[Message],
        alpha: f32,
    ) -> Result<usize, ExchangeError> {
        check_length(momentum.len(), params.len())?;
        let mut mean = vec![0f32; params.len()];
        for message in messages {
            let Content::Dense(values) = &message.content else { return Err(ExchangeError::Foreign) };
            check_length(values.len(), params.len())?;
            mean.iter_mut().zip(values).for_each(|(mean, value)| *mean += value);
        }
        let count = messages.len().max(1) as f32;
        for ((theta, m), sum) in params.iter_mut().zip(momentum).zip(mean) {
            let g = sum / count;
            *m = self.momentum * *m + g;
            *theta -= alpha * self.rate * (g + self.momentum * *m);
        }
        Ok(4 * params.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_steps_are_nesterovs() {
        let rule = Diloco { rate: 0.5, momentum: 0.8 };
        let (mut params, mut momentum) = (vec![1f32], vec![0f32]);
        let send = |drift: f32| rule.send(&mut vec![0.0], &[drift]).unwrap();
        rule.apply(&mut params, &mut momentum, &[send(0.5), send(1.5)], 1.0).unwrap();
        // g = 1, m = 1, step 0.5 · (1 + 0.8).
        assert!((params[0] - (1.0 - 0.9)).abs() < 1e-6);
        rule.apply(&mut params, &mut momentum, &[send(2.0)], 1.0).unwrap();
        // g = 2, m = 2.8, step 0.5 · (2 + 0.8 · 2.8).
        assert!((params[0] - (0.1 - 2.12)).abs() < 1e-6);
    }
}
