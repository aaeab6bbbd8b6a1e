//! The binary as users run it: daemons, commands, signals, and the clients that guests are.

mod bench;
mod commands;
mod config;
mod documents;
mod images;
mod log;
mod metrics;
mod objects;
mod reclaim;
mod serving;
mod space;
mod weather;
