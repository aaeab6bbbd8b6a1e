//! An NBD client that batches, and what is run with it against a built `esker`: verified writers that see the
//! daemon killed, and requests counted.
#![forbid(unsafe_code)]

pub mod azurite;
pub mod block;
pub mod client;
pub mod control;
pub mod daemon;
pub mod files;
pub mod fio;
pub mod histogram;
pub mod hits;
pub mod jobs;
pub mod load;
mod loopback;
pub mod perf;
pub mod process;
pub mod proxy;
pub mod raw;
pub mod report;
pub mod scenarios;
pub mod seaweed;
pub mod servers;
pub mod slices;
pub mod statistics;
pub mod torture;
pub mod units;
pub mod weather;
