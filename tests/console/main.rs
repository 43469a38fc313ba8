//! The console as people have it: its calls over HTTP, and its page in a real browser (Debian's chromium and
//! chromium-driver). Documents mostly come from memory, so that a test decides what there is and what fails; `standalone`
//! runs the whole program.

#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "the harness serves several test programs")]
mod support;

mod api;
mod axe;
mod browser;
mod collection;
mod fake;
mod fleet;
mod fuzz;
mod gate;
mod hostile;
mod house;
mod page;
mod people;
mod pictures;
mod real;
mod standalone;
mod states;
mod team;
mod topics;
