//! What clients do that the harness does not: they refuse, come late, come back, and change their minds.

use super::script::{BOTH, DELTA, EACH, Scenario};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        title: "what was refused is not sent again, what replaces it is",
        types: EACH,
        dialects: BOTH,
        script: "world T a=1
                 > T a
                 < T a=1
                 world T a=bad
                 < T a=bad nack no good
                 ! T a
                 > T a b
                 <delta T -b
                 <all T a=1
                 world T a=bad c=1
                 world T a=2 c=1
                 < T a=2
                 world T a=bad c=1",
    },
    Scenario {
        title: "a fault that nobody names is found by halves, and what is good is sent again",
        types: EACH,
        dialects: BOTH,
        script: "world T a=1 b=1
                 > T a b
                 < T a=1 b=1
                 world T a=bad b=2
                 < T a=bad b=2 nack no good
                 <delta T a=bad nack no good
                 <new T a=bad nack no good
                 <all T a=bad b=1 nack no good
                 <delta T b=2
                 <new T b=2
                 <all T a=1 b=2
                 ! T a
                 world T a=3 b=2
                 <delta T a=3
                 <new T a=3
                 <all T a=3 b=2",
    },
    Scenario {
        title: "a fault that Envoy names takes one refusal",
        types: &["CDS", "LDS"],
        dialects: BOTH,
        script: "world T a=1 b=1
                 > T *
                 < T a=1 b=1
                 world T a=bad b=2 c=1
                 < T a=bad b=2 c=1 nack Error adding/updating resource(s) a: no good
                 <delta T b=2 c=1
                 <all T a=1 b=2 c=1
                 ! T a",
    },
    Scenario {
        title: "who refuses one type is told of the others",
        types: &[
            "CDS LDS", "LDS CDS", "RDS EDS", "EDS RDS", "SDS CDS", "ECDS LDS",
        ],
        dialects: BOTH,
        script: "world T a=1, U a=1
                 > T a
                 < T a=1
                 > U a
                 < U a=1
                 world T a=bad, U a=1
                 < T a=bad nack no good
                 ! T a
                 world T a=bad, U a=2
                 < U a=2",
    },
    Scenario {
        title: "a refusal lasts as long as its stream",
        types: EACH,
        dialects: BOTH,
        script: "world T a=1
                 > T a
                 < T a=1
                 world T a=bad
                 < T a=bad nack no good
                 ! T a
                 leave
                 return
                 < T a=bad nack no good
                 ! T a
                 world T a=2
                 < T a=2",
    },
    Scenario {
        title: "an outdated answer answers nothing",
        types: EACH,
        dialects: BOTH,
        script: "world T a=1 b=1
                 > T a
                 < T a=1
                 world T a=2 b=1
                 < T a=2 hold
                 > T outdated a b
                 world T a=3 b=1
                 > T ack
                 <delta T a=3 b=1
                 <sotw T a=3",
    },
    Scenario {
        title: "a state that is wanted by an outdated request is not what is wanted, a difference is",
        types: EACH,
        dialects: BOTH,
        script: "world T a=1 b=1
                 > T a
                 < T a=1
                 world T a=2 b=1
                 < T a=2
                 > T outdated a b
                 <delta T b=1
                 world T a=3 b=2
                 <delta T a=3 b=2
                 <sotw T a=3",
    },
    Scenario {
        title: "what changes before an answer is told once, as it is then",
        types: EACH,
        dialects: BOTH,
        script: "world T a=1
                 > T a
                 < T a=1 hold
                 world T a=2
                 world T a=3
                 > T ack
                 < T a=3",
    },
    Scenario {
        title: "what changed back before an answer is not told",
        types: EACH,
        dialects: BOTH,
        script: "world T a=1
                 > T a
                 < T a=1 hold
                 world T a=2
                 world T a=1
                 > T ack",
    },
    Scenario {
        title: "who drops a name before it answers is told no more of it",
        types: EACH,
        dialects: DELTA,
        script: "world T a=1 b=1
                 > T a b
                 < T a=1 b=1 hold
                 > T b
                 > T ack
                 world T a=2 b=1
                 world T a=2 b=2
                 < T b=2",
    },
    Scenario {
        title: "equal content is not sent again",
        types: EACH,
        dialects: BOTH,
        script: "world T a=1 b=1
                 > T *
                 < T a=1 b=1
                 world T a=1 b=1
                 world T b=1 a=1",
    },
    Scenario {
        title: "who comes back with each version is left alone, with one of all the names are told again",
        types: EACH,
        dialects: BOTH,
        script: "world T a=1 b=1 c=1
                 > T a b
                 < T a=1 b=1
                 leave
                 return
                 <sotw T a=1 b=1
                 world T a=1 b=2 c=2
                 <delta T b=2
                 <new T b=2
                 <all T a=1 b=2",
    },
    Scenario {
        title: "who comes back to another process and has everything is left alone",
        types: EACH,
        dialects: BOTH,
        script: "world T a=1 b=1
                 > T
                 < T a=1 b=1
                 world T a=2 b=1
                 <delta T a=2
                 <new T a=2
                 <all T a=2 b=1
                 leave
                 restart
                 return
                 <new T a=2 b=1",
    },
    Scenario {
        title: "who comes back and named some is told what is different",
        types: EACH,
        dialects: BOTH,
        script: "world T a=1 b=1 c=1
                 > T a b c
                 < T a=1 b=1 c=1
                 leave
                 world T a=1 b=2
                 return
                 <delta T b=2
                 <delta T -c
                 <sotw T a=1 b=2",
    },
    Scenario {
        title: "who comes back and wanted everything is told what is different",
        types: EACH,
        dialects: BOTH,
        script: "world T a=1 b=1 c=1
                 > T *
                 < T a=1 b=1 c=1
                 leave
                 world T a=1 b=2 d=1
                 return
                 <delta T b=2 d=1
                 <delta T -c
                 <sotw T a=1 b=2 d=1",
    },
    Scenario {
        title: "after a cluster that changed its endpoints come again, and no others",
        types: &[""],
        dialects: BOTH,
        script: "world CDS a=1 b=1, EDS a=1 b=1
                 > CDS *
                 < CDS a=1 b=1
                 > EDS a b
                 < EDS a=1 b=1
                 world CDS a=2 b=1, EDS a=1 b=1
                 <delta CDS a=2
                 <all CDS a=2 b=1
                 < EDS a=1
                 world CDS a=2 b=1, EDS a=2 b=1
                 < EDS a=2",
    },
    Scenario {
        title: "what is new comes before what refers to it, what goes after",
        types: &["SDS", "ECDS"],
        dialects: BOTH,
        script: "world
                 > LDS
                 < LDS
                 > RDS r q
                 <delta RDS -q -r
                 > T s
                 <delta T -s
                 > CDS
                 < CDS
                 > EDS a b
                 <delta EDS -a -b
                 world CDS a=1, EDS a=1, LDS l=1, RDS r=1, T s=1
                 < CDS a=1
                 < EDS a=1
                 < LDS l=1
                 < RDS r=1
                 < T s=1
                 world CDS b=1, EDS b=1, LDS m=1, RDS q=1, T s=2
                 <delta CDS b=1
                 <sotw CDS a=1 b=1
                 < EDS b=1
                 <delta LDS m=1
                 <sotw LDS l=1 m=1
                 < RDS q=1
                 < T s=2
                 <delta RDS -r
                 <delta LDS -l
                 <delta EDS -a
                 <delta CDS -a
                 <sotw LDS m=1
                 <sotw CDS b=1",
    },
    Scenario {
        title: "nothing goes before what is new has been answered for",
        types: &["CDS EDS"],
        dialects: BOTH,
        script: "world CDS a=1, EDS a=1
                 > CDS
                 < CDS a=1
                 > EDS a b
                 <delta EDS a=1 -b
                 <sotw EDS a=1
                 world CDS b=1, EDS b=1
                 <delta CDS b=1
                 <sotw CDS a=1 b=1
                 < EDS b=1 hold
                 > EDS ack
                 <delta EDS -a
                 <delta CDS -a
                 <sotw CDS b=1",
    },
    Scenario {
        title: "an Envoy that waits for everything hears that there is nothing",
        types: &["CDS", "LDS"],
        dialects: BOTH,
        script: "world
                 > T
                 < T
                 world T a=1
                 < T a=1",
    },
    Scenario {
        title: "who names what is not there hears so where a response can say it",
        types: EACH,
        dialects: BOTH,
        script: "world T a=1
                 > T z
                 <delta T -z
                 <all T
                 world T a=2
                 world T a=2 z=1
                 < T z=1",
    },
    Scenario {
        title: "names beside a wildcard stay when it goes",
        types: EACH,
        dialects: BOTH,
        script: "world T a=1 b=1
                 > T * a z
                 <delta T a=1 b=1 -z
                 <sotw T a=1 b=1
                 > T a
                 world T a=1 b=2
                 world T a=2 b=2
                 < T a=2",
    },
    Scenario {
        title: "the first name ends the old wildcard for good",
        types: EACH,
        dialects: BOTH,
        script: "world T a=1 b=1
                 > T
                 < T a=1 b=1
                 > T a
                 <delta T a=1
                 world T a=1 b=2
                 > T
                 world T a=2 b=3",
    },
    Scenario {
        title: "what is named that was not wanted before is told, though it did not change",
        types: EACH,
        dialects: BOTH,
        script: "world T a=1 b=1
                 > T a
                 < T a=1
                 world T a=2 b=1
                 < T a=2
                 > T b
                 < T b=1",
    },
    Scenario {
        title: "what is named again is told again",
        types: EACH,
        dialects: DELTA,
        script: "world T a=1 b=1
                 > T a b z
                 < T a=1 b=1 -z
                 > T again a z
                 < T a=1 -z",
    },
    Scenario {
        title: "what is dropped and wanted again is told again",
        types: EACH,
        dialects: BOTH,
        script: "world T a=1 b=1
                 > T a b
                 < T a=1 b=1
                 > T b
                 > T a b
                 <delta T a=1
                 <new T a=1
                 <all T a=1 b=1",
    },
];
