//! A wall clock that jumps, for one process and its children: `clock_shim.c`, compiled here and loaded before libc.

use super::process::Program;
use std::{
    fs::{self, File},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    process::Command,
};

pub struct Clock {
    offset: File,
    file: PathBuf,
    shim: PathBuf,
}

impl Clock {
    /// A clock that is right, kept in this folder.
    pub fn new(folder: &Path) -> Self {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/clock_shim.c");
        let (shim, file) = (folder.join("clock_shim.so"), folder.join("clock_offset"));
        let compiled = Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).args([&shim, &source]).output();
        let compiled = compiled.expect("start cc, the C compiler (Debian: gcc)");
        assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
        fs::write(&file, 0_i64.to_ne_bytes()).expect("write the clock's offset");
        let offset = File::options().write(true).open(&file).expect("open the clock's offset");
        Self { offset, file, shim }
    }

    /// The program with this clock.
    pub fn of(&self, program: &Program) -> Program {
        program
            .with("LD_PRELOAD", self.shim.to_str().expect("a path of text"))
            .with("CLOCK_SHIM", self.file.to_str().expect("a path of text"))
    }

    /// From now on it is so many hours off.
    pub fn is_off_by(&self, hours: i64) {
        self.is_off_by_secs(hours * 3600);
    }

    /// From now on it is so many seconds off.
    pub fn is_off_by_secs(&self, secs: i64) {
        self.offset.write_all_at(&secs.to_ne_bytes(), 0).expect("write the clock's offset");
    }
}
