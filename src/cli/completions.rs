//! `logweir completions SHELL`.

use super::{Cli, Exit, Outcome};
use clap::CommandFactory;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  logweir completions bash > /etc/bash_completion.d/logweir
  logweir completions zsh > ~/.zfunc/_logweir
  logweir completions fish > ~/.config/fish/completions/logweir.fish")]
pub struct Args {
    shell: clap_complete::Shell,
}

pub fn run(args: &Args) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "logweir", &mut script);
    super::print(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Ok)
}
