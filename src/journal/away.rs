//! Gone for good, or only away? The problem: when a file system is unmounted, all its files are missing at once, and they
//! come back with it, unchanged. To forget them would mean to send them again as new ones.

use std::{io, os::unix::fs::MetadataExt, path::Path};

/// Whether the file system with device number `device`, on which a file of this name was, isn't there at the moment: the
/// nearest folder that exists is on another one. A folder that was removed, with or without those above it, leaves a
/// folder of the same file system behind. Looks at the file system.
pub fn is_away(path: &Path, device: u64) -> bool {
    for folder in path.ancestors().skip(1) {
        match std::fs::metadata(folder) {
            Ok(found) => return found.dev() != device,
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
            // For instance a network file system whose server doesn't answer.
            Err(_) => return true,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_removed_folder_is_not_away_and_another_device_in_its_place_is() {
        let dir = tempfile::tempdir().unwrap();
        let device = std::fs::metadata(dir.path()).unwrap().dev();
        for name in ["a.log", "gone/a.log", "gone/long/since/a.log"] {
            assert!(!is_away(&dir.path().join(name), device), "{name}");
            assert!(is_away(&dir.path().join(name), device + 1), "{name}");
        }
        std::fs::write(dir.path().join("file"), "").unwrap();
        assert!(!is_away(&dir.path().join("file/a.log"), device));
        assert!(!is_away(Path::new("a.log"), device), "a name without a folder is nowhere");
    }
}
