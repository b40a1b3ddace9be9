//! Text to token ids and back: byte-level BPE, trained here or loaded from a `tokenizer.json`.
//!
//! Training is reproducible to the byte. The trainer counts in hash maps with random seeds, but sorts the alphabet
//! and breaks ties of equal counts by the pair's ids; the order of words reaches no result. The tests train the same
//! text again and again, with other thread counts, and compare the bytes.

use crate::end_of_text::{END_OF_TEXT_NAMES, EndOfText};
use crate::manifest::TOKENIZER_FILE;
use crate::pieces::{PIECE_BYTES, pieces};
use crate::tokenizer_file;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use templar_base::ContentHash;
use templar_disk::Pointer;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::models::{ModelWrapper, TrainerWrapper};
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{AddedToken, Tokenizer as Inner};

/// The token between two documents, in tokenizers that are trained here.
pub const END_OF_TEXT: &str = "<|endoftext|>";

/// The smallest vocabulary that is trained: the 256 bytes and the end of text.
pub const SMALLEST_VOCABULARY: u32 = 257;

/// The largest vocabulary that is trained: four times the largest in wide use. A model has two rows of parameters for
/// each token, so a larger one costs memory for nothing.
pub const LARGEST_VOCABULARY: u32 = 1 << 20;

/// A `tokenizer.json` of a vocabulary of 256 thousand has some 35 MB; anything much larger is not a tokenizer.
const LARGEST_JSON_BYTES: usize = 128 << 20;

/// Text that training reads at most: enough for any vocabulary, and a bound for time and for the trainer's 32-bit
/// counters. A sample is taken evenly when there is more.
pub const TRAINING_SAMPLE_BYTES: u64 = 64 << 20;

/// Why there is no tokenizer, or no tokens.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenizerError {
    /// The vocabulary cannot hold all the bytes.
    #[error("a vocabulary of {wanted} is too small: the {SMALLEST_VOCABULARY} basic tokens have to fit")]
    VocabularyTooSmall {
        /// The vocabulary that was wanted.
        wanted: u32,
    },
    /// The vocabulary is beyond any use.
    #[error("a vocabulary of {wanted} is too large: the largest is {LARGEST_VOCABULARY}")]
    VocabularyTooLarge {
        /// The vocabulary that was wanted.
        wanted: u32,
    },
    /// There is no text to train on.
    #[error("there is no text to train a tokenizer on")]
    NoText,
    /// The text has fewer distinct words than the vocabulary needs.
    #[error(
        "the text gives a vocabulary of only {reached} of the {wanted} tokens wanted: give more text, or take a \
         vocabulary of at most {reached}"
    )]
    TextTooPlain {
        /// The vocabulary that was wanted.
        wanted: u32,
        /// The vocabulary that the text gives.
        reached: u32,
    },
    /// A file cannot be read.
    #[error("cannot read the tokenizer {path}: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The bytes are not a tokenizer.
    #[error("this is not a tokenizer.json: {reason}")]
    Malformed {
        /// What is wrong with them.
        reason: String,
    },
    /// No token ends a text.
    #[error(
        "the tokenizer has no end-of-text token (looked for {END_OF_TEXT_NAMES:?}): name it, or put the model's \
         config.json with its eos_token_id beside the tokenizer"
    )]
    NoEndOfText,
    /// The token that is named as the end of a text is none of the tokenizer's.
    #[error("the end-of-text token is said to be {token}, which the tokenizer does not have")]
    NoSuchEndOfText {
        /// Its number, or its name in quotes.
        token: String,
    },
    /// A byte of the text has no token, and would be left out.
    #[error("the tokenizer has no token for the byte {byte:#04x} of the text: take a tokenizer that has all bytes")]
    NoToken {
        /// The byte.
        byte: u8,
    },
    /// The tokenizer failed on a text.
    #[error("the tokenizer cannot encode or decode this: {reason}")]
    Failed {
        /// What the tokenizer says.
        reason: String,
    },
}

