//! `templar completions`.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

/// Print the completion script of a shell.
///
/// Example: templar completions bash > ~/.local/share/bash-completion/completions/templar
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    /// Prints the script.
    pub fn run(self) -> anyhow::Result<()> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut super::Cli::command(), "templar", &mut script);
        crate::output::print(String::from_utf8_lossy(&script).trim_end())
    }
}
