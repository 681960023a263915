//! RDS: the two paths that signaling comes by.

use std::time::Duration;

use envoy_types::pb::envoy::config::route::v3::{
    Route, RouteAction, RouteConfiguration, RouteMatch, VirtualHost, route, route_action,
    route_match,
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
