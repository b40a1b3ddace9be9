//! A line that nobody sees while it is typed, such as a password.

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use zeroize::Zeroizing;

/// What a terminal gives of one line at most, with its end.
const LINE_BYTES: usize = 4096;

/// Asks on the process's terminal, wherever stdin and stdout go, and reads a line without showing it.
pub fn ask_hidden(prompt: &str) -> io::Result<Zeroizing<String>> {
    let terminal = OpenOptions::new().read(true).write(true).open("/dev/tty")?;
    ask_on(&terminal, prompt)
}

/// The modes that a terminal gets back when this is dropped.
struct Restore<'a> {
    terminal: &'a File,
    modes: Termios,
}

impl Drop for Restore<'_> {
    fn drop(&mut self) {
        // A terminal that is gone shows nothing anyway.
        let _ = tcsetattr(self.terminal, OptionalActions::Now, &self.modes);
    }
}

fn ask_on(mut terminal: &File, prompt: &str) -> io::Result<Zeroizing<String>> {
    let modes = tcgetattr(terminal)?;
    let mut hidden = modes.clone();
    hidden.local_modes.remove(LocalModes::ECHO);
    // The end of the line is shown, so that the cursor moves on.
    hidden.local_modes.insert(LocalModes::ECHONL);
    // Keys that were pressed before the question are not its answer.
    tcsetattr(terminal, OptionalActions::Flush, &hidden)?;
    let _restore = Restore { terminal, modes };
    terminal.write_all(prompt.as_bytes())?;
    let mut line = Zeroizing::new([0; LINE_BYTES]);
    let mut length = 0;
    while length < LINE_BYTES && !line[..length].ends_with(b"\n") {
        match terminal.read(&mut line[length..]) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => length += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let text = std::str::from_utf8(&line[..length]).map_err(|_| io::ErrorKind::InvalidData)?;
    Ok(Zeroizing::new(text.trim_end_matches(['\r', '\n']).to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

    /// A terminal: the person's end, and the program's.
    fn terminal() -> (File, File) {
        let person = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&person).unwrap();
        unlockpt(&person).unwrap();
        let path = ptsname(&person, Vec::new()).unwrap().into_string().unwrap();
        (File::from(person), OpenOptions::new().read(true).write(true).open(path).unwrap())
    }

    /// What the person sees until `end`.
    fn seen(person: &mut File, end: &str) -> String {
        let (mut text, mut buffer) = (String::new(), [0; 256]);
        while !text.ends_with(end) {
            let count = person.read(&mut buffer).unwrap();
            text += std::str::from_utf8(&buffer[..count]).unwrap();
        }
        text
    }

    #[test]
    fn a_password_is_read_without_being_shown_and_the_terminal_is_as_before() {
        let (mut person, program) = terminal();
        let before = tcgetattr(&program).unwrap().local_modes;
        assert!(before.contains(LocalModes::ECHO));
        std::thread::scope(|scope| {
            let answer = scope.spawn(|| ask_on(&program, "Password: "));
            assert_eq!(seen(&mut person, ": "), "Password: ");
            person.write_all("pässword 1\n".as_bytes()).unwrap();
            assert_eq!(seen(&mut person, "\n"), "\r\n");
            assert_eq!(answer.join().unwrap().unwrap().as_str(), "pässword 1");
        });
        assert_eq!(tcgetattr(&program).unwrap().local_modes, before);
    }

    #[test]
    fn a_question_that_is_not_answered_is_not_an_empty_answer() {
        let (mut person, program) = terminal();
        let modes = tcgetattr(&program).unwrap().local_modes;
        std::thread::scope(|scope| {
            let answer = scope.spawn(|| ask_on(&program, "Password: "));
            seen(&mut person, ": ");
            // The end of the input, as Ctrl-D gives it.
            person.write_all(&[4]).unwrap();
            assert_eq!(answer.join().unwrap().unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        });
        assert_eq!(tcgetattr(&program).unwrap().local_modes, modes);
    }
}
