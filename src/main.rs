//! Command line -> process -> exit code.

fn main() -> std::process::ExitCode {
    logweir::cli::main().into()
}
