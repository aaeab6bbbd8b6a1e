//! An NBD client that batches, and what is run with it against a built `esker`: verified writers that see the
//! daemon killed, and requests counted.
#![forbid(unsafe_code)]

pub mod block;
pub mod client;
pub mod daemon;
pub mod seaweed;
pub mod torture;
