//! Command line -> process -> exit code.

/// Tantivy, actix and the clients of the servers allocate on one thread and free on another. glibc keeps what is freed
/// so: 630 MiB of standalone's own memory after it had indexed 500 MB, where mimalloc keeps 50.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    logweir::cli::main().into()
}
