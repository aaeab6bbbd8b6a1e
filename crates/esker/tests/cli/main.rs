//! The binary as users run it: daemons, commands, signals, and the clients that guests are.

mod bench;
mod commands;
mod config;
mod diff;
mod documents;
mod history;
mod images;
mod log;
mod metrics;
mod objects;
mod odd;
mod reclaim;
mod serving;
mod settings;
mod snapshots;
mod space;
mod weather;
