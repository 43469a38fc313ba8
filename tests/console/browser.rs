//! A real browser, driven by WebDriver (W3C): what a person does, and what they see. Small on purpose: it needs no more
//! than this file, and a client library would bring a second HTTP stack.

use crate::support::{test_folder, wait_for};
use serde_json::{Value, json};
use std::{
    io::{BufRead as _, BufReader, Lines, Read as _, Write as _},
    net::TcpStream,
    path::PathBuf,
    process::{Child, ChildStdout, Command, Stdio},
    time::Duration,
};

/// Ends a test that hangs; judges no speed.
const LIMIT: Duration = Duration::from_secs(60);
/// The key of an element's id, by the standard.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

pub const ENTER: &str = "\u{e007}";
pub const ESCAPE: &str = "\u{e00c}";
pub const TAB: &str = "\u{e004}";
pub const DOWN: &str = "\u{e015}";
pub const RIGHT: &str = "\u{e014}";

/// One browser window with a profile of its own.
pub struct Browser {
    driver: Child,
    port: u16,
    session: String,
    /// Screenshots and downloads.
    pub folder: PathBuf,
    /// Kept open: the driver ends when it can't write.
    _output: Lines<BufReader<ChildStdout>>,
    _profile: tempfile::TempDir,
}

impl Browser {
    /// `name`: of the test.
    pub fn start(name: &str) -> Self {
        Self::with(name, "en", (1280, 800))
    }

    pub fn with(name: &str, language: &str, (width, height): (u32, u32)) -> Self {
        let folder = test_folder(&format!("console/{name}"));
        let profile = tempfile::tempdir().unwrap();
        // It dies with this test, and the browser with it.
        let mut driver = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--", "chromedriver", "--port=0"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("start chromedriver (Debian: chromium-driver)");
        let mut output = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port = output
            .by_ref()
            .find_map(|line| {
                line.unwrap().split("started successfully on port ").nth(1)?.trim_end_matches('.').parse().ok()
            })
            .expect("chromedriver tells its port");
        let arguments = [
            "--headless".to_owned(),
            "--no-sandbox".to_owned(),
            "--disable-gpu".to_owned(),
            "--disable-quic".to_owned(),
            "--no-first-run".to_owned(),
            "--disable-background-networking".to_owned(),
            "--disable-component-update".to_owned(),
            "--disable-sync".to_owned(),
            "--disable-dev-shm-usage".to_owned(),
            "--hide-scrollbars".to_owned(),
            "--no-proxy-server".to_owned(),
            format!("--accept-lang={language}"),
            format!("--window-size={width},{height}"),
            format!("--user-data-dir={}", profile.path().display()),
        ];
        let capabilities = json!({ "capabilities": { "alwaysMatch": {
            "goog:chromeOptions": { "args": arguments, "prefs": { "download.default_directory": folder } },
            "goog:loggingPrefs": { "browser": "ALL" },
        }}});
        let mut browser = Self { driver, port, session: String::new(), folder, _output: output, _profile: profile };
        let session = browser.call("POST", "/session", &capabilities);
        browser.session = format!("/session/{}", session["sessionId"].as_str().unwrap());
        // A window has a least width; a phone's is emulated.
        if width < 500 {
            let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": 2, "mobile": true });
            browser.devtools("Emulation.setDeviceMetricsOverride", &metrics);
        }
        browser
    }

    fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        self.try_call(method, path, body).unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    fn try_call(&self, method: &str, path: &str, body: &Value) -> Result<Value, String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).map_err(|e| format!("chromedriver: {e}"))?;
        stream.set_read_timeout(Some(LIMIT * 2)).unwrap();
        let body = if method == "POST" { body.to_string() } else { String::new() };
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n",
            self.port,
            body.len()
        );
        let answer = stream.write_all((head + &body).as_bytes()).and_then(|()| read_answer(stream));
        let body = answer.map_err(|e| format!("chromedriver: {e}"))?;
        let value = serde_json::from_slice::<Value>(&body).unwrap()["value"].take();
        match value["error"].as_str() {
            Some(error) => Err(format!("{error}: {}", value["message"])),
            None => Ok(value),
        }
    }

    pub fn command(&self, path: &str, body: &Value) -> Value {
        self.call("POST", &format!("{}{path}", self.session), body)
    }

    pub fn devtools(&self, command: &str, parameters: &Value) -> Value {
        self.command("/goog/cdp/execute", &json!({ "cmd": command, "params": parameters }))
    }

    pub fn open(&self, url: &str) {
        self.command("/url", &json!({ "url": url }));
        self.wait("the page to be ready", "document.documentElement.dataset.ready");
    }

    /// The value of an expression.
    pub fn get(&self, expression: &str) -> Value {
        self.command("/execute/sync", &json!({ "script": format!("return ({expression})"), "args": [] }))
    }

    pub fn text(&self, expression: &str) -> String {
        self.get(expression).as_str().unwrap_or_else(|| panic!("{expression} is no text")).to_owned()
    }

    /// What an expression gives once it gives something.
    pub fn wait(&self, what: &str, expression: &str) -> Value {
        let what = format!("{what} ({expression}); screenshots are in {}", self.folder.display());
        let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            wait_for(&what, LIMIT, || match self.get(expression) {
                Value::Null | Value::Bool(false) => None,
                Value::String(text) if text.is_empty() => None,
                value => Some(value),
            })
        }));
        found.unwrap_or_else(|panic| {
            self.shot("failed");
            std::panic::resume_unwind(panic)
        })
    }

    fn element(&self, css: &str) -> String {
        let body = json!({ "using": "css selector", "value": css });
        let path = format!("{}/element", self.session);
        let found = wait_for(css, LIMIT, || self.try_call("POST", &path, &body).ok());
        found[ELEMENT].as_str().unwrap().to_owned()
    }

    /// A click as a person does it: on what is seen and not covered.
    pub fn click(&self, css: &str) {
        // An element may be written anew meanwhile.
        wait_for(&format!("a click on {css}"), LIMIT, || {
            let path = format!("{}/element/{}/click", self.session, self.element(css));
            self.try_call("POST", &path, &json!({})).ok()
        });
    }

    /// Types where the focus is.
    pub fn keys(&self, text: &str) {
        let keys = text
            .chars()
            .flat_map(|key| ["keyDown", "keyUp"].map(|kind| json!({ "type": kind, "value": key.to_string() })));
        let actions = json!([{ "type": "key", "id": "keyboard", "actions": keys.collect::<Vec<_>>() }]);
        self.command("/actions", &json!({ "actions": actions }));
    }

    /// Presses in an element at one share of its width and lets go at another.
    pub fn drag(&self, css: &str, from: f64, to: f64) {
        let id = self.element(css);
        let width = self.get(&format!("document.querySelector('{css}').clientWidth")).as_f64().unwrap();
        let at = |share: f64| {
            json!({ "type": "pointerMove", "duration": 50, "x": ((share - 0.5) * width) as i64, "y": 0,
                "origin": { ELEMENT: id } })
        };
        let steps = json!([at(from), { "type": "pointerDown", "button": 0 }, at((from + to) / 2.0), at(to),
            { "type": "pointerUp", "button": 0 }]);
        let mouse =
            json!({ "type": "pointer", "id": "mouse", "parameters": { "pointerType": "mouse" }, "actions": steps });
        self.command("/actions", &json!({ "actions": [mouse] }));
    }

    pub fn back(&self) {
        self.command("/back", &json!({}));
    }

    pub fn dark(&self) {
        let features = json!([{ "name": "prefers-color-scheme", "value": "dark" }]);
        self.devtools("Emulation.setEmulatedMedia", &json!({ "features": features }));
    }

    /// A picture of what is seen now, for people to look at.
    pub fn shot(&self, name: &str) {
        use base64_lite::decode;
        let picture = self.call("GET", &format!("{}/screenshot", self.session), &Value::Null);
        std::fs::write(self.folder.join(format!("{name}.png")), decode(picture.as_str().unwrap())).unwrap();
    }

    /// What the browser complained of: broken rules of the content policy, errors in scripts, files not found.
    pub fn complaints(&self) -> Vec<String> {
        let log = self.command("/se/log", &json!({ "type": "browser" }));
        let severe = |entry: &&Value| entry["level"] == "SEVERE";
        log.as_array().unwrap().iter().filter(severe).map(|entry| entry["message"].to_string()).collect()
    }
}

/// The body, by its length: the browser may inherit the driver's end of the connection and hold it open.
fn read_answer(stream: TcpStream) -> std::io::Result<Vec<u8>> {
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let line = line.trim_end().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().map_err(std::io::Error::other)?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(body)
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The browser ends with its session; without one it ends with the driver.
        if !self.session.is_empty() {
            let _ = self.try_call("DELETE", &self.session, &Value::Null);
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

mod base64_lite {
    /// Standard alphabet; the input comes from the driver.
    pub fn decode(text: &str) -> Vec<u8> {
        let digit = |byte: u8| match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            _ => 63,
        };
        let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b'=').map(digit).collect();
        let triple = |four: &[u8]| {
            let all = four.iter().chain([&0; 3]).take(4).fold(0_u32, |sum, d| sum << 6 | u32::from(*d));
            all.to_be_bytes()[1..four.len()].to_vec()
        };
        digits.chunks(4).flat_map(triple).collect()
    }
}
