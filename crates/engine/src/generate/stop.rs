//! Strings that end a text.

/// Watches a text that comes piece by piece for strings that end it; what could be the beginning of one is held back.
///
/// ```
/// let mut stops = templar_engine::StopStrings::new(vec!["\n\n".into(), "END".into()]);
/// assert_eq!(stops.push("a line\n"), ("a line".to_owned(), false));
/// assert_eq!(stops.push("and E"), ("\nand ".to_owned(), false));
/// assert_eq!(stops.push("ND of it"), (String::new(), true));
/// ```
#[derive(Debug, Clone, Default)]
pub struct StopStrings {
    strings: Vec<String>,
    held: String,
}

impl StopStrings {
    /// Watches for these strings; empty ones are passed over.
    pub fn new(strings: Vec<String>) -> Self {
        Self { strings: strings.into_iter().filter(|string| !string.is_empty()).collect(), held: String::new() }
    }

    /// Takes the next piece; gives the text that surely stands before any of the strings, and whether one came.
    pub fn push(&mut self, piece: &str) -> (String, bool) {
        self.held += piece;
        if let Some(place) = self.strings.iter().filter_map(|string| self.held.find(string.as_str())).min() {
            self.held.truncate(place);
            return (std::mem::take(&mut self.held), true);
        }
        let waiting = self.strings.iter().map(|string| overlap(&self.held, string)).max().unwrap_or(0);
        let rest = self.held.split_off(self.held.len() - waiting);
        (std::mem::replace(&mut self.held, rest), false)
    }

    /// What is still held back, at the end of the text.
    pub fn finish(self) -> String {
        self.held
    }
}

/// The most bytes at the end of `text` with which `string` begins.
fn overlap(text: &str, string: &str) -> usize {
    let starts = string.char_indices().map(|(place, _)| place).rev();
    starts.into_iter().find(|&place| text.ends_with(&string[..place])).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn pieces_do_not_matter(
            text in "[abé]{0,30}",
            strings in proptest::collection::vec("[abé]{0,4}", 0..3),
            cuts in proptest::collection::vec(1usize..4, 30),
        ) {
            let wanted: Vec<&String> = strings.iter().filter(|string| !string.is_empty()).collect();
            let mut stops = StopStrings::new(strings.clone());
            let (mut shown, mut is_stopped) = (String::new(), false);
            let mut rest: Vec<char> = text.chars().collect();
            for cut in cuts {
                let piece: String = rest.drain(..cut.min(rest.len())).collect();
                let (more, stopped) = stops.push(&piece);
                shown += &more;
                if stopped {
                    is_stopped = true;
                    break;
                }
            }
            // The string that is whole first ends the text; of those that end together, the one that began first.
            let ends = wanted.iter().filter_map(|string| text.find(string.as_str()));
            prop_assert_eq!(is_stopped, ends.clone().next().is_some());
            if is_stopped {
                prop_assert!(text.starts_with(&shown));
                prop_assert!(wanted.iter().all(|string| !shown.contains(string.as_str())));
                prop_assert!(wanted.iter().any(|string| text[shown.len()..].starts_with(string.as_str())));
            } else {
                prop_assert_eq!(shown + &stops.finish(), text);
            }
        }
    }
}
