//! What commands print: text for people, or JSON for programs.

use anyhow::Context;
use serde::Serialize;
use std::io::{self, IsTerminal, Write};
use templar_screen::Paint;

/// The output of a command on stdout: JSON for programs, or text for people.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct Output {
    /// Print JSON: one document, or one object per line for events
    #[arg(long)]
    json: bool,
}

impl Output {
    /// JSON, or text for people.
    pub fn new(json: bool) -> Self {
        Self { json }
    }

    /// Whether it is JSON.
    pub fn is_json(self) -> bool {
        self.json
    }

    fn paint(self) -> Paint {
        Paint::for_stream(io::stdout().is_terminal())
    }

    /// The facts of a command: one JSON document, or what `people` makes of them.
    pub fn facts(self, facts: &impl Serialize, people: impl FnOnce(Paint) -> String) -> anyhow::Result<()> {
        if self.json {
            return print(&serde_json::to_string_pretty(facts).context("cannot write the facts as JSON")?);
        }
        print(people(self.paint()).trim_end())
    }

    /// One event of a running command: a line of JSON, or what `people` makes of it; nothing where that is empty.
    pub fn event(self, event: &impl Serialize, people: impl FnOnce(Paint) -> String) -> anyhow::Result<()> {
        if self.json {
            return print(&serde_json::to_string(event).context("cannot write the event as JSON")?);
        }
        match people(self.paint()) {
            text if text.is_empty() => Ok(()),
            text => print(&text),
        }
    }
}

/// Prints a line to stdout at once. Fails where the reader is gone, rather than ending in a panic.
pub fn print(text: &str) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{text}").and_then(|()| stdout.flush()).context("cannot print")
}

/// Prints a piece of a text to stdout at once, without a line end.
pub fn print_piece(text: &str) -> anyhow::Result<()> {
    write_piece(text).context("cannot print")
}

/// As [`print_piece`], with the system's error.
pub fn write_piece(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    write!(stdout, "{text}").and_then(|()| stdout.flush())
}
