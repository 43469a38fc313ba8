//! `logweir console user add|passwd|role|disable|enable|list`: the console's users, by hand. The problem: the first admin
//! has to be made, and a forgotten password has to be replaced, also where no page answers. Whoever may write the store
//! may do it; it is recorded in the audit like everything else. A password is never an argument, for those are seen by
//! everybody on the machine.

use super::{Exit, Failure, Outcome, print, settings};
use crate::{
    console::{Author, Change, Role, Topics, UserError, Users},
    etcd::Session,
    settings::ConsoleSettings,
    store::{EtcdStore, FileStore, Store},
};
use std::{
    fmt::Write as _,
    io::{self, BufRead as _, IsTerminal as _},
    path::{Path, PathBuf},
    sync::Arc,
};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  logweir console user add anna --role admin -c conf/console.toml
  logweir console user add vera --role viewer --topics 'shop-*,web' --password-file vera.txt -c conf/console.toml
  logweir console user passwd anna --data-dir ~/.local/share/logweir
  logweir console user disable vera -c conf/console.toml

A new password or disabling ends all sessions and tokens of the user, at every console, within a second.
Exit codes: 65 refused (the text says why), 69 etcd doesn't answer.")]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Add a user; the first one has to be an admin
    Add(AddArgs),
    /// Replace a user's password
    Passwd(PasswdArgs),
    /// Change what a user may do and see
    Role(RoleArgs),
    /// Keep a user out
    Disable(OneArgs),
    /// Let a user in again
    Enable(OneArgs),
    /// Show the users
    List(Place),
}

#[derive(Debug, clap::Args)]
struct AddArgs {
    /// The user's name
    name: String,
    /// viewer (searches and looks), editor (changes what is collected) or admin (decides who may do what)
    #[arg(long, default_value = "viewer")]
    role: Role,
    /// Topics whose lines are seen: patterns with * and ?, commas between
    #[arg(long, value_name = "PATTERNS", default_value = "*", value_parser = topics)]
    topics: Topics,
    #[command(flatten)]
    password: Password,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, clap::Args)]
struct PasswdArgs {
    /// The user's name
    name: String,
    #[command(flatten)]
    password: Password,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, clap::Args)]
struct RoleArgs {
    /// The user's name
    name: String,
    /// viewer, editor or admin
    #[arg(long, required_unless_present = "topics")]
    role: Option<Role>,
    /// Topics whose lines are seen: patterns with * and ?, commas between
    #[arg(long, value_name = "PATTERNS", value_parser = topics)]
    topics: Option<Topics>,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, clap::Args)]
struct OneArgs {
    /// The user's name
    name: String,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, clap::Args)]
struct Password {
    /// File whose first line is the password; `-` reads standard input [default: it is asked for]
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Place {
    /// Settings file of the console, whose etcd has the users
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Data folder of a `logweir standalone`
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

fn topics(text: &str) -> Result<Topics, String> {
    Topics::try_from(text.split(',').map(|pattern| pattern.trim().to_owned()).collect::<Vec<_>>())
}

pub fn run(args: &Args) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| Failure::new(Exit::Io, e))?;
    match &args.action {
        Action::Add(add) => {
            let users = add.place.users()?;
            let password = add.password.hashed(&add.name)?;
            let user = (add.role, add.topics.clone(), password);
            runtime.block_on(users.add(&Author::of_command_line(), &add.name, user, false)).map_err(failure)?;
            done(&add.name, "can log in now")
        }
        Action::Passwd(passwd) => {
            let users = passwd.place.users()?;
            let change = Change { password: Some(passwd.password.hashed(&passwd.name)?), ..Change::default() };
            runtime.block_on(users.change(&Author::of_command_line(), &passwd.name, &change)).map_err(failure)?;
            done(&passwd.name, "has a new password; all sessions and tokens of this user are over")
        }
        Action::Role(role) => {
            let change = Change { role: role.role, topics: role.topics.clone(), ..Change::default() };
            let users = role.place.users()?;
            runtime.block_on(users.change(&Author::of_command_line(), &role.name, &change)).map_err(failure)?;
            done(&role.name, "is changed")
        }
        Action::Disable(one) | Action::Enable(one) => {
            let disabled = matches!(args.action, Action::Disable(_));
            let change = Change { disabled: Some(disabled), ..Change::default() };
            let users = one.place.users()?;
            runtime.block_on(users.change(&Author::of_command_line(), &one.name, &change)).map_err(failure)?;
            done(
                &one.name,
                if disabled { "is out; all sessions and tokens of this user are over" } else { "may log in" },
            )
        }
        Action::List(place) => {
            let all = runtime.block_on(place.users()?.list()).map_err(|e| failure(e.into()))?;
            let mut text = String::new();
            for one in all {
                let (state, topics) =
                    (if one.user.disabled { "disabled" } else { "" }, Vec::from(one.user.topics).join(","));
                let line = format!("{:<24} {:<7} {topics:<24} {state}", one.name, one.user.role.name());
                // Writing to a text can't fail.
                let _ = writeln!(text, "{}", line.trim_end());
            }
            print(&text)?;
            Ok(Exit::Ok)
        }
    }
}

