//! The program's two output streams. Whoever reads them may stop, and a disk behind them may be full: neither ends the
//! work, nor is it a panic.

use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};

/// Why standard output takes no more; from the first failure on, nothing is written to it.
static LOST: Mutex<Option<io::Error>> = Mutex::new(None);

/// What became of a piece of output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Printed {
    /// It is out.
    Whole,
    /// It is the first that could not be written.
    Lost,
    /// Standard output was given up before.
    Nowhere,
}

/// Prints a line to standard output at once, if it is still read.
pub fn print_line(text: &str) -> Printed {
    let mut lost = LOST.lock().unwrap_or_else(PoisonError::into_inner);
    if lost.is_some() {
        return Printed::Nowhere;
    }
    match write(&format!("{text}\n")) {
        Ok(()) => Printed::Whole,
        Err(error) => {
            *lost = Some(error);
            Printed::Lost
        }
    }
}

/// Prints a piece of a text to standard output at once. Fails where it cannot be written, so that whoever makes the text
/// ends.
pub fn print_piece(text: &str) -> io::Result<()> {
    let mut lost = LOST.lock().unwrap_or_else(PoisonError::into_inner);
    let written = match &*lost {
        Some(error) => return Err(error.kind().into()),
        None => write(text),
    };
    if let Err(error) = &written {
        *lost = Some(error.kind().into());
    }
    written
}

fn write(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush())
}

/// Whether standard output takes no more.
pub fn is_output_lost() -> bool {
    LOST.lock().unwrap_or_else(PoisonError::into_inner).is_some()
}

/// Why output is missing, in words; none where all of it was written, or its reader wanted no more.
pub fn missing_output() -> Option<String> {
    let lost = LOST.lock().unwrap_or_else(PoisonError::into_inner);
    lost.as_ref().filter(|error| error.kind() != io::ErrorKind::BrokenPipe).map(ToString::to_string)
}

/// Prints a line to standard error, if somebody reads it.
pub fn say(text: &str) {
    // There is no other place to report it to.
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Standard error for logs: what cannot be written is dropped.
#[derive(Debug, Clone, Copy, Default)]
pub struct Diagnostics;

impl Write for Diagnostics {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = io::stderr().write_all(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let _ = io::stderr().flush();
        Ok(())
    }
}
