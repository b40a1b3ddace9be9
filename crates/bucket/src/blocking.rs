//! Disk work away from the async threads.

use crate::BucketError;

/// Runs disk work on a blocking thread.
pub(crate) async fn blocking<T: Send + 'static>(
    operation: &'static str,
    work: impl FnOnce() -> Result<T, BucketError> + Send + 'static,
) -> Result<T, BucketError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(BucketError::Failed { operation, reason: error.to_string() }),
    }
}
