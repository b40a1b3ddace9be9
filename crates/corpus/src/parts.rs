//! Parts of a data set that are not all there, by the names that hubs give them: `train-00000-of-00004.parquet`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// A line for each set of parts of which some are missing.
pub(crate) fn incomplete<'a>(paths: impl Iterator<Item = &'a Path>) -> Vec<String> {
    let mut sets: BTreeMap<(String, u64), BTreeSet<u64>> = BTreeMap::new();
    for path in paths {
        if let Some((set, number, count)) = part_of(path) {
            sets.entry((set, count)).or_default().insert(number);
        }
    }
    let few = sets.into_iter().filter(|((_, count), there)| (there.len() as u64) < *count);
    few.map(|((set, count), there)| format!("{set}: {} of its {count} parts are here", there.len())).collect()
}

/// The set that a file is a part of, its number and the number of parts.
fn part_of(path: &Path) -> Option<(String, u64, u64)> {
    let name = path.to_str()?;
    let (before, after) = name.rsplit_once("-of-")?;
    let count_digits = after.bytes().take_while(u8::is_ascii_digit).count();
    let (count, ending) = after.split_at(count_digits);
    let (set, number) = before.rsplit_once('-')?;
    let is_number = |digits: &str| digits.len() == 5 && digits.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(number) || !is_number(count) {
        return None;
    }
    Some((format!("{set}-*-of-{count}{ending}"), number.parse().ok()?, count.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_parts_are_told_and_whole_sets_are_not() {
        let lines = |names: &[&str]| incomplete(names.iter().map(Path::new));
        assert!(lines(&["d/train-00000-of-00002.parquet", "d/train-00001-of-00002.parquet"]).is_empty());
        assert!(lines(&["a-00001-of-00001.jsonl", "best-of-2.txt", "a-1-of-2.txt", "of.txt"]).is_empty());
        let names =
            ["d/train-00000-of-00003.parquet", "d/train-00002-of-00003.parquet", "d/test-00000-of-00001.parquet"];
        assert_eq!(lines(&names), ["d/train-*-of-00003.parquet: 2 of its 3 parts are here"]);
    }
}
