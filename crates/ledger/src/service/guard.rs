//! Panics of the database as errors: on a damaged file redb may panic where it could return an error.

use crate::service::store::StoreError;
use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Once;

thread_local! {
    static IS_GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Runs an operation of the database on the file at `path`; a panic in it means that the file is damaged. The panic is
/// not printed.
pub(crate) fn guarded<T>(path: &Path, run: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    static HOOK: Once = Once::new();
    // The hook of the process stays, for all other panics.
    HOOK.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !IS_GUARDED.get() {
                usual(info);
            }
        }));
    });
    let outer = IS_GUARDED.replace(true);
    let outcome = catch_unwind(AssertUnwindSafe(run));
    IS_GUARDED.set(outer);
    outcome.unwrap_or_else(|_| Err(StoreError::Damaged(path.to_owned(), "a page of it is not readable")))
}
