//! Reads metrics as strictly as Prometheus' text format is specified.

use std::collections::{BTreeMap, BTreeSet};

/// The samples of a text, by name with labels. Each must come after the head of its metric, once; counters end in
/// `_total`; the buckets of a histogram rise to its count.
///
/// # Panics
///
/// Where the text breaks one of these rules.
#[track_caller]
pub fn samples_of(text: &str) -> BTreeMap<String, f64> {
    let (mut samples, mut typed) = (BTreeMap::new(), BTreeSet::new());
    let (mut current, mut kind, mut last_bucket) = (String::new(), String::new(), 0.0);
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            current = rest.split(' ').next().unwrap_or_default().to_owned();
            assert!(rest.len() > current.len() + 1, "a help without words: {line}");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, own) = rest.split_once(' ').expect("a type has a name and a kind");
            assert!(name == current && typed.insert(name.to_owned()), "a head out of its place: {line}");
            assert_eq!(own == "counter", name.ends_with("_total"), "{line}");
            kind = own.to_owned();
        } else {
            let (name, value) = line.rsplit_once(' ').expect("a sample has a value");
            let value: f64 = value.parse().unwrap_or_else(|_| panic!("not a number: {line}"));
            let metric = name.split('{').next().unwrap_or_default();
            match metric.strip_prefix(current.as_str()) {
                Some("") => assert_ne!(kind, "histogram", "{line}"),
                Some("_bucket") if kind == "histogram" => {
                    assert!(value >= last_bucket, "buckets fall: {line}");
                    last_bucket = value;
                }
                Some("_sum") if kind == "histogram" => {}
                Some("_count") if kind == "histogram" => {
                    assert_eq!(value, std::mem::take(&mut last_bucket), "{line}");
                }
                _ => panic!("a sample without its head: {line}"),
            }
            assert!(samples.insert(name.to_owned(), value).is_none(), "twice: {line}");
        }
    }
    samples
}
