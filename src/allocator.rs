//! What the C library's allocator is told. The problem: tantivy allocates on one thread what it frees on another, in
//! pieces of a mebibyte; glibc gives each thread an arena of its own and keeps in all of them what was freed, so that a
//! process that had indexed 500 MB of log held up to 630 MiB of its own, of which it needed 30. Other allocators give it
//! back by themselves, but take 20 to 40 MiB more where ten thousand files are at rest (mimalloc 3), or a tenth more CPU
//! (a lower threshold for mmap).

#![allow(unsafe_code, reason = "two settings of the C library, for which there is no safe call")]

/// Lets the threads that are started from now on share two arenas. Other libraries than glibc have none.
pub fn share_arenas() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it sets a number of the allocator under its own lock; any number is allowed.
    if unsafe { libc::mallopt(libc::M_ARENA_MAX, 2) } == 0 {
        slog_scope::warn!("the number of memory arenas can't be set, indexing will take more memory");
    }
}

/// Gives back to the system what is free. It looks at every arena: milliseconds, for a moment of rest.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it locks each arena and releases whole free pages; nothing that is allocated changes. Whether there were
    // any is its answer, which says nothing.
    unsafe {
        libc::malloc_trim(0);
    }
}
