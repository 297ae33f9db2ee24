//! Calls that others make here: connections, requests, answers, and the listener Python holds.

mod acceptor;
mod connection;
mod exchange;
mod handler;
pub mod listener;
mod request_reader;
mod upkeep;
mod watched;
mod worker;
