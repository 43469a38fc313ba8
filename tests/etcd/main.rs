//! What is promised about etcd, tried on a real one: no change is missed, whatever happens to the server meanwhile.

mod collect;
mod conflict;
mod credentials;
mod entries;
mod fleet;
mod keys;
mod login;
mod panics;
mod server;
mod status;
mod store;
mod watcher;
