//! What carries and bounds data on its way from a source to a sink: the identity of an origin, pooled chunks of
//! bytes, memory credits, and how long to wait before an attempt is repeated. Plain types without actors; every other room may use them.

mod backoff;
mod chunk;
mod credit;
mod origin;

pub use backoff::{Backoff, Retries};
pub use chunk::{Chunk, ChunkPool};
pub use credit::{Credit, Credits};
pub use origin::{EntryId, FileId, FileOrigin, Origin, OriginId, ParseIdError, PartitionOrigin, PartitionRule};
