//! English-like text from a small grammar of ours: for tests, and for runs where no text can be had.
//!
//! Each document is a short tale about a few people. What a person is, owns and likes is drawn once and then told
//! again and again, there are sums that come out right, and sentences refer to what came before. So a model learns
//! spelling, then grammar, then to copy facts from the context, and its loss goes on falling for a long time.

use std::fmt::Write;
use templar_base::random::Stream;

/// A document is about this long, in bytes.
const DOCUMENT_BYTES: usize = 1600;

const NAMES: [&str; 24] = [
    "Anna", "Boris", "Clara", "David", "Edith", "Felix", "Greta", "Hugo", "Irene", "Jonas", "Karin", "Leon", "Marta",
    "Niels", "Olga", "Peter", "Rosa", "Simon", "Thea", "Ulrich", "Vera", "Walter", "Yvonne", "Zoltan",
];
const TRADES: [&str; 16] = [
    "baker",
    "miller",
    "weaver",
    "smith",
    "farmer",
    "teacher",
    "sailor",
    "painter",
    "doctor",
    "hunter",
    "carpenter",
    "shepherd",
    "printer",
    "gardener",
    "tailor",
    "potter",
];
const PLACES: [&str; 16] = [
    "the river",
    "the old bridge",
    "the market",
    "the harbour",
    "the forest",
    "the mill",
    "the church",
    "the hill",
    "the school",
    "the orchard",
    "the inn",
    "the well",
    "the tower",
    "the meadow",
    "the station",
    "the library",
];
const COLOURS: [&str; 10] = ["red", "blue", "green", "yellow", "white", "black", "brown", "grey", "purple", "silver"];
const THINGS: [&str; 20] = [
    "boat", "hat", "lantern", "basket", "book", "coat", "violin", "knife", "cup", "ladder", "cart", "bell", "map",
    "mirror", "blanket", "kettle", "chair", "drum", "key", "umbrella",
];
const ANIMALS: [&str; 10] = ["dog", "cat", "horse", "goat", "goose", "donkey", "crow", "hen", "sheep", "fox"];
const ADJECTIVES: [&str; 16] = [
    "old", "young", "quiet", "clever", "tired", "happy", "careful", "proud", "patient", "curious", "honest", "lonely",
    "brave", "gentle", "stubborn", "cheerful",
];
const WEATHERS: [&str; 8] = ["rain", "snow", "wind", "fog", "sunshine", "thunder", "frost", "mist"];
const TIMES: [&str; 8] =
    ["In the morning", "At noon", "In the evening", "At night", "One day", "Later", "The next day", "After a while"];
const NUMBERS: [&str; 21] = [
    "no",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
    "twenty",
];

/// Documents of at least `bytes` bytes together (and at least one), the same for the same seed on every machine. A
/// longer text of a seed starts with the shorter ones.
pub fn synthetic(seed: u64, bytes: u64) -> Vec<String> {
    let mut documents = Vec::new();
    let mut written = 0;
    while written < bytes || documents.is_empty() {
        let document = synthetic_document(seed, documents.len() as u64);
        written += document.len() as u64;
        documents.push(document);
    }
    documents
}

/// The `number`-th document of a seed.
pub fn synthetic_document(seed: u64, number: u64) -> String {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    Tale::new(Stream::new(key, "synthetic text", number)).told()
}

struct Person {
    name: &'static str,
    trade: &'static str,
    adjective: &'static str,
    colour: &'static str,
    thing: &'static str,
    animal: &'static str,
    home: &'static str,
}

struct Tale {
    stream: Stream,
    people: Vec<Person>,
    text: String,
}

impl Tale {
    fn new(mut stream: Stream) -> Self {
        let mut people: Vec<Person> = Vec::new();
        while people.len() < 3 {
            let name = pick(&mut stream, &NAMES);
            if people.iter().any(|person| person.name == name) {
                continue;
            }
            people.push(Person {
                name,
                trade: pick(&mut stream, &TRADES),
                adjective: pick(&mut stream, &ADJECTIVES),
                colour: pick(&mut stream, &COLOURS),
                thing: pick(&mut stream, &THINGS),
                animal: pick(&mut stream, &ANIMALS),
                home: pick(&mut stream, &PLACES),
            });
        }
        Self { stream, people, text: String::new() }
    }

    fn told(mut self) -> String {
        for number in 0..self.people.len() {
            self.introduce(number);
        }
        while self.text.len() < DOCUMENT_BYTES {
            self.text.push_str("\n\n");
            for _ in 0..4 + self.stream.below(4) {
                self.sentence();
            }
        }
        self.say("\nThat is the end of the story.\n");
        self.text
    }

