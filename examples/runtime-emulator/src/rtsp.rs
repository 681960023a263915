//! RTSP in WebSocket messages, as far as it can be known. CloudXR's use of it is not public, so a request
//! of any method is answered in the way that promises least.

/// The answer to a message that is an RTSP request with a `CSeq` (RFC 2326 §12.17); `None` for any other.
pub(crate) fn answer(text: &str) -> Option<String> {
    let mut lines = text.split("\r\n");
    let mut request = lines.next()?.split(' ');
    let (method, _uri, version) = (request.next()?, request.next()?, request.next()?);
    if version != "RTSP/1.0" || request.next().is_some() || !is_token(method) {
        return None;
    }
    let sequence: u64 = lines
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("cseq"))
        .and_then(|(_, value)| value.trim().parse().ok())?;
    let rest = match method {
        "OPTIONS" => "Public: OPTIONS, DESCRIBE\r\n\r\n".to_owned(),
        "DESCRIBE" => format!(
            "Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{DESCRIPTION}",
            DESCRIPTION.len()
        ),
        _ => "\r\n".to_owned(),
    };
    Some(format!("RTSP/1.0 200 OK\r\nCSeq: {sequence}\r\n{rest}"))
}

fn is_token(method: &str) -> bool {
    !method.is_empty()
        && method
            .bytes()
            .all(|byte| byte.is_ascii_uppercase() || byte == b'_')
}

/// A presentation without media.
const DESCRIPTION: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn requests_are_answered_by_their_sequence_number() {
        let cases = [
            (
                "OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n",
                "RTSP/1.0 200 OK\r\nCSeq: 1\r\nPublic: OPTIONS, DESCRIBE\r\n\r\n",
            ),
            (
                "OPTIONS * RTSP/1.0\r\nUser-Agent: x\r\ncseq:  2 \r\n",
                "RTSP/1.0 200 OK\r\nCSeq: 2\r\nPublic: OPTIONS, DESCRIBE\r\n\r\n",
            ),
            (
                "TEARDOWN rtsp://a/ RTSP/1.0\r\nCSeq: 3\r\n\r\n",
                "RTSP/1.0 200 OK\r\nCSeq: 3\r\n\r\n",
            ),
            (
                "GET_PARAMETER * RTSP/1.0\r\nCSeq: 4\r\n\r\n",
                "RTSP/1.0 200 OK\r\nCSeq: 4\r\n\r\n",
            ),
        ];
        for (request, expected) in cases {
            assert_eq!(answer(request).as_deref(), Some(expected), "{request:?}");
        }
        let described = answer("DESCRIBE rtsp://a/ RTSP/1.0\r\nCSeq: 5\r\n\r\n").unwrap();
        let (head, body) = described.split_once("\r\n\r\n").unwrap();
        assert!(
            head.contains(&format!("Content-Length: {}", body.len())),
            "{head}"
        );
    }

    #[test]
    fn anything_else_is_left_alone() {
        let cases = [
            "",
            "hello",
            "OPTIONS * RTSP/1.0\r\n\r\n",
            "OPTIONS * RTSP/1.0\r\nCSeq: one\r\n\r\n",
            "OPTIONS * RTSP/1.0\r\n\r\nCSeq: 1\r\n",
            "OPTIONS * HTTP/1.1\r\nCSeq: 1\r\n\r\n",
            "options * RTSP/1.0\r\nCSeq: 1\r\n\r\n",
            "OPTIONS  * RTSP/1.0\r\nCSeq: 1\r\n\r\n",
        ];
        for text in cases {
            assert_eq!(answer(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn every_sequence_number_comes_back(sequence: u64, text in ".*") {
            let answered = answer(&format!("PLAY {} RTSP/1.0\r\nCSeq: {sequence}\r\n\r\n{text}", "*"));
            prop_assert_eq!(answered, Some(format!("RTSP/1.0 200 OK\r\nCSeq: {sequence}\r\n\r\n")));
        }
    }
}
