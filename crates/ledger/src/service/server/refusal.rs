//! How a refusal travels: as an error object with the ledger's own error in its data.

use jsonrpsee::types::ErrorObjectOwned;
use templar_chain::{ChainError, LEDGER_ERROR_CODE};

/// Refuses with the ledger's error in `data`, where the client finds it whole.
pub(super) fn refuse(error: ChainError) -> ErrorObjectOwned {
    ErrorObjectOwned::owned(LEDGER_ERROR_CODE, error.to_string(), Some(error))
}
