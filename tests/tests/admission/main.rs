//! Who is let in, and what becomes of what they brought: by the real filter in a real Envoy.
#![cfg(test)]

mod algorithms;
mod table;
