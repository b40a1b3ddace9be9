//! What each field of a document means, its default and its bounds: the source of `templar run check` and of
//! `docs/run.md`.

use super::Genesis;
use serde_json::Value;

/// One field of the document, explained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FieldNote {
    /// Path of the field, such as `data.span_windows`.
    pub path: &'static str,
    /// What it is, with its unit.
    pub meaning: &'static str,
    /// The value that a new document has, or where it comes from.
    pub default: &'static str,
    /// What it may be.
    pub bounds: &'static str,
}

const fn note(path: &'static str, meaning: &'static str, default: &'static str, bounds: &'static str) -> FieldNote {
    FieldNote { path, meaning, default, bounds }
}

/// Every field of the document, in the document's order.
pub const FIELDS: [FieldNote; 85] = [
    note("version", "Version of the document and of the protocol", "the program's", "the program's"),
    note("name", "A name for people", "run", "up to 64 bytes"),
    note(
        "ledger",
        "Hash of the ledger's block 0: the ledger is the run's clock, register and bank",
        "asked of the ledger",
        "32 bytes in hexadecimal",
    ),
    note("netuid", "Subnet of the run on that ledger", "3", "a subnet of the ledger"),
    note("clock.start_block", "First block of window 0", "the ledger's head and some blocks more", "a block to come"),
    note("clock.blocks_per_window", "Blocks of a window", "40", "at least 4"),
    note(
        "budget.seal_blocks",
        "Blocks before the window's end at which a miner seals its payload",
        "a twelfth of the window, 4 to 6",
        "at least 2, under a window",
    ),
    note(
        "budget.reveal_blocks",
        "Blocks after the window's end until which reveals are gathered",
        "a sixth of the window",
        "at least 1",
    ),
    note(
        "budget.hold_blocks",
        "Blocks after the window's end until which it counts what electors state that they hold; without it each validator \
         judges what it has fetched",
        "reveal_blocks and a sixteenth of the window, at least 4",
        "at least 2 over reveal_blocks, over 2 under judge_blocks",
    ),
    note(
        "budget.judge_blocks",
        "Blocks after the window's end until which votes can be sealed",
        "nine sixteenths of the window",
        "over reveal_blocks and two more",
    ),
    note(
        "budget.open_blocks",
        "Blocks after the window's end until which votes count",
        "judge_blocks and 3",
        "over judge_blocks",
    ),
    note(
        "budget.apply_blocks",
        "Blocks after the window's end by which the step is applied and reported",
        "judge_blocks and 4",
        "over open_blocks, under the window less seal_blocks",
    ),
    note(
        "budget.retention_windows",
        "Windows for which buckets keep objects",
        "30",
        "at least two checkpoint intervals",
    ),
    note("budget.checkpoint_windows", "Checkpoint interval in windows", "5", "at least 1"),
    note("model.vocab_size", "Tokens of the vocabulary", "the corpus's", "1 to 16777216"),
    note("model.hidden_size", "Width of the residual stream", "the preset's", "1 to 131072"),
    note("model.intermediate_size", "Width of the SwiGLU's hidden layer", "the preset's", "1 to 524288"),
    note("model.num_hidden_layers", "Decoder layers", "the preset's", "1 to 1024"),
    note("model.num_attention_heads", "Query heads", "the preset's", "1 to 1024"),
    note("model.num_key_value_heads", "Key and value heads", "the preset's", "a divisor of num_attention_heads"),
    note("model.head_dim", "Width of a head", "the preset's", "even, 2 to 4096"),
    note("model.max_position_embeddings", "Longest sequence in tokens", "the preset's", "1 to 16777216"),
    note("model.rms_norm_eps", "Added to the mean square in each RMSNorm", "the preset's", "over 0"),
    note("model.rope_theta", "Base of the rotary position embedding", "the preset's", "over 1"),
    note(
        "model.rope_scaling",
        "Frequency scaling of the rotary position embedding, as in Llama 3.1",
        "none",
        "none, or positive factors",
    ),
    note(
        "model.tie_word_embeddings",
        "Whether the output head is the token embedding",
        "the preset's",
        "true or false",
    ),
    note("model.qk_norm", "Whether queries and keys pass an RMSNorm of their own", "the preset's", "true or false"),
    note("model.initializer_range", "Standard deviation of the first weights", "the preset's", "over 0"),
    note("numerics", "Numerics class that every node computes with", "the program's", "up to 32 bytes"),
    note(
        "open_numerics",
        "Open classes that nodes may compute with instead, such as torch-bf16 on GPUs; without audits only",
        "none",
        "up to 4 classes that begin with torch-",
    ),
    note(
        "first_parameters",
        "Where the first parameters come from: a seed, or a model folder that each operator names",
        "a seed drawn at random",
        "`{\"seed\": HASH}` or `\"folder\"`",
    ),
    note("first_state", "State hash of the first parameters", "computed", "32 bytes in hexadecimal"),
    note(
        "parent",
        "Run, window, state and ratings of the agreed point of another run that this one continues",
        "none",
        "none, or an agreed point beside `\"first_parameters\": \"folder\"`",
    ),
    note("data.tokenizer", "Hash of the corpus's tokenizer.json", "the corpus's", "32 bytes in hexadecimal"),
    note("data.manifest", "Hash of the corpus's manifest", "the corpus's", "32 bytes in hexadecimal"),
    note("data.sequence_length", "Tokens that the model sees at once", "128", "1 to max_position_embeddings"),
    note("data.sequences_per_batch", "Sequences of one inner step", "8", "1 to 4096"),
    note("data.batches_per_window", "Most inner steps of a miner in a window (H)", "100", "1 to 65536"),
    note(
        "data.span_sequences",
        "Least sequences of a span, the part of the text that all miners train on for span_windows windows",
        "819200",
        "twice a miner's window and judging.evaluation_sequences, to 2^48",
    ),
    note("data.span_windows", "Windows of a span", "64", "1 to 1000000"),
    note(
        "data.evaluation_percent",
        "Part of a span on which its windows are judged and no miner trains, in percent; at least \
         judging.evaluation_sequences",
        "2",
        "1 to 50",
    ),
    note(
        "data.documents",
        "Whether documents in one sequence see each other: `apart` or `together`",
        "apart",
        "apart or together",
    ),
    note("inner.beta1", "Decay of AdamW's first moment", "0.9", "0 to 1"),
    note("inner.beta2", "Decay of AdamW's second moment", "0.95", "0 to 1"),
    note("inner.epsilon", "Added to the root of the second moment", "1e-8", "over 0"),
    note("inner.weight_decay", "Decoupled decay of the matrices", "0.1", "0 to 1"),
    note("inner.clip_norm", "Largest global norm of a gradient", "1.0", "over 0"),
    note(
        "inner.hidden_matrices",
        "What moves the matrices within the layers: `adamw` or `muon`",
        "adamw",
        "adamw or muon",
    ),
    note("inner.schedule.peak", "Highest learning rate", "0.002", "over 0, under 1"),
    note("inner.schedule.warm_up_windows", "Windows until the peak", "2", "any number"),
    note("inner.schedule.decay_from_window", "First window of the learning rate's decay", "200", "any number"),
    note(
        "inner.schedule.decay_to_window",
        "Last window of the learning rate's decay",
        "1000",
        "at least decay_from_window",
    ),
    note("inner.schedule.final_share", "Part of the peak at the end of the decay", "0.1", "0 to 1"),
    note(
        "inner.schedule.decay",
        "How the rate falls: `linear`, or as the `inverse_root` of the windows, for a run without an end",
        "linear",
        "linear, or inverse_root with a final_share over 0",
    ),
    note("outer.error_feedback_decay", "Decay of the error feedback from window to window", "0.95", "0 to 1"),
    note(
        "outer.error_feedback_values",
        "How a miner holds its error feedback: `f32`, or `bf16` in half the memory",
        "f32",
        "f32 or bf16",
    ),
    note(
        "outer.tensor_classes",
        "Kept values of each chunk of 4096, by the ends of tensor names; 64 where none matches",
        "64 of 4096",
        "1 to 4096 each",
    ),
    note("outer.alpha", "Step of the outer update", "1.0", "over 0"),
    note("outer.final_alpha", "Step of the outer update at the end of its decay", "0.65", "over 0"),
    note("outer.decay_from_window", "First window of the outer step's linear decay", "200", "any number"),
    note("outer.decay_to_window", "Last window of the outer step's linear decay", "1000", "at least decay_from_window"),
    note(
        "outer.scales",
        "How far a chunk's own scale counts: `own`, `clipped` to a multiple of the merged payloads' median, or `equal`",
        "{\"clipped\":{\"times\":2}}",
        "own, clipped with times of at least 1, or equal where values are signs",
    ),
    note("outer.merge", "How what miners sent of a coordinate becomes one value", "mean_of_senders", "see `--rule`"),
    note(
        "outer.domain",
        "What is sent: `parameters`, or their cosine `frequencies`",
        "parameters",
        "parameters or frequencies",
    ),
    note(
        "outer.values",
        "How a kept value is sent: `signs`, or rounded to some bits",
        "signs",
        "signs, or 2 to 24 bits",
    ),
    note(
        "outer.step",
        "How merged values move the parameters: `descent`, `nesterov` or `sign`",
        "descent",
        "a momentum from 0 to under 1",
    ),
    note(
        "judging.evaluation_sequences",
        "Sequences that a window's contributions are measured on",
        "64",
        "a multiple of evaluation_parts, up to 65536",
    ),
    note("judging.evaluation_parts", "Parts of the evaluation batch, for standard errors", "8", "2 to 64"),
    note("judging.pool", "Most payloads that are judged: the best rated, and others by lot", "64", "1 to 64"),
    note("judging.selected", "Most miners whose payloads are merged", "15", "1 to judging.pool"),
    note(
        "judging.newcomer_places",
        "Places among the selected that a beacon gives to newcomers",
        "2",
        "up to `selected`",
    ),
    note("judging.newcomer_windows", "First windows of a miner in which it counts as a newcomer", "8", "any number"),
    note(
        "judging.admission_share",
        "Share of the rated miners' median contribution that a miner must reach",
        "0.4",
        "0 to 1",
    ),
    note("judging.confirmation_share", "Part of the predicted decrease that the full step must reach", "0.5", "0 to 1"),
    note(
        "judging.copy_agreement",
        "Share of equal kept coordinates from which on a payload is a copy",
        "0.25",
        "0 to 1",
    ),
    note("judging.rating_process_noise", "Variance that a rating gains in each window", "0.02", "over 0"),
    note(
        "judging.held_out_sequences",
        "Sequences of the held-out text whose loss is reported each window",
        "64",
        "at least 1",
    ),
    note(
        "electors.right_votes",
        "Right votes that a validator must have opened for its stake to count; without the section that of all permit \
         holders that set weights counts",
        "3",
        "1 to 64",
    ),
    note(
        "electors.within",
        "Windows within which it must have opened them",
        "512",
        "8 to 65536, and at least right_votes",
    ),
    note("economics.ramp_windows", "Windows over which a newcomer's weight rises to its full size", "4", "any number"),
    note("economics.weights_every_windows", "Windows between two settings of a validator's weights", "1", "at least 1"),
    note(
        "audit.rate_per_mille",
        "Payloads of a thousand that are audited by replay; 0: audits are off",
        "0",
        "0 to 1000",
    ),
    note(
        "audit.cost_per_mille",
        "What a window's honest training costs, in thousandths of a full window's pay",
        "800",
        "1 to 999",
    ),
    note(
        "evaluation.every_windows",
        "Windows between two evaluations of the model on the tasks, by validators that are idle",
        "none",
        "none, or a multiple of budget.checkpoint_windows",
    ),
    note(
        "evaluation.tasks",
        "Tasks of the evaluation: of each a name, the hash of its file of questions, and the file's size",
        "none",
        "none, or 1 to 16 tasks of up to 16777216 bytes",
    ),
];

