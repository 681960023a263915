use super::*;

#[test]
fn types_are_told_by_their_urls() {
    let mut numbers = ByType::from_fn(|resource_type| resource_type as usize);
    for (at, resource_type) in ResourceType::ALL.into_iter().enumerate() {
        assert_eq!(
            ResourceType::from_type_url(resource_type.type_url()),
            Ok(resource_type)
        );
        assert_eq!(*numbers.of(resource_type), at);
        *numbers.of_mut(resource_type) += 10;
        assert_eq!(*numbers.of(resource_type), at + 10);
    }
    let other = "type.googleapis.com/envoy.service.runtime.v3.Runtime";
    assert_eq!(
        ResourceType::from_type_url(other),
        Err(UnknownType(other.to_owned()))
    );
}

#[test]
fn versions_follow_content_and_survive_being_written() {
    let version = |body: &'static str| Resource::new("name", body.as_bytes()).version();
    assert_eq!(version("a"), version("a"));
    assert_ne!(version("a"), version("b"));
    // The head of SHA-256("abc"), FIPS 180-2 B.1.
    assert_eq!(version("abc").to_string(), "ba7816bf8f01cfea");
    assert_eq!(version("abc").to_string().parse(), Ok(version("abc")));
    for text in [
        "",
        "ba7816bf8f01cfe",
        "xa7816bf8f01cfea",
        "+a7816bf8f01cfea",
        "BA7816BF8F01CFEA",
        "ba7816bf8f01cfea0",
    ] {
        assert!(text.parse::<Version>().is_err(), "{text}");
    }
}

#[test]
fn a_body_is_not_printed() {
    let shown = format!("{:?}", Resource::new("name", "SECRET"));
    assert!(
        !shown.contains("SECRET") && !shown.contains("83, 69"),
        "{shown}"
    );
}
