//! A stream of new blocks that does not lose any.

use crate::{BlockHeader, Chain, ChainError};
use std::sync::Arc;
use templar_base::BlockNumber;
use tokio::sync::watch;

/// The newest block, or why what came last is not believed; none before the first.
pub type Newest = Option<Result<BlockHeader, ChainError>>;

/// New blocks, in order and without gaps as far as the ledger's history reaches.
///
/// It holds no queue: a slow reader is served from history, so it costs no memory however far behind it is.
pub struct HeadStream {
    newest: watch::Receiver<Newest>,
    chain: Arc<dyn Chain>,
    delivered: Option<BlockNumber>,
}

impl HeadStream {
    /// The blocks after the newest one that `newest` shows; `chain` serves those between. An error there is given to
    /// whoever asks, until a block takes its place.
    pub fn new(newest: watch::Receiver<Newest>, chain: Arc<dyn Chain>) -> Self {
        Self { newest, chain, delivered: None }
    }

    /// Waits for the next block; at first that is the newest one. After an error the stream may be asked again and
    /// goes on where it was. Cancelling loses nothing.
    pub async fn next(&mut self) -> Result<BlockHeader, ChainError> {
        loop {
            let newest = self.newest.borrow_and_update().clone().transpose()?;
            if let Some(header) = self.after(newest).await? {
                self.delivered = Some(header.number);
                return Ok(header);
            }
            if self.newest.changed().await.is_err() {
                let (address, reason) = ("this process".to_owned(), "the ledger was shut down".to_owned());
                return Err(ChainError::Unreachable { address, reason });
            }
        }
    }

    /// Waits until there is a block after `block`, without taking it.
    #[cfg(feature = "client")]
    pub(crate) async fn wait_beyond(mut self, block: BlockNumber) {
        // An error means that nothing will come any more; the caller finds out by asking.
        let _ = self.newest.wait_for(|newest| is_beyond(newest, block)).await;
    }

    async fn after(&self, newest: Option<BlockHeader>) -> Result<Option<BlockHeader>, ChainError> {
        let Some(newest) = newest else { return Ok(None) };
        let Some(delivered) = self.delivered else { return Ok(Some(newest)) };
        if newest.number <= delivered {
            return Ok(None);
        }
        let next = delivered.plus(1);
        if newest.number == next {
            return Ok(Some(newest));
        }
        match self.chain.header(next).await {
            Ok(header) => Ok(Some(header)),
            Err(ChainError::Pruned { oldest, .. }) => self.chain.header(oldest).await.map(Some),
            Err(error) => Err(error),
        }
    }
}

/// Whether there is a block after `block`.
pub fn is_beyond(newest: &Newest, block: BlockNumber) -> bool {
    matches!(newest, Some(Ok(newest)) if newest.number > block)
}
