//! Whole exchanges, written down line by line.
//!
//! `world` is what there is now, `>` a request, `<` a response, `!` an event. Whatever is sent or told must be
//! written: a stream that says more than necessary fails. A request reads `TYPE`, then any of `+name`, `-name`,
//! `@name=content` (what the client says it has), `ack` or `nack TEXT` of the last response of that type, and
//! `ack#N` of response N.

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
         > CDS +*
         < CDS a=1
         > CDS ack
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
        "a claim is not believed while another version is under way",
        "world CDS a=2
         > CDS @a=1
         < CDS a=2
         world CDS a=1
         > CDS ack
         ! acked CDS a=2
         < CDS a=1
         > CDS ack
         ! acked CDS a=1",
    ),
    (
        "a claim stands when the other version was refused",
        "world CDS a=2
         > CDS @a=1
         < CDS a=2
         world CDS a=1
         > CDS nack no
         ! refused CDS a: no
         ! acked CDS a=1",
    ),
    (
        "nothing is said before it is known what there is",
        "> CDS
         > CDS +x
         world CDS x=1
         < CDS x=1",
    ),
    (
        "a resource that everything includes later",
        "world CDS a=1
         > CDS
         < CDS a=1
         > CDS ack
         ! acked CDS a=1
         world CDS a=1 b=1
         < CDS b=1",
    ),
    (
        "resources named one after the other",
        "world CDS a=1 b=1 c=1
         > CDS +a
         < CDS a=1
         > CDS ack +b
         ! acked CDS a=1
         < CDS b=1
         > CDS ack
         ! acked CDS b=1",
    ),
    (
        "only what changed is sent",
        "world CDS a=1 b=1
         > CDS +a +b
         < CDS a=1 b=1
         > CDS ack
         ! acked CDS a=1 b=1
         world CDS a=2 b=1
         < CDS a=2
         > CDS ack
         ! acked CDS a=2",
    ),
    (
        "what is not asked for is not sent",
        "world CDS a=1 b=1
         > CDS +a
         < CDS a=1
         > CDS ack
         ! acked CDS a=1
         world CDS a=1 b=2",
    ),
    (
        "a resource that does not exist, and then does",
        "world CDS a=1
         > CDS +x
         < CDS -x
         > CDS ack
         ! acked CDS -x
         world CDS a=2
         world CDS a=2 x=1
         < CDS x=1",
    ),
    (
        "a resource that is removed, and comes back",
        "world CDS a=1 b=1
         > CDS +a +b
         < CDS a=1 b=1
         > CDS ack
         ! acked CDS a=1 b=1
         world CDS a=1
         < CDS -b
         > CDS ack
         ! acked CDS -b
         world CDS a=1 b=1
         < CDS b=1",
    ),
    (
        "a resource that everything no longer includes",
        "world CDS a=1 b=1
         > CDS
         < CDS a=1 b=1
         > CDS ack
         ! acked CDS a=1 b=1
         world CDS a=1
         < CDS -b
         > CDS ack
         ! acked CDS -b
         world CDS a=1",
    ),
    (
        "names are dropped one by one",
        "world CDS a=1 b=1
         > CDS +a +b
         < CDS a=1 b=1
         > CDS ack
         ! acked CDS a=1 b=1
         > CDS -a
         world CDS a=2 b=1
         > CDS -b
         world CDS a=3 b=3",
    ),
    (
        "a name that is dropped and taken up again is answered for",
        "world CDS a=1
         > CDS +a
         < CDS a=1
         > CDS ack
         ! acked CDS a=1
         > CDS -a
         > CDS +a
         < CDS a=1",
    ),
    (
        "a name that is named again is answered for",
        "world CDS a=1
         > CDS +a +x
         < CDS a=1 -x
         > CDS ack
         ! acked CDS a=1 -x
         > CDS +a +x
         < CDS a=1 -x",
    ),
    (
        "a name that is dropped while it is on its way",
        "world CDS a=1 b=1
         > CDS +a +b
         < CDS a=1 b=1
         > CDS -a
         > CDS ack
         ! acked CDS b=1
         > CDS +a
         < CDS a=1",
    ),
    (
        "a name that is dropped and taken up again while it is on its way",
        "world CDS a=1
         > CDS +a
         < CDS a=1
         > CDS -a
         > CDS +a
         > CDS ack
         < CDS a=1",
    ),
    (
        "a name that is named again while it is on its way",
        "world CDS a=1
         > CDS +a
         < CDS a=1
         > CDS +a
         > CDS ack
         < CDS a=1
         > CDS ack
         ! acked CDS a=1",
    ),
    (
        "a name that everything includes is dropped, and what replaced it is refused",
        "world CDS a=1
         > CDS +*
         < CDS a=1
         > CDS ack
         ! acked CDS a=1
         world CDS a=1 b=1
         < CDS b=1
         > CDS -a
         world CDS a=2 b=1
         > CDS ack
         ! acked CDS b=1
         < CDS a=2
         > CDS nack no good
         ! refused CDS a: no good
         world CDS a=1 b=1
         < CDS a=1",
    ),
    (
        "a name that everything includes is dropped: it is answered for",
        "world CDS a=1 b=1
         > CDS +* +a +x
         < CDS a=1 b=1 -x
         > CDS ack
         ! acked CDS a=1 b=1 -x
         > CDS -a -x
         < CDS a=1 -x
         > CDS ack
         ! acked CDS a=1 -x",
    ),
    (
        "the first name ends the implied everything",
        "world CDS a=1 b=1
         > CDS
         < CDS a=1 b=1
         > CDS ack
         ! acked CDS a=1 b=1
         > CDS +a
         < CDS a=1
         > CDS ack
         ! acked CDS a=1
         world CDS a=1 b=2
         > CDS -a
         world CDS a=2 b=2",
    ),
    (
        "everything, while a part of it is on its way",
        "world CDS a=1
         > CDS +a
         < CDS a=1
         > CDS +*
         > CDS ack
         ! acked CDS a=1",
    ),
    (
        "everything, and then nothing",
        "world CDS a=1
         > CDS +*
         < CDS a=1
         > CDS ack
         ! acked CDS a=1
         > CDS -*
         world CDS a=2",
    ),
    (
        "several types on one stream",
        "world CDS a=1, EDS a=1, LDS l=1, RDS r=1
         > CDS
         < CDS a=1
         > EDS +a
         < EDS a=1
         > EDS ack
         ! acked EDS a=1
         > CDS ack
         ! acked CDS a=1
         > LDS
         < LDS l=1
         > RDS +r
         < RDS r=1
         > RDS ack
         ! acked RDS r=1
         > LDS ack
         ! acked LDS l=1",
    ),
    (
        "what changes before an answer waits for it, and only the latest is sent",
        "world CDS a=1
         > CDS
         < CDS a=1
         world CDS a=2
         world CDS a=3
         > CDS ack
         ! acked CDS a=1
         < CDS a=3",
    ),
    (
        "an answer to another response than the last is not heard",
        "world CDS a=1
         > CDS
         < CDS a=1
         > CDS ack
         ! acked CDS a=1
         world CDS a=2
         < CDS a=2
         > CDS ack#1
         > CDS ack#7
         > CDS ack
         ! acked CDS a=2
         > CDS ack",
    ),
    (
        "a subscription that comes with an outdated answer is heard",
        "world CDS a=1 b=1, EDS a=1 b=1
         > EDS +a
         < EDS a=1
         > EDS ack#9 +b
         > EDS ack
         ! acked EDS a=1
         < EDS b=1",
    ),
    (
        "new things in order, then gone things in reverse once the new are taken",
        "world CDS a=1, EDS a=1, LDS l=1, RDS r=1, SDS s=1, ECDS e=1
         > ECDS +e
         < ECDS e=1
         > SDS +s
         < SDS s=1
         > RDS +r
         < RDS r=1
         > LDS
         < LDS l=1
         > EDS +a
         < EDS a=1
         > CDS
         < CDS a=1
         > ECDS ack
         ! acked ECDS e=1
         > SDS ack
         ! acked SDS s=1
         > RDS ack +q
         ! acked RDS r=1
         < RDS -q
         > RDS ack
         ! acked RDS -q
         > LDS ack
         ! acked LDS l=1
         > EDS ack +b
         ! acked EDS a=1
         < EDS a=1 -b
         > EDS ack
         ! acked EDS a=1 -b
         > CDS ack
         ! acked CDS a=1
         world CDS b=1, EDS b=1, LDS k=1, RDS q=1, SDS s=2, ECDS e=2
         < CDS b=1
         < EDS b=1
         < LDS k=1
         < RDS q=1
         < SDS s=2
         < ECDS e=2
         > CDS ack
         ! acked CDS b=1
         > EDS ack
         ! acked EDS b=1
         > LDS ack
         ! acked LDS k=1
         > RDS ack
         ! acked RDS q=1
         > SDS ack
         ! acked SDS s=2
         > ECDS ack
         ! acked ECDS e=2
         < RDS -r
         < LDS -l
         < EDS -a
         < CDS -a",
    ),
    (
        "after a cluster, its endpoints, even if they are the same",
        "world CDS a=1 b=1, EDS a=1 b=1
         > CDS
         < CDS a=1 b=1
         > EDS +a +b
         < EDS a=1 b=1
         > EDS ack
         ! acked EDS a=1 b=1
         > CDS ack
         ! acked CDS a=1 b=1
         world CDS a=2 b=1, EDS a=1 b=1
         < CDS a=2
         < EDS a=1
         > EDS ack
         ! acked EDS a=1
         > CDS ack
         ! acked CDS a=2",
    ),
    (
        "endpoints that are owed while others are on their way come after",
        "world CDS a=1, EDS a=1
         > CDS
         < CDS a=1
         > EDS +a
         < EDS a=1
         > CDS ack
         ! acked CDS a=1
         world CDS a=2, EDS a=1
         < CDS a=2
         > EDS ack
         ! acked EDS a=1
         < EDS a=1",
    ),
    (
        "a change of endpoints is a change of endpoints",
        "world CDS a=1, EDS a=1
         > CDS
         < CDS a=1
         > EDS +a
         < EDS a=1
         > EDS ack
         ! acked EDS a=1
         > CDS ack
         ! acked CDS a=1
         world CDS a=1, EDS a=2
         < EDS a=2",
    ),
    (
        "a client that comes back hears only what is new to it",
        "world CDS a=1 b=2 d=1
         > CDS @a=1 @b=1 @c=1 @d=?
         ! acked CDS a=1
         < CDS b=2 d=1
         > CDS ack
         ! acked CDS b=2 d=1
         < CDS -c
         > CDS ack
         ! acked CDS -c",
    ),
    (
        "a client that comes back and names what it has",
        "world CDS a=1 b=2 c=1, EDS a=1 b=2 c=1
         > EDS +a +b +c +x @a=1 @b=1
         ! acked EDS a=1
         < EDS b=2 c=1 -x",
    ),
    (
        "a client that comes back and has everything is not disturbed",
        "world CDS a=1, EDS a=1
         > CDS @a=1
         ! acked CDS a=1
         > EDS +a @a=1
         ! acked EDS a=1",
    ),
    (
        "endpoints that a returning client has are told after a cluster that is new to it",
        "world CDS a=2 b=1, EDS a=1 b=1
         > CDS @a=1 @b=1
         ! acked CDS b=1
         < CDS a=2
         > EDS +a +b @a=1 @b=1
         ! acked EDS a=1 b=1
         < EDS a=1",
    ),
    (
        "a client that comes back before it is known what there is",
        "> CDS @a=1 @b=1
         world CDS a=1 b=2
         ! acked CDS a=1
         < CDS b=2",
    ),
    (
        "what a client says it has counts on its first request only",
        "world CDS a=1
         > CDS
         < CDS a=1
         > CDS @a=2 ack
         ! acked CDS a=1",
    ),
    (
        "a refused version is not sent again, the next one is",
        "world CDS a=1
         > CDS
         < CDS a=1
         > CDS nack no good
         ! refused CDS a: no good
         > CDS +a
         world CDS a=2
         < CDS a=2
         > CDS ack
         ! acked CDS a=2
         world CDS a=1
         world CDS a=3
         < CDS a=3",
    ),
    (
        "the client's words tell the bad from the good, which are sent again",
        "world CDS a=1 b=1 c=1
         > CDS
         < CDS a=1 b=1 c=1
         > CDS nack Error adding/updating cluster(s) b: malformed
         ! refused CDS b: Error adding/updating cluster(s) b: malformed
         < CDS a=1 c=1
         > CDS ack
         ! acked CDS a=1 c=1",
    ),
    (
        "without such words, halves do",
        "world CDS a=1 b=1 c=1 d=1
         > CDS
         < CDS a=1 b=1 c=1 d=1
         > CDS nack bad
         < CDS a=1 b=1
         > CDS ack
         ! acked CDS a=1 b=1
         < CDS c=1 d=1
         > CDS nack bad
         < CDS c=1
         > CDS nack bad
         ! refused CDS c: bad
         < CDS d=1
         > CDS ack
         ! acked CDS d=1",
    ),
    (
        "what changes while a fault is looked for is sent as it is now",
        "world CDS a=1 b=1
         > CDS
         < CDS a=1 b=1
         > CDS nack bad
         < CDS a=1
         world CDS a=2 b=2
         > CDS nack bad
         ! refused CDS a: bad
         < CDS a=2 b=2",
    ),
    (
        "what was refused and is of no more interest is not spoken of",
        "world CDS a=1 b=1
         > CDS +a +b
         < CDS a=1 b=1
         > CDS -b
         world CDS a=1
         > CDS nack bad
         < CDS a=1
         > CDS nack bad
         ! refused CDS a: bad",
    ),
    (
        "what does not exist is said again after a refusal",
        "world CDS a=1 b=1
         > CDS +x
         < CDS -x
         > CDS ack
         ! acked CDS -x
         > CDS +a +x
         < CDS a=1 -x
         > CDS nack bad
         ! refused CDS a: bad
         < CDS -x
         > CDS ack
         ! acked CDS -x",
    ),
    (
        "what everything does not include is said again after a refusal",
        "world CDS a=1
         > CDS +*
         < CDS a=1
         > CDS -x
         world CDS a=2
         > CDS ack
         ! acked CDS a=1
         < CDS a=2 -x
         > CDS nack bad
         ! refused CDS a: bad
         < CDS -x",
    ),
    (
        "endpoints that were owed and refused with others are owed still",
        "world CDS a=1 b=1, EDS a=1 b=1
         > CDS
         < CDS a=1 b=1
         > EDS +a +b
         < EDS a=1 b=1
         > EDS ack
         ! acked EDS a=1 b=1
         > CDS ack
         ! acked CDS a=1 b=1
         world CDS a=2 b=1, EDS a=1 b=2
         < CDS a=2
         < EDS a=1 b=2
         > EDS nack bad
         < EDS a=1
         > EDS ack
         ! acked EDS a=1
         < EDS b=2
         > EDS nack bad
         ! refused EDS b: bad",
    ),
    (
        "a refused removal is not argued about",
        "world CDS a=1 b=1
         > CDS
         < CDS a=1 b=1
         > CDS ack
         ! acked CDS a=1 b=1
         world CDS a=1
         < CDS -b
         > CDS nack no
         ! refused CDS b: no",
    ),
    (
        "a refusal of one type leaves the others alone",
        "world CDS a=1, LDS l=1
         > CDS
         < CDS a=1
         > LDS
         < LDS l=1
         > CDS nack no
         ! refused CDS a: no
         > LDS ack
         ! acked LDS l=1",
    ),
];
