//! Panics of the database as errors: on a damaged file redb may panic where it could return an error.

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe, catch_unwind};
use std::sync::Once;

thread_local! {
    static IS_GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Runs an operation of the database; a panic in it means that its file is damaged, and is not printed.
pub(crate) fn guarded<T, E>(run: impl FnOnce() -> Result<T, E>, damaged: impl FnOnce() -> E) -> Result<T, E> {
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
    outcome.unwrap_or_else(|_| Err(damaged()))
}
