//! The plugin: its configuration, and its clock.

use std::cell::RefCell;
use std::rc::Rc;

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{ContextType, LogLevel};

use crate::config::{ConfigError, Plugin};
use crate::host::Host;
use crate::http::Http;
use crate::session::{ContextId, Token};
use crate::worker::{NoRandomness, Worker};

/// The root context of one configuration.
#[derive(Debug)]
pub(crate) struct Root<H> {
    worker: Rc<Worker<H>>,
    context: ContextId,
    plugin: Option<Rc<Plugin>>,
}

/// Why a configuration is refused; the proxy then keeps the one it has.
#[derive(Debug, thiserror::Error)]
enum ConfigureError {
    #[error("configuration refused: {0}")]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
}

impl<H: Host> Root<H> {
    pub(crate) const fn new(worker: Rc<Worker<H>>, context: ContextId) -> Self {
        Self {
            worker,
            context,
            plugin: None,
        }
    }

    /// The context of a stream that begins.
    pub(crate) fn stream(&self, context: ContextId) -> Http<H> {
        Http {
            worker: Rc::clone(&self.worker),
            plugin: self.plugin.clone(),
            context,
            root: self.context,
            cors: RefCell::default(),
        }
    }

    fn configure(&mut self) -> Result<(), ConfigureError> {
        let host = &self.worker.host;
        let random = u128::from_ne_bytes(host.random().ok_or(NoRandomness)?);
        // The lower half is as random as the whole.
        let plugin = Plugin::parse(&host.plugin_configuration(), random as u64)?;
        self.worker.identify()?;
        for ignored in plugin.policy.ignored_keys() {
            host.log(LogLevel::Warn, &format!("key ignored: admission.{ignored}"));
        }
        host.set_tick_period(plugin.control_plane.cadence.timer());
        self.plugin = Some(plugin);
        Ok(())
    }
}

impl<H: Host> Context for Root<H> {
    fn on_grpc_call_response(&mut self, token: u32, status: u32, size: usize) {
        let failed = self.worker.on_call_answer(Token(token), status, size);
        if let (Some(plugin), Some(failed)) = (&self.plugin, failed) {
            plugin.failed(failed, self.worker.host.unix_now());
        }
    }
}

impl<H: Host + 'static> RootContext for Root<H> {
    fn on_configure(&mut self, _: usize) -> bool {
        match self.configure() {
            Ok(()) => true,
            Err(error) => {
                let message = error.to_string();
                self.worker.host.log(LogLevel::Critical, &message);
                false
            }
        }
    }

    fn on_tick(&mut self) {
        if let Some(plugin) = &self.plugin {
            self.worker.on_tick(self.context, &plugin.control_plane);
        }
    }

    fn create_http_context(&self, context: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(self.stream(ContextId(context))))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}
