//! Whether people can use the page who see little, or nothing, or have no mouse: axe-core looks at a page as it stands in the
//! browser, at names, roles, order and contrast.

use crate::browser::Browser;
use serde_json::{Value, json};
use std::{fs, path::Path, process::Command, sync::OnceLock};

/// The script that looks, from the package that brings it for Python.
fn axe() -> &'static str {
    static AXE: OnceLock<String> = OnceLock::new();
    AXE.get_or_init(|| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/console/pypi.sh");
        let made = Command::new(script).args(["axe-playwright-python", "0.1.8", "--no-deps"]).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let lib = Path::new(String::from_utf8(made.stdout).unwrap().trim()).join("lib");
        let python = fs::read_dir(lib).unwrap().next().unwrap().unwrap().path();
        fs::read_to_string(python.join("site-packages/axe_playwright_python/axe.min.js")).unwrap()
    })
}

impl Browser {
    /// A picture of this state of a page; nothing in it may be in anybody's way.
    pub fn look(&self, state: &str) {
        self.shot(state);
        let run = "const done = arguments[0]; axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21aa', 'best-practice'] })\
                   .then((found) => done(found.violations.map((rule) => `${rule.id}: ${rule.help}\\n` + rule.nodes.map((node) =>\
                   `  ${node.target} ${node.any.concat(node.all, node.none).map((one) => one.message).join('; ')}`).join('\\n'))))";
        self.command("/execute/sync", &json!({ "script": format!("{}; window.axe = axe", axe()), "args": [] }));
        let found = self.command("/execute/async", &json!({ "script": run, "args": [] }));
        let found: Vec<&str> = found.as_array().unwrap().iter().filter_map(Value::as_str).collect();
        let picture = self.folder.join(format!("{state}.png"));
        assert!(found.is_empty(), "{state} ({}):\n{}", picture.display(), found.join("\n"));
    }
}
