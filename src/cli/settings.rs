//! From a settings file to settings, or to the exit code that says what is wrong with it.

use super::{Exit, Failure};
use crate::settings::SettingsError;
use std::{fs::File, path::Path};

/// Reads settings by `load`.
///
/// # Errors
/// [`Exit::NoInput`] for a file that can't be read, [`Exit::Config`] for one that is wrong.
pub fn load<T>(file: &Path, load: impl FnOnce(&Path) -> Result<T, SettingsError>) -> Result<T, Failure> {
    // A folder opens, too, but isn't settings.
    let is_file = File::open(file).and_then(|file| file.metadata()).map(|data| !data.is_dir());
    match is_file {
        Ok(true) => load(file).map_err(|error| Failure::new(Exit::Config, format!("settings refused\n{error}"))),
        Ok(false) => Err(Failure::new(Exit::NoInput, format!("{} is a folder, not a settings file", file.display()))),
        Err(error) => {
            Err(Failure::new(Exit::NoInput, format!("the settings file {} can't be read: {error}", file.display())))
        }
    }
}
