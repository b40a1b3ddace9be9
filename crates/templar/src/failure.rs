//! How a command fails: the message, its causes, and what to do next.

use std::fmt;
use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use templar_base::AtFault;
use templar_chain::ChainError;
use templar_engine::TooLittleMemory;
use templar_screen::{Failure, FailureKind, Paint, arguments, is_output_lost, say};
use templar_settings::SettingsError;

/// A wrong use of the command: exit code 2.
#[derive(Debug)]
pub struct Usage(pub String);

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// An error with what to do next, which is printed on a line of its own.
#[derive(Debug)]
struct Advised {
    error: anyhow::Error,
    advice: String,
}

impl fmt::Display for Advised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl std::error::Error for Advised {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.error.source()
    }
}

/// Adds what to do next to a failure.
pub trait Advise<T> {
    /// On failure, prints this after the causes. Start with a verb: "start one with `templar ledger`".
    fn advise(self, advice: impl Into<String>) -> anyhow::Result<T>;
}

impl<T, E: Into<anyhow::Error>> Advise<T> for Result<T, E> {
    fn advise(self, advice: impl Into<String>) -> anyhow::Result<T> {
        self.map_err(|error| anyhow::Error::new(Advised { error: error.into(), advice: advice.into() }))
    }
}

/// An error with what to do next; see [`Advise`].
pub fn advice(error: impl Into<anyhow::Error>, advice: &str) -> anyhow::Error {
    anyhow::Error::new(Advised { error: error.into(), advice: advice.to_owned() })
}

/// Whether failures are told as JSON, and whether the program has found a fault of its own.
static IS_JSON: AtomicBool = AtomicBool::new(false);
static HAS_PANICKED: AtomicBool = AtomicBool::new(false);

/// Tells failures to a program from now on.
pub fn tell_programs() {
    IS_JSON.store(true, Ordering::Relaxed);
}

/// Whether failures are told as JSON.
fn tells_programs() -> bool {
    IS_JSON.load(Ordering::Relaxed)
}

/// Prints a failure to stderr and gives its exit code.
pub fn tell(failure: &Failure) -> ExitCode {
    let paint = Paint::for_stream(io::stderr().is_terminal());
    say(&if tells_programs() { failure.json() } else { failure.text(paint) });
    ExitCode::from(failure.kind.exit_code())
}

/// Prints what clap has to say of the command line, and gives the exit code: help is no failure.
pub fn of_words(error: &clap::Error) -> ExitCode {
    if error.use_stderr() && tells_programs() {
        return tell(&arguments::failure(error));
    }
    // Whoever asked may have stopped reading.
    let _ = error.print();
    ExitCode::from(error.exit_code() as u8)
}

/// Tells of a panic wherever it happens, in one sentence.
pub fn watch_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map_or_else(String::new, |place| format!("{}:{}", place.file(), place.line()));
        if !HAS_PANICKED.swap(true, Ordering::Relaxed) {
            let (version, reports) = (env!("CARGO_PKG_VERSION"), concat!(env!("CARGO_PKG_REPOSITORY"), "/issues"));
            tell(&Failure::of_panic(panic.payload_as_str().unwrap_or("no message"), &place, version, reports));
        }
    }));
}

/// The exit code after a panic.
pub fn of_panic() -> ExitCode {
    ExitCode::from(FailureKind::Panic.exit_code())
}

/// Prints the failure to stderr and gives the exit code.
pub fn report(error: &anyhow::Error) -> ExitCode {
    let closed = |cause: &(dyn std::error::Error + 'static)| {
        cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    };
    // The reader of our output has stopped reading, as in `templar model generate first | head -1`.
    if error.chain().any(closed) && is_output_lost() {
        return ExitCode::SUCCESS;
    }
    if HAS_PANICKED.load(Ordering::Relaxed) {
        return of_panic();
    }
    let advised = error.chain().find_map(|cause| cause.downcast_ref::<Advised>());
    let kind = error.chain().chain(advised.iter().flat_map(|advised| advised.error.chain())).find_map(kind_of);
    let kind = kind.unwrap_or(FailureKind::Failed);
    let remedy = match (advised, kind) {
        (Some(advised), _) => Some(advised.advice.clone()),
        (None, FailureKind::Memory) => Some("take a smaller model: `templar model presets` lists the needs".to_owned()),
        _ => None,
    };
    tell(&Failure::new(kind, error.chain().map(ToString::to_string), remedy))
}

fn kind_of(cause: &(dyn std::error::Error + 'static)) -> Option<FailureKind> {
    if cause.is::<Usage>() {
        return Some(FailureKind::Usage);
    }
    if cause.downcast_ref::<SettingsError>().is_some_and(SettingsError::is_usage) {
        return Some(FailureKind::Usage);
    }
    if cause.is::<TooLittleMemory>() {
        return Some(FailureKind::Memory);
    }
    match cause.downcast_ref::<ChainError>() {
        Some(ChainError::Refused { .. }) => return Some(FailureKind::Refused),
        Some(error) if error.is_retryable() => return Some(FailureKind::Unreachable),
        _ => {}
    }
    cause.downcast_ref::<io::Error>().map(FailureKind::of_io).filter(|kind| *kind != FailureKind::Failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_leaves_the_causes_as_they_are() {
        let low = io::Error::other("low");
        let error = anyhow::Error::new(low).context("high");
        let advised = Err::<(), _>(error).advise("do this").unwrap_err();
        let texts: Vec<String> = advised.chain().map(ToString::to_string).collect();
        assert_eq!(texts, ["high", "low"]);
        assert_eq!(report(&advised), ExitCode::from(1));
        assert_eq!(report(&Err::<(), _>(Usage("no".into())).advise("yes").unwrap_err()), ExitCode::from(2));
    }
}
