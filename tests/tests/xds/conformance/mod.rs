//! The scenarios of the CNCF's xDS test harness, and what it leaves out, as data: against each type, in both dialects, by
//! snapshots made anew and by snapshots made of changes.
//!
//! Silence is proved, not waited for. Beside what a scenario is about, the client wants one resource of another type, the
//! marker, which is new in every world. What a world has the server say comes before the server's next word about the
//! marker, and so does what a request has it say before an answer to a later request. A response that no line of the
//! scenario allows fails it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use berth::xds::{Dialect, ResourceType, Snapshot};

use crate::client::{Client, Heard};
use crate::messages::{self, World};
use crate::server::TestServer;
use script::{Line, Manner, Scenario, Step};

mod gaps;
mod harness;
mod script;
mod streams;

/// What other suites have and this one has not.
const SKIPPED: &[(&str, &str)] = &[
    (
        "a service for each type (CDS, EDS and so on apart)",
        "only the aggregated one is served, for the order of changes across types needs one stream",
    ),
    (
        "resources with a time to live",
        "none is sent: what expires while the control plane is away would take sessions with it",
    ),
    (
        "REST",
        "an Envoy that asks by polling learns of a change too late for a lease",
    ),
];

#[tokio::test]
async fn what_the_harness_asks_for() {
    run_all(harness::SCENARIOS).await;
    for (what, why) in SKIPPED {
        eprintln!("skipped: {what}: {why}");
    }
}

#[tokio::test]
async fn what_the_harness_leaves_out() {
    run_all(gaps::SCENARIOS).await;
}

