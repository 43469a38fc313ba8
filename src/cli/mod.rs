//! The command line: one file per subcommand, exit codes that scripts can rely on, help that shows how.

mod agent;
mod check;
mod completions;
mod console;
mod console_user;
mod entries;
mod exit;
mod files;
mod page;
mod process;
mod search;
mod settings;
mod standalone;
mod transfer;

pub use exit::{Exit, Failure, Outcome};

use clap::{Parser, Subcommand};
use std::{
    ffi::OsString,
    io::{self, Write},
};

/// Version and commit.
pub const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("LOGWEIR_COMMIT"), ")");

const EXAMPLES: &str = "\
Examples:
  logweir standalone /var/log                 your own logs on a page, no server needed
  logweir check conf/agent.toml               is everything right, and are the servers there?
  logweir agent -c conf/agent.toml            collect log files into Kafka
  logweir transfer -c conf/transfer.toml      carry them from Kafka into Elasticsearch
  logweir console -c conf/console.toml        the page for all of it: who collects what, and search
  logweir entries edit --scope all -c conf/agent.toml   change what is collected
  logweir files -c conf/agent.toml            what is read how far
  logweir search 'timeout -health' --since 1h find lines

Any setting can be given by the environment as LOGWEIR__SECTION__KEY, for example LOGWEIR__LOG__LEVEL=debug.
Exit codes: 0 done, 64 command line, 65 data, 66 no such file, 69 server or port not available, 73 can't create, \
74 reading or writing failed, 75 try again later, 78 settings.";

/// Collects log files through Kafka into Elasticsearch: every line exactly once.
#[derive(Debug, Parser)]
#[command(name = "logweir", version = VERSION, after_help = EXAMPLES, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Collect, index and show this machine's logs, without any server
    Standalone(standalone::Args),
    /// Collect log files into Kafka
    Agent(agent::Args),
    /// Carry lines from Kafka into Elasticsearch
    Transfer(transfer::Args),
    /// Show who collects what and how far, and search, on a page
    Console(console::Args),
    /// Show and change the collection entries in etcd
    Entries(entries::EntriesArgs),
    /// Check settings, entries, servers and journal
    Check(check::Args),
    /// Show which files are read how far
    Files(files::Args),
    /// Find lines and follow new ones
    Search(search::Args),
    /// Print a script that completes this command line in a shell
    Completions(completions::Args),
}

/// Prints to stdout. Who closes it early (`head`) has seen enough.
fn print(text: &str) -> Result<(), Failure> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::new(Exit::Io, format!("stdout: {error}")))
        }
        _ => Ok(()),
    }
}

/// Runs the command line of this process.
pub fn main() -> Exit {
    run(std::env::args_os())
}

/// Runs one command line; the first word is the program's name.
pub fn run(words: impl IntoIterator<Item = OsString>) -> Exit {
    let cli = match Cli::try_parse_from(words) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are errors to clap, but go to stdout. A closed pipe is nobody's fault.
            _ = error.print();
            return if error.use_stderr() { Exit::Usage } else { Exit::Ok };
        }
    };
    let outcome = match cli.command {
        Command::Standalone(args) => standalone::run(&args),
        Command::Agent(args) => agent::run(&args),
        Command::Transfer(args) => transfer::run(&args),
        Command::Console(args) => console::run(&args),
        Command::Entries(args) => entries::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Files(args) => files::run(&args),
        Command::Search(args) => search::run(&args),
        Command::Completions(args) => completions::run(&args),
    };
    outcome.unwrap_or_else(|failure| {
        eprintln!("logweir: {}", failure.reason);
        failure.exit
    })
}
