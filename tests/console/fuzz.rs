//! The API against its own description: requests that a fuzzer makes up from it are answered as it says, and none stops the
//! process or lets it fail.

use crate::{
    house::Standalone,
    support::{env_number, process::http_get, rng::Rng, wait_for},
};
use std::{path::Path, process::Command, time::Duration};

#[test]
fn requests_that_are_made_up_from_the_description_are_answered_as_it_says() {
    let standalone = Standalone::start("fuzzed");
    standalone.write("app.log", &"ERROR took=12 a line that is there\n".repeat(200));
    let there =
        || http_get(&standalone.address, "/api/v1/search?q=there").filter(|(_, body)| body.contains("\"offset\""));
    wait_for("the lines", Duration::from_secs(60), there);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/console/fuzz.sh");
    let fuzzed = Command::new(script)
        .arg(&standalone.address)
        .env("EXAMPLES", env_number("LOGWEIR_TEST_FUZZ", 15).to_string())
        .env("SEED", Rng::from_env().next().to_string())
        .output()
        .expect("run the fuzzer");
    let said = String::from_utf8_lossy(&fuzzed.stdout) + String::from_utf8_lossy(&fuzzed.stderr);
    assert!(fuzzed.status.success(), "{said}");
    assert!(said.contains("test cases") || said.contains("Test cases"), "nothing was asked: {said}");
    let log = standalone.logged();
    assert!(!log.contains("panicked"), "{log}");
    assert!(there().is_some(), "it still answers");
}
