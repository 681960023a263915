//! RDS: the two paths that signaling comes by, and a page for people.

use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::{
    DataSource, HeaderValue, HeaderValueOption, data_source, header_value_option,
};
use envoy_types::pb::envoy::config::route::v3::{
    DirectResponseAction, Route, RouteAction, RouteConfiguration, RouteMatch, VirtualHost, route,
    route_action, route_match,
};
use envoy_types::pb::envoy::r#type::matcher::v3::RegexMatcher;

use super::super::resource::Resource;
use super::{CLUSTER_HEADER, ENDPOINT_HEADER, REASON_HEADER, ROUTES, duration, encoded};

pub(super) fn routes(handshake_timeout: Duration) -> Resource {
    let message = RouteConfiguration {
        name: ROUTES.to_owned(),
        virtual_hosts: vec![VirtualHost {
            name: ROUTES.to_owned(),
            domains: vec!["*".to_owned()],
            routes: vec![
                route("berth/native", native_path(), handshake_timeout),
                route("berth/web", web_path(), handshake_timeout),
                landing(),
            ],
            ..VirtualHost::default()
        }],
        ..RouteConfiguration::default()
    };
    encoded(ROUTES, &message)
}

fn route(name: &str, path: route_match::PathSpecifier, handshake_timeout: Duration) -> Route {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    Route {
        name: name.to_owned(),
        r#match: Some(RouteMatch {
            path_specifier: Some(path),
            ..RouteMatch::default()
        }),
        // The instance learns nothing of how it was chosen, and cannot speak in our name.
        request_headers_to_remove: names(&[CLUSTER_HEADER, ENDPOINT_HEADER]),
        response_headers_to_remove: names(&[CLUSTER_HEADER, ENDPOINT_HEADER, REASON_HEADER]),
        action: Some(route::Action::Route(RouteAction {
            cluster_specifier: Some(route_action::ClusterSpecifier::ClusterHeader(
                CLUSTER_HEADER.to_owned(),
            )),
            cluster_not_found_response_code:
                route_action::ClusterNotFoundResponseCode::ServiceUnavailable as i32,
            // Bounds the wait for the 101, which disarms it.
            timeout: Some(duration(handshake_timeout)),
            // A session may be silent. One whose client is gone ends by the listener's TCP_USER_TIMEOUT.
            idle_timeout: Some(duration(Duration::ZERO)),
            ..RouteAction::default()
        })),
        ..Route::default()
    }
}

/// What a person sees who opens the gateway in a browser, to accept its certificate as a rule. Not named as Berth's, so the
/// filter lets it pass.
fn landing() -> Route {
    Route {
        name: "landing".to_owned(),
        r#match: Some(RouteMatch {
            path_specifier: Some(route_match::PathSpecifier::Path("/".to_owned())),
            ..RouteMatch::default()
        }),
        response_headers_to_add: vec![
            header("content-type", "text/html; charset=utf-8"),
            header("cache-control", "no-store"),
            header(
                "content-security-policy",
                "default-src 'none'; style-src 'unsafe-inline'",
            ),
        ],
        action: Some(route::Action::DirectResponse(DirectResponseAction {
            status: 200,
            body: Some(DataSource {
                specifier: Some(data_source::Specifier::InlineString(LANDING.to_owned())),
                ..DataSource::default()
            }),
            ..DirectResponseAction::default()
        })),
        ..Route::default()
    }
}

fn header(name: &str, value: &str) -> HeaderValueOption {
    HeaderValueOption {
        header: Some(HeaderValue {
            key: name.to_owned(),
            value: value.to_owned(),
            ..HeaderValue::default()
        }),
        append_action: header_value_option::HeaderAppendAction::OverwriteIfExistsOrAdd as i32,
        ..HeaderValueOption::default()
    }
}

fn native_path() -> route_match::PathSpecifier {
    route_match::PathSpecifier::Path("/rtsp".to_owned())
}

/// The first segment, if there is one, is a pool's name. Whether it is one is for the filter to say.
fn web_path() -> route_match::PathSpecifier {
    route_match::PathSpecifier::SafeRegex(RegexMatcher {
        regex: "^/([^/?]+/)?sign_in$".to_owned(),
        ..RegexMatcher::default()
    })
}

const LANDING: &str = include_str!("landing.html");
