//! Going on with texts: choosing tokens, many texts at once, and strings that end a text.
//!
//! A [`Generation`] is a text in the making. [`crate::CpuEngine::advance`] adds a token to each of some texts in one
//! pass over the parameters; texts may come and go between two passes. The tokens of a text depend on its prompt and
//! options alone, never on its company, the threads or the machine.

mod sampler;
mod stop;

pub use sampler::GenerateOptions;
pub(crate) use sampler::Sampler;
pub use stop::StopStrings;

use crate::Cpu;
use crate::ops::Ops;
use crate::transformer::Cache;

/// Why a text ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Finish {
    /// It has as many tokens as were asked for, or as the model has positions.
    Length,
    /// The model chose a token that ends texts.
    StopToken,
    /// The caller had enough.
    Stopped,
}

/// A text in the making.
pub struct Generation {
    pub(crate) sampler: Sampler,
    pub(crate) cache: Cache<<Cpu as Ops>::Owned>,
    /// Tokens that the model has not read yet: the prompt, later the newest token.
    pub(crate) unread: Vec<u32>,
    pub(crate) tokens: Vec<u32>,
    pub(crate) limit: usize,
    pub(crate) finish: Option<Finish>,
}

impl Generation {
    /// The new tokens so far, without the one that ends the text.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// Why the text ended, if it has.
    pub fn finish(&self) -> Option<Finish> {
        self.finish
    }

    /// Ends the text.
    pub fn stop(&mut self) {
        self.finish.get_or_insert(Finish::Stopped);
    }

    /// Takes the token that was chosen; gives it back if it belongs to the text.
    pub(crate) fn take(&mut self, token: u32) -> Option<u32> {
        if self.sampler.is_end(token) {
            self.finish = Some(Finish::StopToken);
            return None;
        }
        self.tokens.push(token);
        self.unread = vec![token];
        if self.tokens.len() >= self.limit {
            self.finish = Some(Finish::Length);
        }
        Some(token)
    }
}
