//! What ii/xds-test-harness asks of a server, in our words: `subscribing`, `unsubscribing` and `delta` of its features.

use super::script::{BOTH, EACH, Scenario};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        title: "a wildcard is answered with everything there is",
        types: EACH,
        dialects: BOTH,
        script: "world T a=1 b=1 c=1
                 > T *
                 < T a=1 b=1 c=1",
    },
    Scenario {
        title: "so is the old wildcard, which names nothing",
        types: EACH,
        dialects: BOTH,
        script: "world T a=1 b=1 c=1
                 > T
                 < T a=1 b=1 c=1",
    },
    Scenario {
        title: "who wants everything is told what changes",
        types: EACH,
        dialects: BOTH,
        script: "world T a=1 b=1 c=1
                 > T
                 < T a=1 b=1 c=1
                 world T a=2 b=1 c=1
                 <delta T a=2
                 <new T a=2
                 <all T a=2 b=1 c=1",
    },
    Scenario {
        title: "who wants everything is told what is added",
        types: EACH,
        dialects: BOTH,
        script: "world T a=1 b=1 c=1
                 > T *
                 < T a=1 b=1 c=1
                 world T a=1 b=1 c=1 d=2
                 <delta T d=2
                 <new T d=2
                 <all T a=1 b=1 c=1 d=2",
    },
    Scenario {
        title: "who names some is given those, and told what changes of those",
        types: EACH,
        dialects: BOTH,
        script: "world T a=1 b=1 c=1 d=1
                 > T b d
                 < T b=1 d=1
                 world T a=1 b=2 c=1 d=1
                 <delta T b=2
                 <new T b=2
                 <all T b=2 d=1
                 world T a=2 b=2 c=2 d=1",
    },
    Scenario {
        title: "who names what is not there is told when it is",
        types: EACH,
        dialects: BOTH,
        script: "world T a=1 b=1
                 > T a z
                 <delta T a=1 -z
                 <sotw T a=1
                 world T a=1 b=2
                 world T a=1 b=2 z=2
                 <delta T z=2
                 <new T z=2
                 <all T a=1 z=2",
    },
    Scenario {
        title: "several types on one stream",
        types: &[
            "CDS LDS", "LDS CDS", "RDS EDS", "EDS RDS", "SDS CDS", "ECDS LDS",
        ],
        dialects: BOTH,
        script: "world T a=1 b=1 c=1, U a=1 b=1 c=1
                 > T b
                 < T b=1
                 > U b
                 < U b=1
                 world T a=1 b=2 c=1, U a=1 b=1 c=1
                 < T b=2
                 world T a=1 b=2 c=1, U a=1 b=2 c=1
                 < U b=2",
    },
    Scenario {
        title: "who drops some names is told of the others only",
        types: EACH,
        dialects: BOTH,
        script: "world T a=1 b=1 c=1 d=1
                 > T a b c
                 < T a=1 b=1 c=1
                 > T a
                 world T a=2 b=2 c=1 d=1
                 < T a=2",
    },
    Scenario {
        title: "who drops all names is told nothing",
        types: EACH,
        dialects: BOTH,
        script: "world T a=1 b=1 c=1 d=1
                 > T a b
                 < T a=1 b=1
                 > T
                 world T a=1 b=2 c=1 d=1",
    },
    Scenario {
        title: "names are dropped one after the other",
        types: EACH,
        dialects: BOTH,
        script: "world T a=1 b=1
                 > T a b
                 < T a=1 b=1
                 > T a
                 world T a=1 b=2
                 > T
                 world T a=2 b=2",
    },
    Scenario {
        title: "names come one after the other",
        types: EACH,
        dialects: BOTH,
        script: "world T a=1 b=1 c=1
                 > T a
                 < T a=1
                 > T a b
                 <delta T b=1
                 <new T b=1
                 <all T a=1 b=1",
    },
    Scenario {
        title: "a resource goes, and comes back as another",
        types: EACH,
        dialects: BOTH,
        script: "world T a=1 b=1
                 > T a b
                 < T a=1 b=1
                 world T a=1
                 <delta T -b
                 <all T a=1
                 world T a=1 b=2
                 <delta T b=2
                 <new T b=2
                 <all T a=1 b=2",
    },
];
