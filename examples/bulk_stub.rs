//! The bulk stub as a process of its own, for measuring: `bulk_stub PORT PERCENT_OF_429`. Prints its counts as one line
//! of JSON each second in which they have changed.

#[allow(dead_code, reason = "the tests use more of it")]
#[path = "../tests/support/bulk_stub.rs"]
mod bulk_stub;

use bulk_stub::{Mood, Stub};
use std::{process::ExitCode, time::Duration};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let mut number = |name: &str, default: u16| match arguments.next().map(|text| text.parse::<u16>()) {
        None => Ok(default),
        Some(Ok(number)) => Ok(number),
        Some(Err(error)) => Err(format!("{name}: {error}")),
    };
    let (port, percent) = match (number("PORT", 9299), number("PERCENT_OF_429", 1)) {
        (Ok(port), Ok(percent)) => (port, u64::from(percent)),
        (Err(error), _) | (_, Err(error)) => {
            eprintln!("{error}; usage: bulk_stub [PORT] [PERCENT_OF_429]");
            return ExitCode::from(64);
        }
    };
    let stub = match Stub::start(false, port) {
        Ok(stub) => stub,
        Err(error) => {
            eprintln!("port {port}: {error}");
            return ExitCode::from(69);
        }
    };
    let mut count = 0u64;
    stub.set_mood(Mood::Judge(Box::new(move |_| {
        count += 1;
        let refused = count % 100 < percent;
        refused.then(|| (429, "es_rejected_execution_exception", "the queue is full".to_owned()))
    })));
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(report(&stub)),
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(71)
        }
    }
}

async fn report(stub: &Stub) -> ExitCode {
    let (mut tick, mut before) = (tokio::time::interval(Duration::from_secs(1)), u64::MAX);
    loop {
        tick.tick().await;
        let seen = stub.seen();
        if seen.requests == before {
            continue;
        }
        before = seen.requests;
        println!(
            r#"{{"requests":{},"items":{},"created":{},"distinct":{},"bytes":{},"malformed":{}}}"#,
            seen.requests,
            seen.items,
            seen.created,
            seen.docs.len(),
            seen.bytes,
            seen.malformed
        );
    }
}
