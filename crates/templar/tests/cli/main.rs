//! The program as its users meet it: processes, exit codes, what they print and leave behind.

mod errors;
mod help;
mod program;
mod services;
mod settings;
mod training;
mod wallet;
