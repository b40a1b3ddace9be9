//! Text of files and peers for a terminal: what could move the cursor, clear the screen or turn the line around is shown
//! as its code.

use std::fmt::Write;

/// A text of one line, such as a name: control characters, line ends too, become their codes, such as `\x1b`.
pub fn printable(text: &str) -> String {
    replaced(text, |_| false)
}

/// As [`printable`], for a text of several lines: line ends and tabs stay.
pub fn printable_text(text: &str) -> String {
    replaced(text, |c| matches!(c, '\n' | '\t'))
}

fn replaced(text: &str, stays: impl Fn(char) -> bool) -> String {
    let mut clean = String::with_capacity(text.len());
    for c in text.chars() {
        // Into a text: it cannot fail.
        match c {
            c if stays(c) || !is_hidden(c) => clean.push(c),
            '\n' => clean.push_str("\\n"),
            '\r' => clean.push_str("\\r"),
            '\t' => clean.push_str("\\t"),
            c if u32::from(c) < 0x100 => _ = write!(clean, "\\x{:02x}", u32::from(c)),
            c => _ = write!(clean, "\\u{{{:x}}}", u32::from(c)),
        }
    }
    clean
}

/// Characters that a terminal acts on instead of showing them: control characters, and those that change the direction
/// or end a line unseen.
fn is_hidden(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_acts_on_becomes_its_code() {
        assert_eq!(printable("\u{1b}[2Jall is well\u{7}"), "\\x1b[2Jall is well\\x07");
        assert_eq!(printable("a\nb\tc\rd"), "a\\nb\\tc\\rd");
        assert_eq!(printable("\u{9b}31m \u{7f} \u{202e}txt"), "\\x9b31m \\x7f \\u{202e}txt");
        assert_eq!(printable("naïve 日本 🙂"), "naïve 日本 🙂");
        assert_eq!(printable_text("a\n\tb\rc\u{1b}"), "a\n\tb\\rc\\x1b");
    }
}
