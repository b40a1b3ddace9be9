//! The numerics classes of a run.
//!
//! An exact class gives the same bits on every machine, so that a payload can state its trajectory and be audited by
//! replay. An open class, such as `torch-bf16` on GPUs, is equal in bits to nothing: what its nodes send is measured as
//! any payload is, and cannot be replayed.

use super::Genesis;
use super::problem::Checks;

/// Most open classes of a run.
const MAX_OPEN_NUMERICS: usize = 4;
/// Longest name of a class, in bytes.
const MAX_NAME: usize = 32;
/// What the names of open classes begin with: the library that computes.
const OPEN: [&str; 1] = ["torch-"];

/// Whether a class is open: nothing that it computes can be replayed to the bit.
pub fn is_open_numerics(class: &str) -> bool {
    OPEN.iter().any(|prefix| class.starts_with(prefix))
}

/// Notes what is wrong with the classes of a document.
pub(super) fn check(genesis: &Genesis, checks: &mut Checks) {
    let length = genesis.numerics.len();
    checks.require("numerics", format!("{length} bytes long"), length <= MAX_NAME, "at most 32 bytes long");
    let count = genesis.open_numerics.len();
    let few = format!("at most {MAX_OPEN_NUMERICS}");
    checks.require("open_numerics", format!("{count} classes"), count <= MAX_OPEN_NUMERICS, few);
    for (place, class) in genesis.open_numerics.iter().enumerate() {
        let shown: String = class.chars().take(MAX_NAME).collect();
        let is_name = class.len() <= MAX_NAME && class.bytes().all(|byte| byte.is_ascii_graphic());
        let is_open = is_name && is_open_numerics(class);
        checks.require("open_numerics", format!("`{shown}`"), is_open, "open classes, such as `torch-bf16`");
        let is_new = *class != genesis.numerics && !genesis.open_numerics[..place].contains(class);
        checks.require("open_numerics", format!("`{shown}` twice"), is_new, "classes that are named once");
    }
    let mut classes = std::iter::once(&genesis.numerics).chain(&genesis.open_numerics);
    if let Some(open) = classes.find(|class| is_open_numerics(class)) {
        let wanted = format!("0 beside the numerics `{open}`, whose payloads nobody can replay");
        checks.require("audit.rate_per_mille", genesis.audit.rate_per_mille, !genesis.audit.is_on(), wanted);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CorpusHashes, ModelConfig};

    fn with(numerics: &str, open: &[&str]) -> Genesis {
        let mut genesis = Genesis::small(ModelConfig::tiny(256), CorpusHashes::default());
        genesis.numerics = numerics.to_owned();
        genesis.open_numerics = open.iter().map(|class| (*class).to_owned()).collect();
        genesis
    }

    fn fields(genesis: &Genesis) -> Vec<String> {
        genesis.problems().into_iter().map(|problem| problem.field).collect()
    }

    #[test]
    fn a_run_allows_the_classes_that_it_lists() {
        let genesis = with("strict-2", &["torch-bf16"]);
        assert_eq!(fields(&genesis), [""; 0]);
        assert!(genesis.allows_numerics("strict-2") && genesis.allows_numerics("torch-bf16"));
        assert!(!genesis.allows_numerics("torch-f32"));
        assert_eq!(genesis.numerics_classes(), "strict-2, torch-bf16");
        assert_eq!(Genesis::from_json(genesis.to_json().as_bytes()).unwrap(), genesis);
        assert!(!with("strict-2", &[]).to_json().contains("open_numerics"), "documents of before stay as they are");
        assert_eq!(fields(&with("torch-bf16", &[])), [""; 0]);
    }

    #[test]
    fn exact_classes_doubles_and_too_many_are_rejected() {
        assert_eq!(fields(&with("strict-2", &["exact8-1"])), ["open_numerics"]);
        assert_eq!(fields(&with("torch-bf16", &["torch-bf16"])), ["open_numerics"]);
        assert_eq!(fields(&with("strict-2", &["torch-a", "torch-a"])), ["open_numerics"]);
        assert_eq!(
            fields(&with("strict-2", &["torch-a", "torch-b", "torch-c", "torch-d", "torch-e"])),
            ["open_numerics"]
        );
        assert_eq!(fields(&with("strict-2", &["torch-with a space"])), ["open_numerics"]);
    }

    #[test]
    fn audits_beside_an_open_class_are_rejected() {
        for mut genesis in [with("torch-bf16", &[]), with("strict-2", &["torch-bf16"])] {
            genesis.set_audit_rate(100);
            assert_eq!(fields(&genesis), ["audit.rate_per_mille"]);
            let text = genesis.problems()[0].to_string();
            assert!(text.contains("0 beside the numerics `torch-bf16`"), "{text}");
        }
    }
}
