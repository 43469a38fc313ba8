//! TailManager, TailActor and Journal together, on real files.

mod entries;
mod failing;
mod growing;
mod house;
mod rotating;