/// A tokenizer, named by the hash of its `tokenizer.json`.
#[derive(Clone)]
pub struct Tokenizer {
    inner: Inner,
    json: Vec<u8>,
    hash: ContentHash,
    vocab_size: u32,
    end_of_text: u32,
    has_usual_end: bool,
    cuts_at_spaces: bool,
    /// The bytes of a text that have no token.
    missing: Vec<u8>,
    /// As `inner`, but special tokens that a text spells are read as such.
    for_prompts: OnceLock<Inner>,
}

impl Tokenizer {
    /// Trains a byte-level BPE of exactly `vocab_size` tokens on the documents. At most [`TRAINING_SAMPLE_BYTES`] of
    /// them should be given; the result depends on the text and nothing else.
    pub fn train<S: AsRef<str> + Sync>(documents: &[S], vocab_size: u32) -> Result<Self, TokenizerError> {
        let tokenizer = Self::train_up_to(documents, vocab_size)?;
        match tokenizer.vocab_size {
            reached if reached < vocab_size => Err(TokenizerError::TextTooPlain { wanted: vocab_size, reached }),
            _ => Ok(tokenizer),
        }
    }

    /// As [`Tokenizer::train`], with fewer tokens where the text is too small or too uniform for `vocab_size`.
    pub fn train_up_to<S: AsRef<str> + Sync>(documents: &[S], vocab_size: u32) -> Result<Self, TokenizerError> {
        if vocab_size < SMALLEST_VOCABULARY {
            return Err(TokenizerError::VocabularyTooSmall { wanted: vocab_size });
        }
        if vocab_size > LARGEST_VOCABULARY {
            return Err(TokenizerError::VocabularyTooLarge { wanted: vocab_size });
        }
        if documents.iter().all(|document| document.as_ref().is_empty()) {
            return Err(TokenizerError::NoText);
        }
        let byte_level = ByteLevel::new(false, false, true);
        let mut inner = Inner::new(BPE::default());
        inner.with_pre_tokenizer(Some(byte_level)).with_decoder(Some(byte_level));
        let trainer = BpeTrainer::builder()
            .vocab_size(vocab_size as usize)
            .min_frequency(2)
            .show_progress(false)
            .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
            .special_tokens(vec![AddedToken::from(END_OF_TEXT, true)])
            .build();
        let text = documents.iter().flat_map(|document| pieces(document.as_ref()));
        inner.train(&mut TrainerWrapper::BpeTrainer(trainer), text).map_err(failed)?;
        let json = inner.to_string(false).map_err(failed)?.into_bytes();
        Self::from_json(&json)
    }

    /// The tokenizer of a `tokenizer.json` whose end of text has one of the usual names. The bytes are kept, so that the
    /// hash names the file as it was given.
    pub fn from_json(json: &[u8]) -> Result<Self, TokenizerError> {
        Self::with_end(json, &EndOfText::Usual)
    }

    /// As [`Self::from_json`], where `end` says which token ends a text.
    pub fn with_end(json: &[u8], end: &EndOfText) -> Result<Self, TokenizerError> {
        if json.len() > LARGEST_JSON_BYTES {
            let reason = format!("it has {} bytes, over the limit of {LARGEST_JSON_BYTES}", json.len());
            return Err(TokenizerError::Malformed { reason });
        }
        let inner = tokenizer_file::parse(json)?;
        let missing = tokenizer_file::missing_bytes(&inner);
        let highest = inner.get_vocab(true).into_values().max();
        let vocab_size = highest
            .and_then(|id| id.checked_add(1))
            .ok_or_else(|| TokenizerError::Malformed { reason: "its vocabulary is empty or has no bound".into() })?;
        let end_of_text = end.find(&inner)?;
        let has_usual_end = EndOfText::Usual.find(&inner).is_ok_and(|usual| usual == end_of_text);
        // A token that a user added may have a space in it, or take the one beside it.
        let crosses_spaces = |token: &AddedToken| token.content.contains(' ') || token.lstrip || token.rstrip;
        let cuts_at_spaces = matches!(inner.get_model(), ModelWrapper::BPE(_))
            && inner.get_normalizer().is_none()
            && inner.get_pre_tokenizer().is_some_and(is_byte_level)
            && !inner.get_added_tokens_decoder().values().any(crosses_spaces);
        let (json, hash) = (json.to_vec(), ContentHash::of(json));
        let for_prompts = OnceLock::new();
        Ok(Self { inner, json, hash, vocab_size, end_of_text, has_usual_end, cuts_at_spaces, missing, for_prompts })
    }

