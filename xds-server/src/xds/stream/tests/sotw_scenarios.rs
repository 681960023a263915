//! Whole exchanges with a client that names all it wants in each request.
//!
//! As in `scenarios`, but that a request reads `TYPE`, then the names, `@name=content` for each resource of the state that
//! the client says it has, and `ack`, `ack#N` or `nack TEXT`. Without one of these it has no nonce.

pub(super) const SCENARIOS: &[(&str, &str)] = &[
    (
        "everything, by never naming anything",
        "world CDS a=1 b=1
         > CDS
         < CDS a=1 b=1
         > CDS ack
         ! acked CDS a=1 b=1",
    ),
    (
        "everything, by its name",
        "world CDS a=1
         > CDS *
         < CDS a=1
         > CDS * ack
         ! acked CDS a=1",
    ),
    (
        "everything, and there is nothing: Envoy waits to hear that",
        "world
         > CDS
         < CDS
         > CDS ack
         world CDS a=1
         < CDS a=1",
    ),
    (
        "nothing is said before it is known what there is",
        "> CDS
         world CDS x=1
         < CDS x=1",
    ),
    (
        "all clusters are told when one changes, and what is news is acknowledged",
        "world CDS a=1 b=1
         > CDS
         < CDS a=1 b=1
         > CDS ack
         ! acked CDS a=1 b=1
         world CDS a=2 b=1
         < CDS a=2 b=1
         > CDS ack
         ! acked CDS a=2",
    ),
    (
        "of the other types what changed is told",
        "world CDS a=1 b=1, EDS a=1 b=1
         > EDS a b
         < EDS a=1 b=1
         > EDS a b ack
         ! acked EDS a=1 b=1
         world CDS a=1 b=1, EDS a=2 b=1
         < EDS a=2
         > EDS a b ack
         ! acked EDS a=2",
    ),
    (
        "names one after the other",
        "world CDS a=1 b=1 c=1
         > CDS a
         < CDS a=1
         > CDS a ack
         ! acked CDS a=1
         > CDS a b ack
         < CDS a=1 b=1
         > CDS a b ack
         ! acked CDS b=1
         > CDS b ack
         world CDS a=2 b=1 c=2
         world CDS a=2 b=2 c=2
         < CDS b=2",
    ),
    (
        "names taken away and taken up again are told anew",
        "world SDS a=1 b=1
         > SDS a b
         < SDS a=1 b=1
         > SDS a b ack
         ! acked SDS a=1 b=1
         > SDS b ack
         > SDS a b ack
         < SDS a=1
         > SDS a b ack
         ! acked SDS a=1",
    ),
    (
        "no names after some are nothing",
        "world CDS a=1 b=1
         > CDS a
         < CDS a=1
         > CDS a ack
         ! acked CDS a=1
         > CDS ack
         world CDS a=2 b=2",
    ),
    (
        "a request that has not seen the last response changes nothing",
        "world CDS a=1 b=1
         > CDS a
         < CDS a=1
         > CDS a ack
         ! acked CDS a=1
         world CDS a=2 b=1
         < CDS a=2
         > CDS a b ack#1
         > CDS a b ack
         ! acked CDS a=2
         < CDS a=2 b=1",
    ),
    (
        "the nonce of another stream counts in the first request",
        "world CDS a=1
         > CDS ack#77
         < CDS a=1",
    ),
    (
        "a cluster that does not exist is told by a list without it",
        "world CDS a=1
         > CDS x
         < CDS
         > CDS x ack
         world CDS a=2
         world CDS a=2 x=1
         < CDS x=1",
    ),
    (
        "other resources that do not exist are told when they do",
        "world SDS a=1
         > SDS x
         world SDS a=2
         world SDS a=2 x=1
         < SDS x=1
         > SDS x ack
         ! acked SDS x=1
         world SDS a=2
         world SDS a=2 x=1
         < SDS x=1",
    ),
    (
        "a cluster is added before another is taken away, when its endpoints are there",
        "world CDS a=1, EDS a=1
         > CDS
         < CDS a=1
         > EDS a
         < EDS a=1
         > CDS ack
         ! acked CDS a=1
         > EDS a ack
         ! acked EDS a=1
         world CDS b=1, EDS b=1
         < CDS a=1 b=1
         > EDS a b ack
         < EDS b=1
         > EDS a b ack
         ! acked EDS b=1
         > CDS ack
         ! acked CDS b=1
         < CDS b=1
         > CDS ack
         ! acked CDS -a",
    ),
    (
        "a cluster that changed has its endpoints told again, and no other",
        "world CDS a=1 b=1, EDS a=1 b=1
         > CDS
         < CDS a=1 b=1
         > CDS ack
         ! acked CDS a=1 b=1
         > EDS a b
         < EDS a=1 b=1
         > EDS a b ack
         ! acked EDS a=1 b=1
         world CDS a=2 b=1, EDS a=1 b=1
         < CDS a=2 b=1
         < EDS a=1
         > EDS a b ack#2
         > CDS ack
         ! acked CDS a=2
         > EDS a b ack
         ! acked EDS a=1",
    ),
    (
        "what the client has already is not sent again",
        "world CDS a=1 b=1, EDS a=1 b=1
         > CDS @a=1 @b=1
         ! acked CDS a=1 b=1
         world CDS a=1 b=2, EDS a=1 b=1
         < CDS a=1 b=2",
    ),
    (
        "what it names is sent again, for it may have dropped it",
        "world CDS a=1 b=1, EDS a=1 b=1
         > EDS a b @a=1 @b=1
         < EDS a=1 b=1",
    ),
    (
        "what it had and is no more is told when it has refused the rest",
        "world CDS a=bad
         > CDS @a=1
         < CDS a=bad
         world
         > CDS nack no
         ! refused CDS a: no
         < CDS
         > CDS ack",
    ),
    (
        "what it had is compared when it is known what there is",
        "> CDS @a=1
         world CDS a=1
         ! acked CDS a=1",
    ),
    (
        "another state is replaced",
        "world CDS a=1 b=1
         > CDS @a=1
         < CDS a=1 b=1
         > CDS ack
         ! acked CDS a=1 b=1",
    ),
    (
        "a refused cluster is sent as it was, until there is another",
        "world CDS a=1 b=1
         > CDS
         < CDS a=1 b=1
         > CDS ack
         ! acked CDS a=1 b=1
         world CDS a=2 b=2
         < CDS a=2 b=2
         > CDS nack Error adding/updating cluster(s) a: no
         ! refused CDS a: Error adding/updating cluster(s) a: no
         < CDS a=1 b=2
         > CDS ack
         ! acked CDS b=2
         world CDS a=3 b=2
         < CDS a=3 b=2
         > CDS ack
         ! acked CDS a=3
         world CDS a=2 b=2",
    ),
    (
        "a cluster that was taken and is refused later is not sent again",
        "world CDS a=1 b=1
         > CDS
         < CDS a=1 b=1
         > CDS ack
         ! acked CDS a=1 b=1
         world CDS a=1 b=2
         < CDS a=1 b=2
         > CDS nack Error adding/updating cluster(s) a: no
         ! refused CDS a: Error adding/updating cluster(s) a: no
         < CDS b=2
         > CDS ack
         ! acked CDS b=2
         world CDS a=2 b=2
         < CDS a=2 b=2",
    ),
    (
        "a refused cluster is found by halves where nobody is blamed",
        "world CDS a=1 b=1
         > CDS
         < CDS a=1 b=1
         > CDS nack no
         < CDS a=1
         > CDS nack no
         ! refused CDS a: no
         < CDS b=1
         > CDS ack
         ! acked CDS b=1",
    ),
    (
        "a client that came with something else loses nothing by a refusal",
        "world CDS a=2 b=2
         > CDS @a=1 @c=1
         < CDS a=2 b=2
         > CDS nack Error adding/updating cluster(s) a: no
         ! refused CDS a: Error adding/updating cluster(s) a: no
         world CDS a=2 b=3
         world CDS a=3 b=3
         < CDS a=3 b=3
         > CDS ack
         ! acked CDS a=3 b=3",
    ),
    (
        "refused endpoints stay as they are, and those beside them are sent again",
        "world CDS a=1 b=1 c=1, EDS a=1 b=1 c=1
         > EDS a b c
         < EDS a=1 b=1 c=1
         > EDS a b c nack malformed
         < EDS a=1
         > EDS a b c ack
         ! acked EDS a=1
         < EDS b=1 c=1
         > EDS a b c nack malformed
         < EDS b=1
         > EDS a b c nack malformed
         ! refused EDS b: malformed
         < EDS c=1
         > EDS a b c ack
         ! acked EDS c=1",
    ),
    (
        "a refused list without news is not sent again",
        "world
         > CDS
         < CDS
         > CDS nack no
         world CDS a=1
         < CDS a=1",
    ),
    (
        "the types come in order",
        "> CDS
         > LDS
         > EDS a
         > RDS r
         > ECDS e
         > SDS s
         world LDS l=1, RDS r=1, ECDS e=1, SDS s=1, CDS a=1, EDS a=1
         < CDS a=1
         < EDS a=1
         < LDS l=1
         < RDS r=1
         < SDS s=1
         < ECDS e=1",
    ),
];
