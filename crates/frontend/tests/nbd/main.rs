//! The NBD server over its own wire: a client made for these tests, and the clients that users have.

mod client;
mod commands;
mod copying;
mod host;
mod hostile;
mod later;
mod listeners;
mod memory;
mod options;
mod stopping;
mod tools;
mod traffic;
