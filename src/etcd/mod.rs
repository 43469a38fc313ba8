//! One way to talk to etcd. The problem: each of its clients (collection entries, credentials, entry texts, liveness)
//! meets the same troubles: a server that is away, a watch that was cancelled, compacted or silently lost, a token or a
//! lease that has run out. They are met here once: [`Session`] makes calls with deadlines, [`KeyWatch`] keeps a set of
//! keys in sight through all of it, [`LeasedKey`] keeps a key alive.

mod lease;
mod session;
mod txn;
mod watch;

pub use lease::LeasedKey;
pub use session::{EtcdError, Kv, ServerStatus, Session, Swap};
pub use txn::{Listing, TxnCheck, TxnWrite};
pub use watch::{Event, KeyRange, KeyWatch, Mirror};
