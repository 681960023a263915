//! The replies Envoy makes itself and those of the filter are of one kind.

use berth_admission::{Reason, refusal_body};
use envoy_types::pb::envoy::config::core::v3::{data_source, substitution_format_string};

use super::super::local_reply;

#[test]
fn envoys_own_replies_are_refusals_like_the_filters() {
    let mappers = local_reply::config().mappers;
    assert!(!mappers.is_empty());
    for mapper in mappers {
        let header = |name: &str| {
            let mut headers = mapper
                .headers_to_add
                .iter()
                .filter_map(|option| option.header.as_ref());
            headers
                .find(|header| header.key == name)
                .map(|header| header.value.as_str())
        };
        let reason = Reason::from_label(header("x-berth-reason").unwrap()).unwrap();
        assert_eq!(
            mapper.status_code.unwrap().value,
            u32::from(reason.status()),
            "{reason:?}"
        );

        let format = mapper
            .body_format_override
            .as_ref()
            .unwrap()
            .format
            .as_ref()
            .unwrap();
        let substitution_format_string::Format::TextFormatSource(source) = format else {
            panic!("{format:?}")
        };
        let Some(data_source::Specifier::InlineString(body)) = &source.specifier else {
            panic!("{source:?}")
        };
        assert!(
            !body.contains('%'),
            "Envoy would take it for a variable: {body}"
        );
        let retry_after = header("retry-after").map(|seconds| seconds.parse().unwrap());
        let parse = |body: &str| serde_json::from_str::<serde_json::Value>(body).unwrap();
        let (mut found, mut expected) = (parse(body), parse(&refusal_body(reason, retry_after)));
        if reason == Reason::BadRequest {
            // Envoy's is about the request as a whole, the filter's about a part of it.
            found["message"].take();
            expected["message"].take();
        }
        assert_eq!(found, expected);
    }
}
