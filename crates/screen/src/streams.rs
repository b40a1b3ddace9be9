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

/// It is known beforehand that nobody reads what is printed; whoever started the program is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UnreadError {
    /// The program was started without a standard output.
    #[error("standard output is closed, so nobody would see what is shown once")]
    Closed,
    /// Its reader has gone.
    #[error("the reader of standard output has gone, so nobody would see what is shown once")]
    Gone,
}

/// Fails where nobody can read standard output: to be asked before a secret is made that is shown once. Output that is
/// sent into nothing on purpose, as by `> /dev/null`, counts as read.
#[cfg(unix)]
pub fn check_output() -> Result<(), UnreadError> {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::fs::{OFlags, fcntl_getfl, fstat, stat};
    let stdout = io::stdout();
    // A closed stream is opened for reading and writing on the null device before `main`; a shell opens it for writing.
    let device = (fstat(&stdout), stat("/dev/null"));
    let is_null = matches!(device, (Ok(own), Ok(null)) if own.st_rdev == null.st_rdev && own.st_ino == null.st_ino);
    if is_null && fcntl_getfl(&stdout).is_ok_and(|flags| flags.contains(OFlags::RDWR)) {
        return Err(UnreadError::Closed);
    }
    let mut polled = [PollFd::new(&stdout, PollFlags::OUT)];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    match poll(&mut polled, Some(&at_once)) {
        Ok(_) if polled[0].revents().intersects(PollFlags::ERR | PollFlags::NVAL) => Err(UnreadError::Gone),
        _ => Ok(()),
    }
}

/// Fails where nobody can read standard output; here that is not known.
#[cfg(not(unix))]
pub fn check_output() -> Result<(), UnreadError> {
    Ok(())
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
