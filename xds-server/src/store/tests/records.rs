use super::*;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn records_are_read_as_they_were_written() {
    for number in 0..200 {
        let lease = lease(1, number);
        let bytes = format::encode_lease(STAMP, &lease);
        assert_eq!(format::decode_lease(STAMP, name(1), &bytes).unwrap(), lease);
        let past = PastRecord::new(STAMP, &past(number));
        let bytes = format::encode_past(&past);
        assert_eq!(format::decode_past(&bytes).unwrap(), past);
        let revocation = revocation(number);
        let bytes = format::encode_revocation(STAMP, &revocation);
        let found = format::decode_revocation(STAMP, revocation.id, &bytes);
        assert_eq!(found.unwrap(), revocation);
    }
}

/// What earlier versions wrote is read for ever: these bytes do not change, nor do the labels in them.
#[test]
fn records_of_this_format_stay_as_they_are() {
    let labels = [
        Why::ALL.map(Why::label).as_slice(),
        CloseReason::ALL.map(CloseReason::label).as_slice(),
        EndCause::ALL.map(EndCause::label).as_slice(),
    ]
    .concat()
    .join(" ");
    assert_eq!(
        labels,
        "adopted least_recently_used packed resumed spread took_over \
         expired fenced resumed revoked taken_over terminated too_slow \
         berth client instance max_age not_established token_expired unlisted"
    );
    assert_eq!(hex(&format::encode_lease(STAMP, &lease(1, 10))), LEASE);
    let past = PastSession {
        end: End::Closed(CloseReason::Terminated),
        ..past(4)
    };
    let past = PastRecord::new(STAMP, &past);
    assert_eq!(hex(&format::encode_past(&past)), PAST);
    let revocation = revocation(4);
    let bytes = format::encode_revocation(STAMP, &revocation);
    assert_eq!(hex(&bytes), REVOCATION);
}

#[test]
fn times_survive_a_clock_that_was_set() {
    let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    let stamp = |now: u64, unix: u64| Stamp {
        now: Time(minutes(now)),
        unix: UnixMillis::default().after(minutes(unix)),
    };
    let written = stamp(1000, 5000);
    let lease = LeaseRecord {
        granted_at: Time(minutes(990)),
        state: RecordedState::Resumable {
            until: Time(minutes(1020)),
        },
        window_until: Some(Time(minutes(1003))),
        ..lease(1, 2)
    };
    let bytes = format::encode_lease(written, &lease);
    // When it is read, on both clocks; when it was granted, and how long the windows are then.
    let cases = [
        (stamp(2000, 5000), 1990, 20, 3),
        (stamp(2000, 5002), 1988, 18, 1),
        // Longer than the windows.
        (stamp(2000, 5021), 1969, 0, 0),
        // The clock was set back, by a little and by years.
        (stamp(2000, 4995), 1995, 20, 3),
        (stamp(2000, 10), 2000, 20, 3),
        // It was set forward.
        (stamp(2000, 900_000), 0, 0, 0),
    ];
    for (read, granted_at, resumable, window) in cases {
        let found = format::decode_lease(read, name(1), &bytes).unwrap();
        let after = |length| read.now.after(minutes(length));
        assert_eq!(found.granted_at, Time(minutes(granted_at)), "{read:?}");
        let until = after(resumable);
        assert_eq!(found.state, RecordedState::Resumable { until }, "{read:?}");
        assert_eq!(found.window_until, Some(after(window)), "{read:?}");
    }
}

const LEASE: &str = "0a040807100a122b0a0e68747470733a2f2f6973737565721207757365722d31301a0874656e616e742d312206\
    6b65792d31301a0a73657373696f6e2d31302207656e766f792d312a04766d2d32300a3a093139322e302e322e3740f08195ffbc314a0c\
    0a06737072656164100a200a5209726573756d61626c6560909e96ffbc3168b0ba97ffbc317080d095ffbc31";
const PAST: &str = "0a0973657373696f6e2d341206706f6f6c2d301a0a696e7374616e63652d342204080710042a290a0e68747470733a\
    2f2f6973737565721206757365722d341a0874656e616e742d3122056b65792d3432093139322e302e322e373a07656e766f792d31420c0a06\
    737072656164100420044880dc91ffbc3158e0b095ffbc316206636c6f7365646a0a7465726d696e61746564";
const REVOCATION: &str = "0a077375626a656374120e68747470733a2f2f6973737565721a066e616d652d3420e0b095ffbc312880c499ffbc31\
    3204787878783880d095ffbc31";
