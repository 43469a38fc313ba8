//! Pooled buffers. The problem: reading a gigabyte in 256 KiB pieces must neither allocate per piece nor keep more
//! memory than is in flight. A chunk goes back to its pool when its last user drops it; the pool keeps a few.

use std::{
    ops::Deref,
    sync::{Arc, Mutex, PoisonError},
};

/// Where chunks come from and go back to. Cloning gives another handle of the same pool.
#[derive(Clone, Debug)]
pub struct ChunkPool {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    chunk_bytes: usize,
    keep: usize,
    free: Mutex<Vec<Vec<u8>>>,
}

impl ChunkPool {
    /// A pool of buffers of `chunk_bytes`, of which at most `keep` are kept while unused.
    pub fn new(chunk_bytes: usize, keep: usize) -> Self {
        Self { inner: Arc::new(Inner { chunk_bytes, keep, free: Mutex::new(Vec::new()) }) }
    }

    /// Size in bytes of a buffer as it is taken from the pool.
    pub fn chunk_bytes(&self) -> usize {
        self.inner.chunk_bytes
    }

    /// An empty buffer with room for at least `capacity` bytes. Only buffers of the pool's own size are re-used; a
    /// larger one is allocated and freed again, a much smaller one too (a quiet file shouldn't pin a large buffer).
    pub fn take(&self, capacity: usize) -> Vec<u8> {
        let size = self.inner.chunk_bytes;
        if capacity > size || capacity < size / 4 {
            return Vec::with_capacity(capacity);
        }
        let mut free = self.inner.free.lock().unwrap_or_else(PoisonError::into_inner);
        free.pop().unwrap_or_else(|| Vec::with_capacity(size))
    }

    /// Makes a chunk of a filled buffer: read-only from here on, given back when dropped.
    pub fn seal(&self, bytes: Vec<u8>) -> Chunk {
        Chunk { bytes, pool: Some(self.inner.clone()) }
    }
}

/// A filled, read-only buffer. Its bytes don't move while it lives, so they can be lent to librdkafka without a copy.
#[derive(Debug)]
pub struct Chunk {
    bytes: Vec<u8>,
    pool: Option<Arc<Inner>>,
}

impl From<Vec<u8>> for Chunk {
    /// A chunk of no pool.
    fn from(bytes: Vec<u8>) -> Self {
        Self { bytes, pool: None }
    }
}

impl Deref for Chunk {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        let Some(pool) = self.pool.take() else { return };
        let mut bytes = std::mem::take(&mut self.bytes);
        if bytes.capacity() != pool.chunk_bytes {
            return;
        }
        bytes.clear();
        let mut free = pool.free.lock().unwrap_or_else(PoisonError::into_inner);
        if free.len() < pool.keep {
            free.push(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_chunk_is_used_again_and_the_pool_stays_bounded() {
        let pool = ChunkPool::new(4096, 1);
        let mut first = pool.take(4096);
        first.extend_from_slice(b"line");
        let place = first.as_ptr();
        let (a, b) = (pool.seal(first), pool.seal(pool.take(4096)));
        assert_eq!(&a[..], b"line");
        drop(a);
        drop(b);
        assert_eq!(pool.inner.free.lock().unwrap().len(), 1);
        let again = pool.take(2000);
        assert_eq!((again.as_ptr(), again.len()), (place, 0));
    }

    #[test]
    fn odd_sizes_are_not_pooled() {
        let pool = ChunkPool::new(4096, 4);
        assert_eq!(pool.take(10).capacity(), 10);
        drop(pool.seal(pool.take(10_000)));
        assert!(pool.inner.free.lock().unwrap().is_empty());
    }
}
