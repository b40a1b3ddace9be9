//! Progress of anything over a second: a bar on a terminal, now and then a line elsewhere.

use crate::printable::printable_text;
use crate::streams::say;
use crate::text::duration;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

/// Without a terminal, lines come this far apart, so that a log stays short.
const BETWEEN_LINES: Duration = Duration::from_secs(10);

/// Progress of one piece of work, on stderr. It leaves nothing behind on a terminal.
#[derive(Debug)]
pub struct Progress {
    bar: Option<ProgressBar>,
    started: Instant,
    last_line: Instant,
    /// The beginning of what was said last, which names its stage.
    stage: String,
    is_quiet: bool,
}

impl Progress {
    /// Progress that is shown, unless `is_quiet`.
    pub fn new(is_quiet: bool) -> Self {
        let bar = (!is_quiet && io::stderr().is_terminal()).then(ProgressBar::no_length);
        if let Some(bar) = &bar {
            bar.enable_steady_tick(Duration::from_millis(100));
            set_style(bar, "{spinner} {msg}");
        }
        let started = Instant::now();
        Self { bar, started, last_line: started, stage: String::new(), is_quiet }
    }

    /// Work whose end is not known. Without a terminal a new stage is told at once: what differs before the first number.
    pub fn say(&mut self, what: &str) {
        match &self.bar {
            Some(bar) => bar.set_message(printable_text(what)),
            None => {
                let stage = what.split(|char: char| char.is_ascii_digit()).next().unwrap_or_default();
                if stage == self.stage {
                    return self.line(what);
                }
                stage.clone_into(&mut self.stage);
                self.last_line = Instant::now();
                self.note(what);
            }
        }
    }

    /// Work of which the share `done` (0 to 1) is done; shows the time that is left.
    pub fn show(&mut self, done: f64, what: &str) {
        let done = done.clamp(0.0, 1.0);
        let spent = self.started.elapsed().as_secs_f64();
        let left = if done > 0.0 { format!(", {} left", duration(spent / done - spent)) } else { String::new() };
        match &self.bar {
            Some(bar) => {
                if bar.length().is_none() {
                    bar.set_length(1000);
                    set_style(bar, "{spinner} {bar:24} {msg}");
                }
                bar.set_position((done * 1000.0) as u64);
                bar.set_message(printable_text(&format!("{what}{left}")));
            }
            None => self.line(&format!("{:3.0}%  {what}{left}", done * 100.0)),
        }
    }

    /// Restarts the estimate of the time left, such as at the next stage of the work.
    pub fn restart(&mut self) {
        self.started = Instant::now();
    }

    /// Prints a line to stderr that stays, above the bar.
    pub fn note(&self, text: &str) {
        let text = printable_text(text);
        match &self.bar {
            _ if self.is_quiet => {}
            Some(bar) => bar.suspend(|| say(&text)),
            None => say(&text),
        }
    }

    /// Runs something that prints, with the bar out of the way.
    pub fn aside<T>(&self, print: impl FnOnce() -> T) -> T {
        match &self.bar {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }

    fn line(&mut self, text: &str) {
        if !self.is_quiet && self.last_line.elapsed() >= BETWEEN_LINES {
            self.last_line = Instant::now();
            say(&printable_text(text));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn set_style(bar: &ProgressBar, template: &str) {
    // The templates are the two literals of this file; a wrong one would leave the style as it is.
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
}
