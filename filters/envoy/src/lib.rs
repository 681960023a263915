//! Berth's filter for Envoy: the thin edge between the proxy and admission.
//!
//! A request that took a route of Berth's is admitted or refused, and an admitted one is paused until the control plane
//! says which instance it has. What is decided, and of whom, is in `berth-admission` and in [`vm`], both pure; the rest
//! carries bytes between them, the proxy and the control plane.
//!
//! A panic traps, and a trap ends every live session of the worker: nothing here panics, whatever a client, an instance
//! or the control plane sends.

mod cause;
mod config;
#[cfg(test)]
mod fake;
mod hex;
mod host;
mod http;
mod root;
mod session;
mod signature;
mod stats;
#[cfg(test)]
mod tests;
mod vm;
mod wire;
mod worker;

use std::rc::Rc;

use proxy_wasm::types::LogLevel;

use host::Envoy;
use root::Root;
use session::ContextId;
use worker::Worker;

thread_local! {
    /// What the contexts of this VM share. A VM is entered by one thread at a time, the one that owns it.
    static WORKER: Rc<Worker<Envoy>> = Rc::new(Worker::new(Envoy::new()));
}

/// Private, since nothing but the proxy calls what the macro makes.
mod entry {
    use super::*;

    proxy_wasm::main! {{
        // Also sets the panic hook, which logs as critical.
        proxy_wasm::set_log_level(LogLevel::Info);
        proxy_wasm::set_root_context(|context| {
            Box::new(Root::new(WORKER.with(Rc::clone), ContextId(context)))
        });
    }}
}