async fn run_all(scenarios: &'static [Scenario]) {
    let mut failed = Vec::new();
    for scenario in scenarios {
        for (types, dialect, publishing) in variants(scenario) {
            let title = format!("{} ({types}, {dialect:?}, {publishing:?})", scenario.title);
            let run = tokio::spawn(async move {
                let script = script::parse(scenario.script, types, dialect);
                let run = Run::start(title.clone(), dialect, publishing, &script).await;
                run.finish(script).await;
            });
            // What is wrong has been printed.
            if run.await.is_err() {
                failed.push((scenario.title, types, dialect, publishing));
            }
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

fn variants(
    scenario: &'static Scenario,
) -> impl Iterator<Item = (&'static str, Dialect, Publishing)> {
    scenario.types.iter().flat_map(|types| {
        scenario.dialects.iter().flat_map(|dialect| {
            [Publishing::Anew, Publishing::Changes].map(|publishing| (*types, *dialect, publishing))
        })
    })
}

/// How one world follows the other.
#[derive(Clone, Copy, Debug)]
enum Publishing {
    /// As a snapshot that knows nothing of the last.
    Anew,
    /// As what has changed since.
    Changes,
}

struct Run {
    title: String,
    publishing: Publishing,
    server: TestServer,
    client: Client,
    connected: bool,
    snapshot: Option<Arc<Snapshot>>,
    marker: ResourceType,
    worlds: usize,
    held: BTreeMap<ResourceType, Heard>,
    /// Versions by type, name and content: equal for equal content, else not.
    versions: BTreeMap<(ResourceType, String, String), String>,
}

impl Run {
    async fn start(
        title: String,
        dialect: Dialect,
        publishing: Publishing,
        script: &[Line],
    ) -> Self {
        let server = TestServer::start(4).await;
        let mut client = Client::new("conformance", dialect);
        client.connect(server.address).await.unwrap();
        let marker = script::marker(script);
        client.want(marker, [MARKER.to_owned()].into()).await;
        Self {
            title,
            publishing,
            server,
            client,
            connected: true,
            snapshot: None,
            marker,
            worlds: 0,
            held: BTreeMap::new(),
            versions: BTreeMap::new(),
        }
    }

    async fn finish(mut self, script: Vec<Line>) {
        for Line {
            text,
            step,
            expected,
            refused,
        } in script
        {
            let marker_is_due = self.perform(step).await;
            if self.connected && self.snapshot.is_some() {
                self.settle(&text, marker_is_due, &expected).await;
            }
            let told = self.server.refusals();
            let told: Vec<_> = told
                .into_iter()
                .map(|(of, names, _)| format!("{} {}", script::label(of), names.join(" ")))
                .collect();
            assert_eq!(
                told, refused,
                "{}: refusals told after `{text}`",
                self.title
            );
        }
    }

    /// Whether the server now owes the marker.
    async fn perform(&mut self, step: Step) -> bool {
        match step {
            Step::World(world) => {
                self.publish(world);
                return true;
            }
            Step::Want(of, names) => self.client.want(of, names).await,
            Step::WantOutdated(of, names) => self.client.want_outdated(of, names).await,
            Step::NameAgain(of, names) => self.client.name_again(of, names).await,
            Step::Answer(of, error) => {
                let heard = self.held.remove(&of).expect("a response is held");
                self.client.answer(&heard, error.as_deref()).await;
            }
            Step::Leave => {
                self.client.leave();
                self.held.clear();
                self.connected = false;
            }
            Step::Return => {
                self.client.forget(self.marker);
                self.client.connect(self.server.address).await.unwrap();
                self.client
                    .want(self.marker, [MARKER.to_owned()].into())
                    .await;
                self.connected = true;
                return true;
            }
            Step::Restart => {
                self.server = TestServer::start(4).await;
                let snapshot = self.snapshot.as_ref().expect("there is a world");
                self.server.publish(snapshot);
            }
        }
        false
    }

    fn publish(&mut self, mut world: World) {
        self.worlds += 1;
        world.push((self.marker, MARKER.to_owned(), self.worlds.to_string()));
        let snapshot = match (&self.snapshot, self.publishing) {
            (Some(before), Publishing::Changes) => messages::changed(before, &world),
            _ => messages::snapshot(&world),
        };
        self.server.publish(&snapshot);
        self.snapshot = Some(snapshot);
    }

    /// Hears all there is to hear.
    async fn settle(&mut self, step: &str, marker_is_due: bool, expected: &[(String, Manner)]) {
        let mut heard = 0;
        if marker_is_due {
            self.hear_until_marker(step, expected, &mut heard).await;
        }
        loop {
            let before = heard;
            self.client
                .name_again(self.marker, [MARKER.to_owned()].into())
                .await;
            self.hear_until_marker(step, expected, &mut heard).await;
            if heard == before {
                break;
            }
        }
        let missing: Vec<_> = expected.iter().skip(heard).collect();
        assert!(
            missing.is_empty(),
            "{}: after `{step}` nothing like {missing:?} came",
            self.title
        );
    }

    async fn hear_until_marker(
        &mut self,
        step: &str,
        expected: &[(String, Manner)],
        heard: &mut usize,
    ) {
        loop {
            let response = self.client.hear().await.unwrap();
            if response.of == self.marker {
                self.client.answer(&response, None).await;
                return;
            }
            let told = show(&response);
            self.check_versions(&response);
            let Some((line, manner)) = expected.get(*heard) else {
                panic!("{}: more than necessary after `{step}`: {told}", self.title);
            };
            assert_eq!(told, *line, "{}: after `{step}`", self.title);
            *heard += 1;
            match manner {
                Manner::Take => self.client.answer(&response, None).await,
                Manner::Refuse(error) => self.client.answer(&response, Some(error)).await,
                Manner::Hold => {
                    self.held.insert(response.of, response);
                }
            }
        }
    }

    fn check_versions(&mut self, response: &Heard) {
        let mut versions: Vec<_> = response
            .resources
            .iter()
            .map(|(name, held)| (name.clone(), held.content.clone(), held.version.clone()))
            .collect();
        if self.client.dialect() == Dialect::StateOfTheWorld {
            assert!(!response.version.is_empty());
            versions.clear();
        }
        for (name, content, version) in versions {
            let known = self
                .versions
                .entry((response.of, name.clone(), content.clone()));
            assert_eq!(
                *known.or_insert_with(|| version.clone()),
                version,
                "{}",
                self.title
            );
            let others = self
                .versions
                .iter()
                .filter(|((_, _, other), _)| *other != content);
            let same: BTreeSet<_> = others.filter(|(_, other)| **other == version).collect();
            assert!(
                same.is_empty(),
                "{}: {name}={content} and {same:?}",
                self.title
            );
        }
    }
}

fn show(response: &Heard) -> String {
    let resources = response.resources.iter();
    let resources = resources.map(|(name, held)| format!(" {name}={}", held.content));
    let removed = response.removed.iter().map(|name| format!(" -{name}"));
    let all: String = resources.chain(removed).collect();
    format!("{}{all}", script::label(response.of))
}

const MARKER: &str = "marker";