    /// The tokenizer of a `tokenizer.json` on disk. The token that ends a text is the one that the model's files beside
    /// it name ([`EndOfText::beside`]), else one with a usual name.
    pub fn open(path: &Path) -> Result<Self, TokenizerError> {
        Self::open_with_end(path, &EndOfText::beside(path))
    }

    /// As [`Self::open`], where `end` says which token ends a text.
    pub fn open_with_end(path: &Path, end: &EndOfText) -> Result<Self, TokenizerError> {
        // A model's folder stands for the tokenizer in it.
        let inside = path.join(TOKENIZER_FILE);
        let path = if path.is_dir() { inside.as_path() } else { path };
        let json =
            std::fs::read(path).map_err(|source| TokenizerError::Unreadable { path: path.to_path_buf(), source })?;
        if let Some(pointer) = Pointer::of(&json) {
            return Err(TokenizerError::Malformed { reason: format!("{} is {pointer}", path.display()) });
        }
        Self::with_end(&json, end)
    }

    /// The bytes of its `tokenizer.json`.
    pub fn to_json(&self) -> &[u8] {
        &self.json
    }

    /// The hash of its `tokenizer.json`, as the genesis states it.
    pub fn hash(&self) -> ContentHash {
        self.hash
    }

    /// All token ids are under this number.
    pub fn vocab_size(&self) -> u32 {
        self.vocab_size
    }

    /// The id of the token between two documents.
    pub fn end_of_text(&self) -> u32 {
        self.end_of_text
    }

    /// Whether the end of a text has the first of the usual names that the tokenizer knows.
    pub(crate) fn has_usual_end(&self) -> bool {
        self.has_usual_end
    }

    /// The name of a token, as `tokenizer.json` has it.
    pub fn token(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }

    /// The ids of a text, without any added token. A text that spells the end of text gets ordinary tokens for it.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        self.check_bytes(text)?;
        // The library is slow on long texts: cut them where no token of a byte-level BPE crosses, which changes
        // nothing (a test holds the two together).
        if !self.cuts_at_spaces || text.len() <= PIECE_BYTES {
            return self.encode_piece(text);
        }
        let mut ids = Vec::with_capacity(text.len() / 3);
        for piece in pieces(text) {
            ids.extend(self.encode_piece(piece)?);
        }
        Ok(ids)
    }

    /// The ids of a prompt as the tokenizer's own file has it: special tokens that it spells are read as such. A prompt
    /// that `is_whole`, and not a piece of one, also has what the file's post-processor puts before and after a text.
    pub fn encode_prompt(&self, text: &str, is_whole: bool) -> Result<Vec<u32>, TokenizerError> {
        self.check_bytes(text)?;
        let inner = self.for_prompts.get_or_init(|| {
            let mut inner = self.inner.clone();
            inner.set_encode_special_tokens(false);
            inner
        });
        Ok(inner.encode_fast(text, is_whole).map_err(failed)?.get_ids().to_vec())
    }

    /// The id of the token of this name.
    pub fn id(&self, name: &str) -> Option<u32> {
        self.inner.token_to_id(name)
    }

    /// The text of the ids, without special tokens. Ids that the vocabulary lacks are left out, and bytes that are no
    /// UTF-8 become replacement characters.
    pub fn decode(&self, ids: &[u32]) -> Result<String, TokenizerError> {
        self.inner.decode(ids, true).map_err(failed)
    }

    /// A decoder that takes one id at a time, for generation.
    pub fn stream_decoder(&self) -> StreamDecoder<'_> {
        self.stream_decoder_after(&[])
    }

    /// As [`Self::stream_decoder`], for a text that continues the one of these ids: a word after others keeps its space.
    pub fn stream_decoder_after(&self, before: &[u32]) -> StreamDecoder<'_> {
        let ids = before[before.len().saturating_sub(CONTEXT_IDS)..].to_vec();
        StreamDecoder { tokenizer: self, emitted: ids.len(), ids }
    }

    /// Fails where the text has a byte that would be left out.
    fn check_bytes(&self, text: &str) -> Result<(), TokenizerError> {
        let is_missing = |byte: &u8| self.missing.contains(byte);
        match text.bytes().find(|byte| !self.missing.is_empty() && is_missing(byte)) {
            Some(byte) => Err(TokenizerError::NoToken { byte }),
            None => Ok(()),
        }
    }

    fn encode_piece(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        Ok(self.inner.encode_fast(text, false).map_err(failed)?.get_ids().to_vec())
    }
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokenizer").field("hash", &self.hash).field("vocab_size", &self.vocab_size).finish()
    }
}

