//! What all formats have in common: golden bytes, round trips, and bytes that somebody spoilt.

mod golden;
mod hostile;
mod round_trip;
mod rules;
pub(crate) mod samples;
mod text;