    fn introduce(&mut self, number: usize) {
        let Person { name, trade, adjective, colour, thing, animal, home } = self.people[number];
        let sentence = match self.stream.below(3) {
            0 => format!("{name} was {} {adjective} {trade} who lived near {home}.", article(adjective)),
            1 => format!("Near {home} lived {} {adjective} {trade} called {name}.", article(adjective)),
            _ => format!("There was once {} {trade} called {name}, {adjective} and poor, near {home}.", article(trade)),
        };
        self.say(&sentence);
        self.say(&format!("{name} had a {colour} {thing} and {} {animal}.", article(animal)));
    }

    fn sentence(&mut self) {
        let first = self.stream.below(self.people.len() as u64) as usize;
        let second = (first + 1 + self.stream.below(self.people.len() as u64 - 1) as usize) % self.people.len();
        let time = pick(&mut self.stream, &TIMES);
        let place = pick(&mut self.stream, &PLACES);
        let weather = pick(&mut self.stream, &WEATHERS);
        let one = &self.people[first];
        let two = &self.people[second];
        let sentence = match self.stream.below(12) {
            0 => format!("{time} {} the {} walked to {place} with the {}.", one.name, one.trade, one.animal),
            1 => format!("{time} there was {weather} over {place}, and {} stayed near {}.", one.name, one.home),
            2 => format!("\"Where is my {} {}?\" asked {}.", one.colour, one.thing, one.name),
            3 => format!("\"I saw your {} {} at {place},\" said {} to {}.", one.colour, one.thing, two.name, one.name),
            4 => format!(
                "{} the {} gave the {} to {}, who was {}.",
                one.name, one.trade, one.thing, two.name, two.adjective
            ),
            5 => format!("The {} of {} did not like the {} of {}.", one.animal, one.name, two.animal, two.name),
            6 => format!(
                "{time} the {} {} met the {} {} at {place}.",
                one.adjective, one.trade, two.adjective, two.trade
            ),
            7 => format!("{} knew that {} lived near {}, so they met there.", one.name, two.name, two.home),
            8 | 9 => self.sum(first),
            10 => {
                format!("If there is {weather} at {place}, then {} takes the {} {}.", one.name, one.colour, one.thing)
            }
            _ => format!("Because {} was {}, everyone at {place} trusted the {}.", one.name, one.adjective, one.trade),
        };
        self.say(&sentence);
    }

    /// Arithmetic that comes out right, so that there is something to learn that is not a habit of words.
    fn sum(&mut self, person: usize) -> String {
        let first = self.stream.below(11) as usize;
        let second = self.stream.below(11) as usize;
        let thing = pick(&mut self.stream, &THINGS);
        let (name, colour) = (self.people[person].name, self.people[person].colour);
        let plural = |count: usize| if count == 1 { thing.to_owned() } else { plural(thing) };
        if first >= second && self.stream.below(2) == 0 {
            return format!(
                "{name} had {} {colour} {} and lost {}, so {} {} left.",
                NUMBERS[first],
                plural(first),
                NUMBERS[second],
                if first == second { "none" } else { NUMBERS[first - second] },
                if first - second == 1 { "was" } else { "were" }
            );
        }
        let total = first + second;
        format!(
            "{name} bought {} {} and then {} more, which made {} {}.",
            NUMBERS[first],
            plural(first),
            NUMBERS[second],
            NUMBERS[total],
            plural(total)
        )
    }

    fn say(&mut self, sentence: &str) {
        let space =
            if sentence.starts_with('\n') || self.text.is_empty() || self.text.ends_with('\n') { "" } else { " " };
        // Writing to a String cannot fail.
        let _ = write!(self.text, "{space}{sentence}");
    }
}

fn pick(stream: &mut Stream, words: &[&'static str]) -> &'static str {
    words[stream.below(words.len() as u64) as usize]
}

fn article(word: &str) -> &'static str {
    if word.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" }
}

fn plural(thing: &str) -> String {
    match thing {
        "knife" => "knives".to_owned(),
        _ => format!("{thing}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_one_text_and_longer_texts_go_on() {
        let short = synthetic(7, 10_000);
        let long = synthetic(7, 50_000);
        assert_eq!(long[..short.len()], short);
        assert_ne!(synthetic(8, 10_000), short);
        let bytes: usize = short.iter().map(String::len).sum();
        assert!((10_000..13_000).contains(&bytes), "{bytes}");
    }

    #[test]
    fn the_text_is_pinned() {
        let joined = synthetic(1, 100_000).join("\0");
        assert!(joined.is_ascii());
        assert_eq!(blake3::hash(joined.as_bytes()).to_hex()[..16], *PINNED);
    }

    /// Change it only with the grammar: runs name their text by its hash.
    const PINNED: &str = "6670c9d13bc3f627";

    #[test]
    fn people_keep_what_they_own() {
        let document = synthetic_document(3, 0);
        let name = document.split(" had a ").next().unwrap().rsplit(' ').next().unwrap();
        assert!(NAMES.contains(&name), "{name}");
        assert!(document.matches(name).count() > 3);
    }

    #[test]
    fn no_bytes_wanted_still_gives_a_document() {
        assert_eq!(synthetic(1, 0).len(), 1);
    }
}
