//! Asking before money moves.

use crate::failure::{Advise, Usage};
use anyhow::Context;
use std::io::{self, BufRead, IsTerminal, Write};

/// Asks on the terminal; without one nobody can have agreed. `refused` is what did not happen where the answer is no.
pub fn confirm(what: &str, question: &str, refused: &str) -> anyhow::Result<()> {
    if !io::stdin().is_terminal() {
        return Err(Usage(format!("{what}: there is no terminal to confirm that"))).advise("add --yes");
    }
    eprint!("{what}. {question} [y/N] ");
    io::stderr().flush().context("cannot ask")?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).context("cannot read the answer")?;
    match answer.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(anyhow::anyhow!("{refused}: you said no, and nothing was paid")),
    }
}
