//! ECDS: the admission filter.

use std::collections::BTreeMap;
use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::{
    AsyncDataSource, BackoffStrategy, DataSource, TypedExtensionConfig, async_data_source,
    data_source,
};
use envoy_types::pb::envoy::extensions::filters::http::wasm::v3::Wasm;
use envoy_types::pb::envoy::extensions::wasm::v3::{
    FailurePolicy, PluginConfig, ReloadConfig, SanitizationConfig, VmConfig, plugin_config,
};
use envoy_types::pb::google::protobuf::StringValue;
use envoy_types::util::pack_any;
use prost::Message;

use super::super::gateway::{FilterSpec, InvalidGateway, Module};
use super::super::resource::Resource;
use super::{EXTENSION, duration, encoded};

/// The type of the filter, as a listener has to name it.
pub(super) fn type_url() -> String {
    <Wasm as prost::Name>::type_url()
}

pub(super) fn extension(spec: &FilterSpec) -> Result<Resource, InvalidGateway> {
    let module = code(&spec.module)?;
    let mut wasm = pack_any(Wasm {
        config: Some(PluginConfig {
            name: EXTENSION.to_owned(),
            vm: Some(plugin_config::Vm::VmConfig(VmConfig {
                vm_id: spec.vm_id.clone(),
                runtime: "envoy.wasm.runtime.v8".to_owned(),
                code: Some(AsyncDataSource {
                    specifier: Some(async_data_source::Specifier::Local(DataSource {
                        specifier: Some(module),
                        ..DataSource::default()
                    })),
                }),
                ..VmConfig::default()
            })),
            configuration: Some(pack_any(StringValue {
                value: spec.configuration_json.clone(),
            })),
            // A trapped VM is replaced, and until then nobody is let in.
            failure_policy: FailurePolicy::FailReload as i32,
            reload_config: Some(ReloadConfig {
                backoff: Some(BackoffStrategy {
                    base_interval: Some(duration(Duration::from_millis(100))),
                    max_interval: None,
                }),
            }),
            ..PluginConfig::default()
        }),
    });
    wasm.value
        .extend(Capabilities::of(CAPABILITIES).encode_to_vec());
    Ok(encoded(
        EXTENSION,
        &TypedExtensionConfig {
            name: EXTENSION.to_owned(),
            typed_config: Some(wasm),
        },
    ))
}

/// Envoy has one VM for each module, id and configuration of a VM, so that another module is another VM beside the one that
/// live sessions began in.
fn code(module: &Module) -> Result<data_source::Specifier, InvalidGateway> {
    match module {
        Module::File(path) => {
            let text = path.to_str().map(str::to_owned);
            let unspeakable = || InvalidGateway::ModulePathNotUtf8(path.clone());
            text.map(data_source::Specifier::Filename)
                .ok_or_else(unspeakable)
        }
        Module::Inline(content) => Ok(data_source::Specifier::InlineBytes(content.to_vec())),
    }
}

/// `Wasm.config.vm_config.capability_restriction_config.allowed_capabilities`, and nothing else of `Wasm`: a
/// protobuf message that comes in two parts is the two merged. Apart, because this map has to be in order.
#[derive(Clone, PartialEq, prost::Message)]
struct Capabilities {
    #[prost(message, optional, tag = "1")]
    config: Option<CapabilitiesOfPlugin>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct CapabilitiesOfPlugin {
    #[prost(message, optional, tag = "3")]
    vm_config: Option<CapabilitiesOfVm>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct CapabilitiesOfVm {
    #[prost(message, optional, tag = "8")]
    capability_restriction_config: Option<CapabilityRestriction>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct CapabilityRestriction {
    #[prost(btree_map = "string, message", tag = "1")]
    allowed_capabilities: BTreeMap<String, SanitizationConfig>,
}

impl Capabilities {
    fn of(names: &str) -> Self {
        let allowed_capabilities = names
            .lines()
            .map(|name| (name.to_owned(), SanitizationConfig::default()))
            .collect();
        let restriction = CapabilityRestriction {
            allowed_capabilities,
        };
        let vm_config = CapabilitiesOfVm {
            capability_restriction_config: Some(restriction),
        };
        Self {
            config: Some(CapabilitiesOfPlugin {
                vm_config: Some(vm_config),
            }),
        }
    }
}

/// What the module may call and be called for, as its own folder lists it. The body callbacks are left
/// out, so that relayed bytes do not enter the VM. A call that is not listed traps.
pub(in crate::xds) const CAPABILITIES: &str =
    include_str!("../../../../filters/envoy/capabilities.txt");