impl FieldNote {
    /// Name of the section: the path up to the first dot; empty for the document's own fields.
    pub fn section(&self) -> &'static str {
        self.path.split_once('.').map_or("", |(section, _)| section)
    }

    /// The field's value in `genesis`, as JSON on one line; none for an optional field that is left out.
    pub fn value(&self, genesis: &Genesis) -> Option<String> {
        // Through the text, in which an f32 has the digits that it was written with.
        let document: Value = serde_json::from_str(&genesis.to_json()).ok()?;
        let value = self.path.split('.').try_fold(&document, |value, key| value.get(key))?;
        Some(match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CorpusHashes, ModelConfig};
    use std::collections::BTreeSet;

    /// Paths of all leaves; a choice with parameters and a list count as one leaf.
    fn leaves(value: &Value, path: &str, found: &mut BTreeSet<String>) {
        let is_section = [
            "",
            "clock",
            "budget",
            "model",
            "data",
            "inner",
            "inner.schedule",
            "outer",
            "judging",
            "economics",
            "audit",
        ];
        match value {
            Value::Object(fields) if is_section.contains(&path) => {
                for (name, value) in fields {
                    let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                    leaves(value, &path, found);
                }
            }
            _ => {
                found.insert(path.to_owned());
            }
        }
    }

    #[test]
    fn every_field_of_the_document_is_explained_and_no_other() {
        let genesis = Genesis::new(ModelConfig::tiny(256), CorpusHashes::default());
        let mut found = BTreeSet::new();
        leaves(&serde_json::to_value(&genesis).unwrap(), "", &mut found);
        found.extend(
            [
                "model.rope_scaling",
                "parent",
                "open_numerics",
                "outer.error_feedback_values",
                "electors.right_votes",
                "electors.within",
                "budget.hold_blocks",
                "evaluation.every_windows",
                "evaluation.tasks",
            ]
            .map(str::to_owned),
        );
        assert_eq!(FIELDS.iter().map(|note| note.path.to_owned()).collect::<BTreeSet<_>>(), found);
        assert_eq!(FIELDS.len(), found.len());
    }

    /// A default that is written as a value is the value of a new document.
    #[test]
    fn defaults_are_those_of_a_new_document() {
        let genesis = Genesis::new(ModelConfig::tiny(256), CorpusHashes::default());
        let sections = ["data", "inner", "outer", "judging", "economics", "audit"];
        let computed = ["data.tokenizer", "data.manifest", "outer.tensor_classes", "data.sequence_length"];
        // Left out of a document where it is the default.
        let left_out = ["outer.error_feedback_values"];
        let is_written = |note: &&FieldNote| !computed.contains(&note.path) && !left_out.contains(&note.path);
        for note in FIELDS.iter().filter(|note| sections.contains(&note.section())).filter(is_written) {
            assert_eq!(note.value(&genesis).as_deref(), Some(note.default), "{}", note.path);
        }
    }
}