/// Turns ids into text one by one; a character that spans several tokens comes out when it is whole.
#[derive(Debug)]
pub struct StreamDecoder<'a> {
    tokenizer: &'a Tokenizer,
    /// The ids of the last text that came out, as context, and those that wait.
    ids: Vec<u32>,
    /// How many of `ids` came out already.
    emitted: usize,
}

/// A character has at most four bytes, so at most four byte tokens wait; more is not UTF-8 and comes out as it is.
const LONGEST_WAIT: usize = 8;

/// Ids before a text that decide how it begins; some of them may be special and have no text.
const CONTEXT_IDS: usize = 32;

impl StreamDecoder<'_> {
    /// Takes the next id and gives the text that is certain now, often one word, sometimes nothing.
    pub fn push(&mut self, id: u32) -> Result<String, TokenizerError> {
        self.ids.push(id);
        let text = self.new_text()?;
        let waiting = self.ids.len() - self.emitted;
        if text.ends_with('\u{FFFD}') && waiting < LONGEST_WAIT {
            return Ok(String::new());
        }
        // A special token has no text; what came before it stays as the context.
        if !text.is_empty() {
            self.ids.drain(..self.emitted);
        }
        self.emitted = self.ids.len();
        Ok(text)
    }

    /// What still waits at the end, with replacement characters for bytes that are no character.
    pub fn finish(self) -> Result<String, TokenizerError> {
        self.new_text()
    }

    /// The text of the ids that wait, as it reads after those before them.
    fn new_text(&self) -> Result<String, TokenizerError> {
        let before = self.tokenizer.decode(&self.ids[..self.emitted])?;
        let whole = self.tokenizer.decode(&self.ids)?;
        // Some decoders change the end of a text by what follows: then the text begins where the two differ.
        let shared: usize =
            before.chars().zip(whole.chars()).take_while(|(a, b)| a == b).map(|(a, _)| a.len_utf8()).sum();
        Ok(whole[shared..].to_owned())
    }
}

fn failed(error: tokenizers::Error) -> TokenizerError {
    TokenizerError::Failed { reason: error.to_string() }
}