fn done(name: &str, what: &str) -> Outcome {
    print(&format!("{name} {what}\n"))?;
    Ok(Exit::Ok)
}

fn failure(error: UserError) -> Failure {
    let exit = match &error {
        UserError::Wrong(_) | UserError::Missing(_) | UserError::Conflict(_) => Exit::Data,
        UserError::Store(_) => Exit::Unavailable,
        UserError::NoRandom(_) => Exit::Software,
    };
    Failure::new(exit, error)
}

impl Place {
    fn users(&self) -> Result<Users, Failure> {
        let store: Arc<dyn Store> = match (&self.config, &self.data_dir) {
            (Some(file), _) => {
                let etcd = settings::load(file, ConsoleSettings::load)?.etcd;
                Arc::new(EtcdStore::new(Session::new(etcd)))
            }
            (None, Some(dir)) if dir.is_dir() => Arc::new(FileStore::new(dir.join("console.json"))),
            (None, Some(dir)) => {
                return Err(Failure::new(Exit::NoInput, format!("{} is no folder", dir.display())));
            }
            (None, None) => return Err(Failure::new(Exit::Usage, "whose users? Give -c FILE or --data-dir DIR")),
        };
        Ok(Users::new(store))
    }
}

impl Password {
    /// As the store keeps it.
    fn hashed(&self, name: &str) -> Result<String, Failure> {
        let password = match &self.password_file {
            Some(file) => first_line(file)?,
            None => asked()?,
        };
        Users::check_password(name, &password).map_err(|reason| Failure::new(Exit::Data, reason))?;
        Users::hash(&password).map_err(|reason| Failure::new(Exit::Software, reason))
    }
}

fn first_line(file: &Path) -> Result<String, Failure> {
    let failed = |e: io::Error| Failure::new(Exit::NoInput, format!("{}: {e}", file.display()));
    let mut line = String::new();
    if file == Path::new("-") {
        io::stdin().lock().read_line(&mut line).map_err(failed)?;
    } else {
        let opened = std::fs::File::open(file).map_err(failed)?;
        io::BufReader::new(opened).read_line(&mut line).map_err(failed)?;
    }
    Ok(line.trim_end_matches(['\n', '\r']).to_owned())
}

/// Asks twice, without an echo.
fn asked() -> Result<String, Failure> {
    if !io::stdin().is_terminal() {
        let reason = "nobody can be asked for the password here: use --password-file FILE, or - for standard input";
        return Err(Failure::new(Exit::Usage, reason));
    }
    let failed = |e: io::Error| Failure::new(Exit::Io, format!("the password can't be read: {e}"));
    let first = rpassword::prompt_password("Password: ").map_err(failed)?;
    let second = rpassword::prompt_password("The same again: ").map_err(failed)?;
    if first == second { Ok(first) } else { Err(Failure::new(Exit::Data, "the two passwords are different")) }
}
