//! The published sparse rules: the largest values of each chunk, each as a 12-bit index and a few bits of value.

use super::{Content, Exchange, ExchangeError, Message, accumulate, check_length, sparse_mean};
use crate::bits::{BitReader, BitWriter};
use crate::feedback::{Scratch, select_largest};
use crate::layout::GradientLayout;

const INDEX_BITS: u32 = 12;

/// The bins of a tensor's values span six standard deviations.
const SPAN_IN_DEVIATIONS: f64 = 6.0;

/// Error feedback and the largest values of each chunk, quantised to `bits` bits in equal bins about the tensor's mean;
/// a table tells the mean of each bin. Merged by the mean over all. With 2 bits a value costs 14 (the published rule),
/// with 8 bits 20 (the shipped one).
#[derive(Debug, Clone)]
pub struct QuantisedTopK {
    /// What is kept of each tensor.
    pub layout: GradientLayout,
    /// Bits of a value, 1..=8.
    pub bits: u32,
    /// Decay of the error feedback.
    pub decay: f32,
}

/// Bytes that are not a coding of this layout; whoever made them is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{actual} bytes of quantised values where the layout makes {expected}, or an index out of its chunk")]
pub struct QuantisedError {
    /// Length in bytes.
    pub actual: usize,
    /// The only length that there is.
    pub expected: usize,
}

impl QuantisedTopK {
    /// Codes the largest of `values` (one for each parameter). Chunks are full: zeros are sent where there are too few
    /// other values.
    pub fn encode(&self, values: &[f32]) -> Vec<u8> {
        let bins = 1usize << self.bits;
        let mut writer = BitWriter::default();
        let (mut scratch, mut kept) = (Scratch::default(), Vec::new());
        for tensor in self.layout.tensors() {
            let mut selected: Vec<(u16, f32)> = Vec::new();
            for chunk in &self.layout.chunks()[tensor.chunks()] {
                let own = &values[chunk.range()];
                select_largest(own, usize::from(chunk.kept), &mut scratch, &mut kept);
                let unused = (0..chunk.len).filter(|index| kept.binary_search(index).is_err());
                let filling: Vec<u16> = unused.take(usize::from(chunk.kept) - kept.len()).collect();
                kept.extend(filling);
                selected.extend(kept.iter().map(|index| (*index, own[usize::from(*index)])));
            }
            let count = selected.len() as f64;
            let mean = selected.iter().map(|(_, value)| f64::from(*value)).sum::<f64>() / count;
            let square = |(_, value): &(u16, f32)| (f64::from(*value) - mean).powi(2);
            let deviation = (selected.iter().map(square).sum::<f64>() / count).sqrt();
            let width = (SPAN_IN_DEVIATIONS * deviation / bins as f64).max(f64::from(f32::MIN_POSITIVE));
            let bin_of = |value: f32| {
                let bin = ((f64::from(value) - mean) / width + bins as f64 / 2.0).round();
                bin.clamp(0.0, (bins - 1) as f64) as usize
            };
            let mut table = vec![(0f64, 0u32); bins];
            for (_, value) in &selected {
                let entry = &mut table[bin_of(*value)];
                *entry = (entry.0 + f64::from(*value), entry.1 + 1);
            }
            for (sum, count) in &table {
                let mean = (sum / f64::from((*count).max(1))) as f32;
                writer.push(u64::from(mean.to_bits()), 32);
            }
            for (index, value) in &selected {
                writer.push((bin_of(*value) as u64) << INDEX_BITS | u64::from(*index), INDEX_BITS + self.bits);
            }
        }
        writer.finish()
    }

    /// Length of every coding in bytes.
    fn coded_bytes(&self) -> usize {
        let tables = self.layout.tensors().len() << self.bits;
        (32 * tables + self.layout.kept() * (INDEX_BITS + self.bits) as usize).div_ceil(8)
    }

    /// Place and value of what was coded.
    pub fn decode(&self, bytes: &[u8]) -> Result<Vec<(usize, f32)>, QuantisedError> {
        let error = QuantisedError { actual: bytes.len(), expected: self.coded_bytes() };
        if bytes.len() != error.expected {
            return Err(error);
        }
        let mut reader = BitReader::new(bytes);
        let mut values = Vec::with_capacity(self.layout.kept());
        for tensor in self.layout.tensors() {
            let table: Vec<f32> = (0..1 << self.bits).map(|_| f32::from_bits(reader.take(32) as u32)).collect();
            for chunk in &self.layout.chunks()[tensor.chunks()] {
                for _ in 0..chunk.kept {
                    let coded = reader.take(INDEX_BITS + self.bits);
                    let index = (coded & ((1 << INDEX_BITS) - 1)) as usize;
                    if index >= usize::from(chunk.len) {
                        return Err(error);
                    }
                    values.push((chunk.start + index, table[(coded >> INDEX_BITS) as usize]));
                }
            }
        }
        Ok(values)
    }
}

impl Exchange for QuantisedTopK {
    fn send(&self, memory: &mut Vec<f32>, drift: &[f32]) -> Result<Message, ExchangeError> {
        check_length(drift.len(), self.layout.parameters())?;
        accumulate(memory, drift, self.decay)?;
        let bytes = self.encode(memory);
        let values = self.decode(&bytes).map_err(|_| ExchangeError::Foreign)?;
        values.iter().for_each(|(place, value)| memory[*place] -= value);
        Ok(Message { bytes: bytes.len(), content: Content::Sparse(values) })
    }

    fn take_back(&self, memory: &mut Vec<f32>, message: &Message) -> Result<(), ExchangeError> {
        let Content::Sparse(values) = &message.content else { return Err(ExchangeError::Foreign) };
        check_length(memory.len(), self.layout.parameters())?;
        values.iter().for_each(|(place, value)| memory[*place] += value);
        Ok(())
    }

    fn apply(
        &self,
        params: &mut [f32],
        _momentum: &mut [f32],
        messages: &[Message],
        alpha: f32,
    ) -> Result<usize, ExchangeError> {
        let mean = sparse_mean(messages, params.len())?;
        params.iter_mut().zip(mean).for_each(|(theta, mean)| *theta -= alpha * mean);
        Ok(messages.iter().map(|message| message.bytes).sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(bits: u32) -> QuantisedTopK {
        QuantisedTopK { layout: GradientLayout::new([("t".to_owned(), 9000, 64)]).unwrap(), bits, decay: 0.9 }
    }

    #[test]
    fn a_value_costs_its_bits_and_a_table() {
        let values: Vec<f32> = (0..9000).map(|j| ((j * 37 % 101) as f32 - 50.0) * 1e-3).collect();
        for (bits, of_a_value) in [(2, 14), (8, 20)] {
            let rule = rule(bits);
            let bytes = rule.encode(&values);
            assert_eq!(bytes.len(), (of_a_value * rule.layout.kept() + (32 << bits)).div_ceil(8));
            let decoded = rule.decode(&bytes).unwrap();
            // What is sent has the largest magnitudes, and eight bits come near to each.
            assert!(decoded.iter().all(|(place, _)| values[*place].abs() > 0.048));
            let furthest = decoded.iter().map(|(place, value)| (values[*place] - value).abs()).fold(0f32, f32::max);
            assert!(bits == 2 || furthest < 2e-3, "{furthest}");
            assert!(rule.decode(&bytes[1..]).is_err());
        }
    }

    #[test]
    fn an_index_out_of_its_chunk_is_refused() {
        let rule = rule(2);
        let mut bytes = rule.encode(&vec![1.0; 9000]);
        bytes[16..].fill(0xff);
        assert!(rule.decode(&bytes).is_err());
    }
}
