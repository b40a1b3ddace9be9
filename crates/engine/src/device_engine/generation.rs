//! Text generation with a key-value cache on the device.

use super::DeviceEngine;
use crate::generate::{GenerateOptions, Generation, Generator};
use crate::ops::Ops;
use crate::transformer::{Cache, read};
use crate::{EngineError, check_tokens};

/// Tokens of a prompt that are read in one pass, which bounds the working memory.
const PROMPT_PIECE: usize = 512;

impl<O: Ops> DeviceEngine<O>
where
    O::Owned: 'static,
{
    /// The logits behind the newest token of each text that has not ended; empty for the others.
    fn next_logits(&mut self, texts: &mut [&mut Generation]) -> Result<Vec<Vec<f32>>, EngineError> {
        let vocab = self.model.config().vocab_size;
        let parameters = read(&self.buffers.parameters).memory;
        let mut logits: Vec<Vec<f32>> = texts.iter().map(|_| Vec::new()).collect();
        let (mut together, mut tokens, mut caches) = (Vec::new(), Vec::new(), Vec::new());
        for (index, text) in texts.iter_mut().enumerate().filter(|(_, text)| text.finish.is_none()) {
            let cache: &mut Cache<O::Owned> = text.cache.downcast_mut().ok_or(EngineError::ForeignText)?;
            if let [token] = text.unread[..] {
                together.push(index);
                tokens.push(token);
                caches.push(cache);
                continue;
            }
            for piece in text.unread.chunks(PROMPT_PIECE) {
                logits[index] = self.model.extend(&mut self.ops, parameters, cache, piece)?;
            }
        }
        if !together.is_empty() {
            let all = self.model.extend_each(&mut self.ops, parameters, caches, &tokens)?;
            for (&index, row) in together.iter().zip(all.chunks_exact(vocab)) {
                logits[index] = row.to_vec();
            }
        }
        Ok(logits)
    }
}

impl<O: Ops> Generator for DeviceEngine<O>
where
    O::Owned: 'static,
{
    fn begin(&mut self, prompt: &[u32], options: &GenerateOptions) -> Result<Generation, EngineError> {
        check_tokens(prompt, self.model.config().vocab_size, false)?;
        let limit = self.model.config().max_position_embeddings;
        Generation::new(prompt, options, limit, |positions| Ok(Box::new(self.model.cache(&mut self.ops, positions)?)))
    }

    fn read_ahead(&mut self, text: &mut Generation) -> Result<bool, EngineError> {
        if text.finish.is_some() || text.unread.len() <= PROMPT_PIECE {
            return Ok(false);
        }
        let cache: &mut Cache<O::Owned> = text.cache.downcast_mut().ok_or(EngineError::ForeignText)?;
        let parameters = read(&self.buffers.parameters).memory;
        // The pieces of a prompt are the same here as in `advance`, and so are the bits.
        if let Err(error) = self.model.extend(&mut self.ops, parameters, cache, &text.unread[..PROMPT_PIECE]) {
            text.stop();
            return Err(error.into());
        }
        text.unread.drain(..PROMPT_PIECE);
        Ok(true)
    }

    fn advance(&mut self, texts: &mut [&mut Generation]) -> Result<Vec<Option<u32>>, EngineError> {
        let chosen = self.next_logits(texts).and_then(|mut logits| {
            let texts = texts.iter_mut().zip(&mut logits);
            // Each text takes its token, whether or not another's logits are broken.
            let chosen: Vec<_> = texts.map(|(text, logits)| text.choose(logits)).collect();
            chosen.into_iter().collect()
        });
        if chosen.is_err() {
            texts.iter_mut().for_each(|text| text.stop());
        }
        chosen
    }
}
