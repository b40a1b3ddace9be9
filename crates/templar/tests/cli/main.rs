//! The program as its users meet it: processes, exit codes, what they print and leave behind.

mod checkpoint;
mod errors;
mod help;
mod interchange;
#[path = "../support/program.rs"]
mod program;
mod run;
mod services;
mod settings;
mod simulate;
mod token;
mod training;
mod wallet;
