//! What commands print: text for people, or JSON for programs.

use anyhow::Context;
use serde::Serialize;
use std::borrow::Cow;
use std::io::{self, IsTerminal};
use templar_screen::{Paint, Printed, missing_output, print_line, printable_text, say};

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
        print(self.paint().shown(&people(self.paint())).trim_end())
    }

    /// One event of a running command: a line of JSON, or what `people` makes of it; nothing where that is empty. The
    /// work goes on where nobody reads it any more.
    pub fn event(self, event: &impl Serialize, people: impl FnOnce(Paint) -> String) -> anyhow::Result<()> {
        let text = match self.json {
            true => serde_json::to_string(event).context("cannot write the event as JSON")?,
            false => self.paint().shown(&people(self.paint())),
        };
        if (self.json || !text.is_empty()) && print_line(&text) == Printed::Lost {
            say("the output is read no more; the work goes on without it");
        }
        Ok(())
    }
}

/// Prints a line to stdout at once. Work goes on where nobody reads it: see [`whole`].
pub fn print(text: &str) -> anyhow::Result<()> {
    print_line(text);
    Ok(())
}

/// Fails where output is missing for another reason than that its reader wanted no more: at the end of a command.
pub fn whole() -> anyhow::Result<()> {
    match missing_output() {
        None => Ok(()),
        Some(why) => Err(anyhow::anyhow!("the output is not complete: {why}")),
    }
}

/// Prints a piece of a text to stdout at once, without a line end.
pub fn print_piece(text: &str) -> anyhow::Result<()> {
    write_piece(text).context("cannot print")
}

/// Text that a model or a file gives, for stdout: as it is for a pipe or a file, harmless for a terminal.
pub fn foreign(text: &str) -> Cow<'_, str> {
    if io::stdout().is_terminal() { printable_text(text).into() } else { text.into() }
}

/// As [`print_piece`], with the system's error: a text that nobody reads is not written to its end.
pub fn write_piece(text: &str) -> io::Result<()> {
    templar_screen::print_piece(text)
}
