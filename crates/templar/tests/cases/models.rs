//! Model folders, GGUF files, prompts.
