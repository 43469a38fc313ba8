//! Writes logs as programs and logrotate do, only worse, and remembers every line: several files at once, lines of all
//! lengths, `\r\n`, empty lines, NUL bytes and invalid UTF-8, writes that end in the middle of a line, rotations by
//! rename (two in quick succession, too), last lines without an end.
//!
//! Each line says who it is: `file=<n> line=<m> crc=<CRC-32C of the rest> <rest>`.

use super::rng::Rng;
use std::{
    fs::{self, File, OpenOptions},
    io::Write as _,
    path::{Path, PathBuf},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

/// One line that has to arrive.
#[derive(Clone, Copy, Debug)]
pub struct WrittenLine {
    /// How many rotations its file had seen.
    pub generation: u32,
    /// Its first byte's position within that generation.
    pub offset: u64,
    /// CRC-32C of its bytes.
    pub raw: u32,
    /// CRC-32C of its bytes with what is no UTF-8 replaced, as it has to stand in a document.
    pub text: u32,
}

/// What was written: per file, in the order of line numbers. Empty lines are not in it, they are not to be sent.
#[derive(Clone, Debug, Default)]
pub struct Written {
    pub files: Vec<Vec<WrittenLine>>,
    pub bytes: u64,
}

impl Written {
    pub fn lines(&self) -> usize {
        self.files.iter().map(Vec::len).sum()
    }
}

struct Log {
    path: PathBuf,
    file: File,
    generation: u32,
    offset: u64,
    in_generation: u64,
    created: Instant,
}

/// An agent that was killed is back and has seen every file that matches by then.
const SEEN_AFTER: Duration = Duration::from_secs(4);

pub struct LogWriter {
    rng: Rng,
    logs: Vec<Log>,
    written: Written,
    /// A file is rotated about once in so many lines of its own.
    rotate_after: u64,
    /// The files from this one on are rotated only when they are [`SEEN_AFTER`] old,
    gentle_from: usize,
    /// and from this one on never.
    steady_from: usize,
}

impl LogWriter {
    /// `files` logs `app-<n>.log` in `folder`; each is rotated about once in `rotate_after` lines.
    pub fn new(folder: &Path, files: usize, rotate_after: u64, rng: Rng) -> Self {
        fs::create_dir_all(folder).expect("make the log folder");
        let logs = (0..files).map(|n| {
            let path = folder.join(format!("app-{n}.log"));
            Log { file: create(&path), path, generation: 0, offset: 0, in_generation: 0, created: Instant::now() }
        });
        let logs: Vec<_> = logs.collect();
        Self {
            rng,
            logs,
            written: Written { files: vec![Vec::new(); files], bytes: 0 },
            rotate_after,
            gentle_from: files,
            steady_from: files,
        }
    }

    /// The last `steady` files are never rotated, and the `gentle` ones before them not as long as an agent that has just
    /// been killed may not have seen them: once they have left its pattern, it can only know them from before.
    pub fn with_gentle_and_steady(mut self, gentle: usize, steady: usize) -> Self {
        self.steady_from = self.logs.len() - steady;
        self.gentle_from = self.steady_from - gentle;
        self
    }

    pub fn written(&self) -> &Written {
        &self.written
    }

    /// Writes `lines` lines, in bursts over the files.
    pub fn write(&mut self, mut lines: u64) {
        while lines > 0 {
            let n = self.rng.below(self.logs.len() as u64) as usize;
            let burst = (1 + self.rng.below(40)).min(lines);
            lines -= burst;
            self.burst(n, burst);
            let due =
                self.logs[n].in_generation > self.rotate_after / 2 && self.rng.once_in(self.rotate_after / 40 + 1);
            if due && n < self.gentle_from {
                self.rotate(n);
                if lines > 3 && self.rng.once_in(5) {
                    lines -= 3;
                    self.burst(n, 3);
                    self.rotate(n);
                }
            } else if due && n < self.steady_from && self.logs[n].created.elapsed() > SEEN_AFTER {
                self.rotate(n);
            }
        }
    }

    fn burst(&mut self, n: usize, lines: u64) {
        let mut bytes = Vec::new();
        for _ in 0..lines {
            if self.rng.once_in(30) {
                bytes.extend_from_slice(if self.rng.once_in(2) { b"\n" } else { b"\r\n" });
            }
            self.line(n, &mut bytes);
            bytes.extend_from_slice(if self.rng.once_in(10) { b"\r\n" } else { b"\n" });
        }
        // Two writes, so that a reader can see the first half of a line.
        let cut = self.rng.below(bytes.len() as u64) as usize;
        self.append(n, &bytes[..cut]);
        self.append(n, &bytes[cut..]);
    }

    /// Writes one line of about so many letters into file `n`; its number is the answer.
    pub fn write_long(&mut self, n: usize, letters: u64) -> usize {
        let rest: Vec<u8> = (0..letters).map(|_| b'a' + self.rng.below(26) as u8).collect();
        let mut bytes = Vec::new();
        self.add(n, &rest, &mut bytes);
        bytes.push(b'\n');
        self.append(n, &bytes);
        self.written.files[n].len() - 1
    }

    /// Adds a line without its end, and remembers it.
    fn line(&mut self, n: usize, bytes: &mut Vec<u8>) {
        let rest = payload(&mut self.rng);
        self.add(n, &rest, bytes);
    }

    fn add(&mut self, n: usize, rest: &[u8], bytes: &mut Vec<u8>) {
        let number = self.written.files[n].len();
        let begin = bytes.len();
        bytes.extend_from_slice(format!("file={n} line={number} crc={:08x} ", crc32c::crc32c(rest)).as_bytes());
        bytes.extend_from_slice(rest);
        let line = &bytes[begin..];
        let log = &mut self.logs[n];
        log.in_generation += 1;
        self.written.files[n].push(WrittenLine {
            generation: log.generation,
            offset: log.offset + begin as u64,
            raw: crc32c::crc32c(line),
            text: crc32c::crc32c(String::from_utf8_lossy(line).as_bytes()),
        });
    }

    fn append(&mut self, n: usize, bytes: &[u8]) {
        let log = &mut self.logs[n];
        log.file.write_all(bytes).expect("append to a log");
        log.offset += bytes.len() as u64;
        self.written.bytes += bytes.len() as u64;
    }

    /// `app.log.1` becomes `app.log.2` and so on, `app.log` becomes `app.log.1`, a new `app.log` begins. One rotation in
    /// four leaves a last line without its end behind.
    fn rotate(&mut self, n: usize) {
        if self.rng.once_in(4) {
            let mut bytes = Vec::new();
            self.line(n, &mut bytes);
            self.append(n, &bytes);
        }
        let log = &mut self.logs[n];
        let numbered = |i: u32| PathBuf::from(format!("{}.{i}", log.path.display()));
        for i in (1..=log.generation).rev() {
            fs::rename(numbered(i), numbered(i + 1)).expect("rotate");
        }
        fs::rename(&log.path, numbered(1)).expect("rotate");
        *log = Log {
            file: create(&log.path),
            path: log.path.clone(),
            generation: log.generation + 1,
            offset: 0,
            in_generation: 0,
            created: Instant::now(),
        };
    }
}

fn create(path: &Path) -> File {
    OpenOptions::new().append(true).create_new(true).open(path).expect("create a log")
}

fn payload(rng: &mut Rng) -> Vec<u8> {
    let length = if rng.once_in(50) { 2_000 + rng.below(18_000) } else { 10 + rng.below(290) };
    let mut bytes: Vec<u8> =
        (0..length).map(|_| b"abcdefghijklmnopqrstuvwxyz 0123456789"[rng.below(37) as usize]).collect();
    let at = rng.below(length) as usize;
    match rng.below(60) {
        0..3 => bytes[at] = 0xff,
        3 => bytes[at] = 0,
        4..7 => bytes.splice(at..at, "größer, 早い, 🦀".bytes()).for_each(drop),
        // A cut multi-byte character.
        7 => bytes.splice(at..at, "早".bytes().take(2)).for_each(drop),
        8 => bytes[at] = b'\r',
        _ => {}
    }
    // A carriage return at the end would belong to the line's end.
    bytes.push(b'.');
    bytes
}

/// A writer on its own thread, so that logs grow while the test kills what reads them.
pub struct Background {
    hurry: mpsc::Sender<()>,
    thread: thread::JoinHandle<LogWriter>,
}

impl Background {
    /// Spreads `lines` lines over about `over`.
    pub fn start(mut writer: LogWriter, lines: u64, over: Duration) -> Self {
        const STEPS: u64 = 400;
        let (hurry, hurried) = mpsc::channel();
        let thread = thread::spawn(move || {
            let mut paced = true;
            for step in 0..STEPS {
                writer.write(lines * (step + 1) / STEPS - lines * step / STEPS);
                if paced {
                    paced = hurried.recv_timeout(over / STEPS as u32) == Err(RecvTimeoutError::Timeout);
                }
            }
            writer
        });
        Self { hurry, thread }
    }

    /// Lets it write the rest as fast as it can, and returns it when all is written.
    pub fn finish(self) -> LogWriter {
        // It may have finished already; then nobody listens.
        let _ = self.hurry.send(());
        self.thread.join().unwrap_or_else(|reason| std::panic::resume_unwind(reason))
    }
}
