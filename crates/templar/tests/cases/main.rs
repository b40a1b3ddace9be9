//! Everyday inputs that went wrong once, by the kind of fault. docs/cases.md names the test of each.

mod benchmark;
mod commands;
mod keys;
mod model_files;
mod models;
mod network;
#[path = "../support/program.rs"]
#[allow(dead_code, reason = "each test program uses a part of it")]
mod program;
mod record;
mod texts;
