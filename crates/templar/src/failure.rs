//! How a command fails: the message, its causes, and what to do next.

use std::fmt;
use std::io::{self, IsTerminal};
use std::process::ExitCode;
use templar_screen::Paint;

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

/// Prints the failure to stderr and gives the exit code.
pub fn report(error: &anyhow::Error) -> ExitCode {
    let closed = |cause: &(dyn std::error::Error + 'static)| {
        cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    };
    // The reader of our output has stopped reading, as in `templar config | head -1`.
    if error.chain().any(closed) {
        return ExitCode::SUCCESS;
    }
    let paint = Paint::for_stream(io::stderr().is_terminal());
    eprintln!("{} {error}", paint.red("error:"));
    let mut said = error.to_string();
    for cause in error.chain().skip(1) {
        let text = cause.to_string();
        // Many errors state their cause themselves.
        if !said.contains(&text) {
            eprintln!("  {} {text}", paint.dim("because:"));
            said = text;
        }
    }
    if let Some(advised) = error.chain().find_map(|cause| cause.downcast_ref::<Advised>()) {
        eprintln!("  {} {}", paint.bold("next:"), advised.advice);
    }
    let is_usage = error.is::<Usage>()
        || error.chain().any(|cause| {
            cause.is::<Usage>() || cause.downcast_ref::<Advised>().is_some_and(|advised| advised.error.is::<Usage>())
        });
    ExitCode::from(if is_usage { 2 } else { 1 })
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
        let pipe = anyhow::Error::new(io::Error::from(io::ErrorKind::BrokenPipe)).context("printing");
        assert_eq!(report(&pipe), ExitCode::SUCCESS);
    }
}
