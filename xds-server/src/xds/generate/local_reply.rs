//! The replies Envoy makes itself, in the form the filter gives its own.

use envoy_types::pb::envoy::config::accesslog::v3::{
    AccessLogFilter, ExtensionFilter, access_log_filter, extension_filter,
};
use envoy_types::pb::envoy::config::core::v3::{
    DataSource, HeaderValue, HeaderValueOption, SubstitutionFormatString, data_source,
    header_value_option, substitution_format_string,
};
use envoy_types::pb::envoy::extensions::access_loggers::filters::cel::v3::ExpressionFilter;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::{
    LocalReplyConfig, ResponseMapper,
};
use envoy_types::pb::google::protobuf::UInt32Value;
use envoy_types::util::pack_any;

use super::REASON_HEADER;

/// A reply that has a reason is the filter's and stays as it is; any other gets the reason, and the status that
/// goes with it, of the first line that fits.
pub(super) fn config() -> LocalReplyConfig {
    LocalReplyConfig {
        mappers: REPLIES.iter().map(mapper).collect(),
        body_format: None,
    }
}

struct Reply {
    /// On Envoy's reply, in CEL.
    condition: &'static str,
    reason: &'static str,
    status: u32,
    message: &'static str,
    retry_after_seconds: Option<u32>,
}

fn mapper(reply: &Reply) -> ResponseMapper {
    let Reply {
        condition,
        reason,
        status,
        message,
        retry_after_seconds,
    } = reply;
    let expression = format!("!('{REASON_HEADER}' in response.headers) && {condition}");
    let wait = retry_after_seconds
        .map(|seconds| format!(r#","retry_after_seconds":{seconds}"#))
        .unwrap_or_default();
    let body = format!(
        r#"{{"verdict":"refused","reason":"{reason}","status":{status},"message":"{message}"{wait}}}"#
    );
    let retry_after = retry_after_seconds.map(|seconds| header("retry-after", seconds.to_string()));
    ResponseMapper {
        filter: Some(AccessLogFilter {
            filter_specifier: Some(access_log_filter::FilterSpecifier::ExtensionFilter(
                ExtensionFilter {
                    name: "envoy.access_loggers.extension_filters.cel".to_owned(),
                    config_type: Some(extension_filter::ConfigType::TypedConfig(pack_any(
                        ExpressionFilter {
                            expression,
                            cel_config: None,
                        },
                    ))),
                },
            )),
        }),
        status_code: Some(UInt32Value { value: *status }),
        body: None,
        body_format_override: Some(SubstitutionFormatString {
            content_type: "application/json".to_owned(),
            format: Some(substitution_format_string::Format::TextFormatSource(
                DataSource {
                    specifier: Some(data_source::Specifier::InlineString(body)),
                    ..DataSource::default()
                },
            )),
            ..SubstitutionFormatString::default()
        }),
        headers_to_add: [header(REASON_HEADER, (*reason).to_owned())]
            .into_iter()
            .chain(retry_after)
            .collect(),
    }
}

fn header(key: &str, value: String) -> HeaderValueOption {
    HeaderValueOption {
        header: Some(HeaderValue {
            key: key.to_owned(),
            value,
            ..HeaderValue::default()
        }),
        append_action: header_value_option::HeaderAppendAction::OverwriteIfExistsOrAdd as i32,
        ..HeaderValueOption::default()
    }
}

const REPLIES: &[Reply] = &[
    // The filter trapped. Its VM is started anew; to the client it is a fault like any other of ours.
    Reply {
        condition: "response.code_details == 'wasm_fail_stream'",
        reason: "internal",
        status: 500,
        message: "The proxy failed to handle the request.",
        retry_after_seconds: None,
    },
    Reply {
        condition: "response.code == 404",
        reason: "not_found",
        status: 404,
        message: "No signaling is served at this path.",
        retry_after_seconds: None,
    },
    Reply {
        condition: "response.code == 408",
        reason: "request_timeout",
        status: 408,
        message: "The request was not finished in time.",
        retry_after_seconds: None,
    },
    Reply {
        condition: "response.code == 431",
        reason: "headers_too_large",
        status: 431,
        message: "The request's headers are too large.",
        retry_after_seconds: None,
    },
    // The instance refused the connection, closed it, or is not one that Envoy knows or deems healthy.
    Reply {
        condition: "response.code == 503",
        reason: "instance_unreachable",
        status: 503,
        message: "The instance could not be reached.",
        retry_after_seconds: Some(1),
    },
    Reply {
        condition: "response.code == 504",
        reason: "instance_timeout",
        status: 504,
        message: "The instance did not answer in time.",
        retry_after_seconds: None,
    },
    // The filter's configuration has not come, among others.
    Reply {
        condition: "response.code >= 500",
        reason: "internal",
        status: 500,
        message: "The proxy failed to handle the request.",
        retry_after_seconds: None,
    },
    // HTTP/1.0, no Host, an upgrade to something else, what is not HTTP at all.
    Reply {
        condition: "response.code >= 400",
        reason: "bad_request",
        status: 400,
        message: "The request cannot be understood.",
        retry_after_seconds: None,
    },
];
