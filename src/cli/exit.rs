//! Exit codes, as sysexits.h names them: a script can tell a mistake of its own from a server that is down.

use std::{fmt, process::ExitCode};

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Ok = 0,
    /// The command line is wrong.
    Usage = 64,
    /// A value given as data (an entry, a file of entries) is wrong.
    Data = 65,
    /// A file to be read can't be.
    NoInput = 66,
    /// A server or a port that is needed isn't there.
    Unavailable = 69,
    /// A failure of this program's own; starting it again is safe.
    Software = 70,
    /// A file or folder can't be made.
    CantCreate = 73,
    /// Reading or writing failed.
    Io = 74,
    /// It can work later; try again.
    Temporary = 75,
    /// The settings are wrong.
    Config = 78,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// A command failed: its exit code, and one sentence for stderr.
#[derive(Debug)]
pub struct Failure {
    pub exit: Exit,
    pub reason: String,
}

impl Failure {
    pub fn new(exit: Exit, reason: impl fmt::Display) -> Self {
        Self { exit, reason: reason.to_string() }
    }
}

/// What a command gives back.
pub type Outcome = Result<Exit, Failure>;
