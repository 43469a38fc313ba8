//! `logweir standalone` as a process, over files that a test writes.

use crate::support::{
    clock::Clock,
    process::{Process, Program, free_address, http_get},
    test_folder, wait_for,
};
use serde_json::{Value, json};
use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    path::{Path, PathBuf},
    time::Duration,
};

const LIMIT: Duration = Duration::from_secs(60);

/// A process over a folder of logs.
pub struct Standalone {
    program: Program,
    process: Option<Process>,
    pub address: String,
    pub logs: PathBuf,
    pub folder: PathBuf,
}

impl Standalone {
    /// Running.
    pub fn start(name: &str) -> Self {
        let mut standalone = Self::new(name);
        standalone.again();
        standalone
    }

    /// 60 lines of three files, read within the last 50 minutes by the process's own clock; every fourth one a failure.
    /// Files 0 and 2 are of team `web front`, file 1 of team `shop`.
    pub fn with_lines(name: &str) -> Self {
        let mut standalone = Self::new(name);
        let entry = |file: &str, team: &str| json!({ "path": standalone.logs.join(file), "topic": "demo", "labels": { "team": team } });
        let entries = json!([entry("{nginx,pay}.log", "web front"), entry("shop.log", "shop")]);
        fs::create_dir(standalone.folder.join("data")).unwrap();
        fs::write(standalone.folder.join("data/collect.json"), entries.to_string()).unwrap();
        standalone.program.arguments.remove(1);
        let clock = Clock::new(&standalone.folder);
        standalone.program = clock.of(&standalone.program);
        clock.is_off_by_secs(-60 * 50);
        standalone.again();
        for i in 0..60 {
            clock.is_off_by_secs(-(60 - i) * 50);
            let file = ["nginx.log", "shop.log", "pay.log"][i as usize % 3];
            let level = if i % 4 == 0 { "ERROR read timeout" } else { "INFO served" };
            standalone.write(file, &format!("{level} request {i} of 10.0.0.{i}\n"));
            standalone.wait_read(file);
        }
        clock.is_off_by_secs(0);
        standalone.wait_found("request", 60);
        standalone
    }

    /// Waits until so many lines with a word are in the index.
    pub fn wait_found(&self, word: &str, count: u64) {
        wait_for(&format!("{count} lines with {word} in the index"), LIMIT, || {
            let (_, found) = http_get(&self.address, &format!("/api/v1/search?count=true&size=1&q={word}"))?;
            (serde_json::from_str::<Value>(&found).ok()?["total"] == count).then_some(())
        });
    }

    /// Waits until everything of a file is read.
    fn wait_read(&self, file: &str) {
        let size = fs::metadata(self.logs.join(file)).unwrap().len();
        wait_for(&format!("{file} to be read"), LIMIT, || {
            let (_, files) = http_get(&self.address, "/files")?;
            let files: Value = serde_json::from_str(&files).ok()?;
            let read =
                |one: &&Value| one["path"].as_str().is_some_and(|path| path.ends_with(file)) && one["read"] == size;
            files.as_array()?.iter().find(read).map(|_| ())
        });
    }

    fn new(name: &str) -> Self {
        let folder = test_folder(&format!("console/{name}-process"));
        let logs = folder.join("logs");
        fs::create_dir(&logs).unwrap();
        let address = free_address();
        let data = folder.join("data");
        let arguments =
            ["standalone", &logs.to_string_lossy(), "--listen", &address, "--data-dir", &data.to_string_lossy()];
        let program = Program {
            wrapper: Vec::new(),
            name: "standalone".into(),
            arguments: arguments.map(str::to_owned).to_vec(),
            environment: Vec::new(),
            listen: address.clone(),
            folder: folder.clone(),
        };
        Self { program, process: None, address, logs, folder }
    }

    /// Ends the process in order.
    pub fn stop(&mut self) {
        if let Some(process) = self.process.take() {
            process.stop();
        }
    }

    /// Starts the process at the same address.
    pub fn again(&mut self) {
        self.stop();
        self.process = Some(self.program.start_ready());
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn write(&self, file: &str, text: &str) {
        append(&self.logs.join(file), text);
    }

    /// What is collected.
    pub fn entries(&self) -> Value {
        let text = fs::read_to_string(self.folder.join("data/collect.json")).unwrap();
        serde_json::from_str(&text).unwrap()
    }
}

pub fn append(file: &Path, text: &str) {
    let mut file = OpenOptions::new().create(true).append(true).open(file).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}
