//! Texts, corpora, tokenizers.