fn is_byte_level(pre_tokenizer: &PreTokenizerWrapper) -> bool {
    // Llama 3, Qwen and others split by their own expression first. A space opens a word in those too, but no rule
    // says so for all of them, so only the expression that is known is cut, where it is used and adds no space of its own.
    matches!(pre_tokenizer, PreTokenizerWrapper::ByteLevel(level) if level.use_regex && !level.add_prefix_space)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synthetic::synthetic;
    use proptest::prelude::*;
    use std::sync::LazyLock;

    static TRAINED: LazyLock<Tokenizer> = LazyLock::new(|| Tokenizer::train(&synthetic(1, 60_000), 400).unwrap());

    #[test]
    fn the_same_text_gives_the_same_bytes_whatever_the_threads() {
        let documents = synthetic(1, 60_000);
        for threads in [1, 2, 3, 7] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let again = pool.install(|| Tokenizer::train(&documents, 400).unwrap());
            assert_eq!(again.to_json(), TRAINED.to_json());
            assert_eq!(again.hash(), TRAINED.hash());
        }
    }

    /// A text with nothing but ties: each pair of letters is as frequent as the others.
    #[test]
    fn ties_break_the_same_way_each_time() {
        let letters: Vec<char> = ('a'..='z').collect();
        let words: Vec<String> =
            letters.iter().flat_map(|a| letters.iter().map(move |b| format!("{a}{b}{a} {a}{b}{a}"))).collect();
        let first = Tokenizer::train(&words, 330).unwrap();
        for _ in 0..5 {
            assert_eq!(Tokenizer::train(&words, 330).unwrap().to_json(), first.to_json());
        }
    }

    #[test]
    fn a_trained_tokenizer_has_its_size_and_survives_its_file() {
        assert_eq!(TRAINED.vocab_size(), 400);
        let loaded = Tokenizer::from_json(TRAINED.to_json()).unwrap();
        assert_eq!(loaded.hash(), TRAINED.hash());
        assert_eq!(loaded.end_of_text(), TRAINED.end_of_text());
        let text = "The old miller walked to the river.";
        assert_eq!(loaded.encode(text).unwrap(), TRAINED.encode(text).unwrap());
    }

    #[test]
    fn a_document_cannot_spell_the_end_of_text() {
        let ids = TRAINED.encode("one<|endoftext|>two").unwrap();
        assert!(!ids.contains(&TRAINED.end_of_text()));
        assert_eq!(TRAINED.decode(&ids).unwrap(), "one<|endoftext|>two");
        assert_eq!(TRAINED.decode(&[TRAINED.end_of_text()]).unwrap(), "");
    }

    #[test]
    fn impossible_trainings_say_why() {
        assert!(matches!(Tokenizer::train(&["text"], 256), Err(TokenizerError::VocabularyTooSmall { wanted: 256 })));
        assert!(matches!(
            Tokenizer::train(&["text"], u32::MAX),
            Err(TokenizerError::VocabularyTooLarge { wanted: u32::MAX })
        ));
        assert!(matches!(Tokenizer::train::<&str>(&[], 300), Err(TokenizerError::NoText)));
        let plain = Tokenizer::train(&["aaaa aaaa"], 300);
        assert!(matches!(plain, Err(TokenizerError::TextTooPlain { wanted: 300, .. })), "{plain:?}");
        assert!(matches!(Tokenizer::from_json(b"{}"), Err(TokenizerError::Malformed { .. })));
        assert!(matches!(Tokenizer::from_json(&[0xff; 9]), Err(TokenizerError::Malformed { .. })));
    }

    /// A vocabulary in which `▁` stands for a space, with a begin token that a post-processor adds.
    fn words() -> Tokenizer {
        let names = ["<unk>", "<s>", "</s>", "▁", "a", "b", "▁a", "▁b"];
        let vocabulary: serde_json::Map<_, _> =
            names.iter().zip(0..).map(|(n, id)| ((*n).to_owned(), id.into())).collect();
        let special = |name: &str, id: u32| {
            serde_json::json!({"id": id, "content": name, "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": false, "special": true})
        };
        let replace =
            |from: &str, to: &str| serde_json::json!({"type": "Replace", "pattern": {"String": from}, "content": to});
        let single =
            serde_json::json!([{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]);
        let json = serde_json::json!({
            "version": "1.0", "truncation": null, "padding": null,
            "added_tokens": [special("<unk>", 0), special("<s>", 1), special("</s>", 2)],
            "normalizer": {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, replace(" ", "▁")]},
            "pre_tokenizer": null,
            "post_processor": {"type": "TemplateProcessing", "single": single, "pair": single,
                "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}},
            "decoder": {"type": "Sequence", "decoders": [replace("▁", " "), {"type": "Fuse"},
                {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
            "model": {"type": "BPE", "dropout": null, "unk_token": "<unk>", "continuing_subword_prefix": null,
                "end_of_word_suffix": null, "fuse_unk": true, "byte_fallback": false, "vocab": vocabulary,
                "merges": [["▁", "a"], ["▁", "b"]]},
        });
        Tokenizer::from_json(json.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn a_prompt_has_what_the_post_processor_adds_and_the_special_tokens_that_it_spells() {
        let words = words();
        assert_eq!(words.encode("a b").unwrap(), [6, 7]);
        assert_eq!(words.encode_prompt("a b", true).unwrap(), [1, 6, 7]);
        assert_eq!(words.encode_prompt("a b", false).unwrap(), [6, 7]);
        assert_eq!(words.encode_prompt("a</s>", false).unwrap(), [6, 2]);
        assert!(!words.encode("a</s>").unwrap().contains(&2));
    }

    #[test]
    fn a_text_that_continues_another_keeps_its_first_space() {
        let words = words();
        let stream = |before: &[u32], ids: &[u32]| {
            let mut decoder = words.stream_decoder_after(before);
            let pieces: Vec<String> = ids.iter().map(|id| decoder.push(*id).unwrap()).collect();
            pieces.concat() + &decoder.finish().unwrap()
        };
        assert_eq!(stream(&[1, 6], &[7, 6]), " b a");
        assert_eq!(stream(&[1], &[7, 6]), "b a");
        assert_eq!(stream(&[], &[7, 2, 6]), "b a");
        assert_eq!(stream(&[6, 2], &[2, 2, 7]), " b");
    }

    #[test]
    fn decoding_ids_that_do_not_exist_gives_text_all_the_same() {
        assert_eq!(TRAINED.decode(&[u32::MAX, 9999]).unwrap(), "");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn any_text_round_trips(text in "\\PC{0,200}|[ \\n\\ta-c'é日🙂]{0,200}") {
            let ids = TRAINED.encode(&text).unwrap();
            prop_assert!(ids.iter().all(|id| *id < TRAINED.vocab_size()));
            prop_assert_eq!(TRAINED.decode(&ids).unwrap(), text);
        }

        #[test]
        fn the_stream_decoder_gives_the_whole_text(text in "[ \\na-c'é日🙂\u{1F469}]{0,80}") {
            let ids = TRAINED.encode(&text).unwrap();
            let mut decoder = TRAINED.stream_decoder();
            let mut streamed = String::new();
            for id in ids {
                streamed.push_str(&decoder.push(id).unwrap());
            }
            streamed.push_str(&decoder.finish().unwrap());
            prop_assert_eq!(streamed, text);
        }

        #[test]
        fn random_ids_decode_in_a_stream_as_a_whole(ids in proptest::collection::vec(0u32..400, 0..60)) {
            let mut decoder = TRAINED.stream_decoder();
            let mut length = 0;
            for id in &ids {
                length += decoder.push(*id).unwrap().len();
            }
            length += decoder.finish().unwrap().len();
            prop_assert!(length <= 64 * (ids.len() + 1));
        }

        #[test]
        fn cutting_into_pieces_changes_no_token(words in proptest::collection::vec("[a-z'.,\\n\\t é日]{0,12}", 300..600)) {
            let text = words.join(" ");
            prop_assert_eq!(TRAINED.encode(&text).unwrap(), TRAINED.encode_piece(&text).unwrap());
        }
    }
}
