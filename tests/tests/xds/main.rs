//! The xDS server over real gRPC, as clients see it that were written by others.
#![cfg(test)]

mod client;
mod config;
mod conformance;
mod grpc;
mod hostile;
mod messages;
mod refused;
mod server;
