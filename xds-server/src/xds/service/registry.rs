//! Which streams are open, and what they say of themselves when they are asked.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tonic::Status;

use super::super::profile::{NodeFacts, ProfileName};
use super::super::stream::{Dialect, TypeStatus};
use super::StreamId;

/// All streams. Its lock is held for a look at the list, never while a stream does anything.
#[derive(Debug)]
pub(super) struct Registry {
    max_streams: usize,
    streams: Mutex<BTreeMap<StreamId, Entry>>,
}

/// `None` until the client has said who it is.
type Entry = Option<Known>;

#[derive(Clone, Debug)]
struct Known {
    who: Arc<Who>,
    questions: mpsc::Sender<Question>,
}

/// Who is at the other end of a stream.
#[derive(Clone, Debug)]
pub(super) struct Who {
    pub(super) node: NodeFacts,
    pub(super) user_agent: String,
    pub(super) address: Option<SocketAddr>,
    pub(super) profile: ProfileName,
    pub(super) dialect: Dialect,
    pub(super) opened: tokio::time::Instant,
}

/// A stream answers with how it stands.
pub(super) type Question = oneshot::Sender<Vec<TypeStatus>>;

/// One open stream.
#[derive(Clone, Debug)]
pub struct StreamStatus {
    /// Tells it from others.
    pub id: StreamId,
    /// Who is at the other end.
    pub node: NodeFacts,
    /// What program it says it is.
    pub user_agent: String,
    /// Where it comes from.
    pub address: Option<SocketAddr>,
    /// What it is told.
    pub profile: ProfileName,
    /// How it asks.
    pub dialect: Dialect,
    /// For how long it has been open.
    pub age: Duration,
    /// How it stands with each type that the client has spoken of. `None`: the stream is too busy to say.
    pub types: Option<Vec<TypeStatus>>,
}

/// Asks streams how they stand. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Streams {
    registry: Arc<Registry>,
}

impl Streams {
    pub(super) fn of(registry: &Arc<Registry>) -> Self {
        Self {
            registry: Arc::clone(registry),
        }
    }

    /// How many are open.
    pub fn count(&self) -> usize {
        self.registry.lock().len()
    }

    /// Those of one node, or all, the oldest first. A stream that does not answer within a second is told of without its
    /// types.
    pub async fn status(&self, node: Option<&str>) -> Vec<StreamStatus> {
        let asked: Vec<_> = self
            .registry
            .lock()
            .iter()
            .filter_map(|(id, entry)| Some((*id, entry.clone()?)))
            .filter(|(_, known)| node.is_none_or(|node| known.who.node.id == node))
            .collect();
        join_all(asked.into_iter().map(|(id, known)| ask(id, known))).await
    }
}

async fn ask(id: StreamId, Known { who, questions }: Known) -> StreamStatus {
    let (question, answer) = oneshot::channel();
    let answer = async {
        questions.send(question).await.ok()?;
        answer.await.ok()
    };
    let types = timeout(PATIENCE, answer).await.ok().flatten();
    StreamStatus {
        id,
        node: who.node.clone(),
        user_agent: who.user_agent.clone(),
        address: who.address,
        profile: who.profile.clone(),
        dialect: who.dialect,
        age: who.opened.elapsed(),
        types,
    }
}

impl Registry {
    pub(super) const fn new(max_streams: usize) -> Self {
        Self {
            max_streams,
            streams: Mutex::new(BTreeMap::new()),
        }
    }

    /// Notes a stream, until what this returns is dropped.
    ///
    /// # Errors
    /// There are as many as may be.
    pub(super) fn register(self: &Arc<Self>, id: StreamId) -> Result<Registered, Status> {
        let mut streams = self.lock();
        if streams.len() >= self.max_streams {
            return Err(Status::resource_exhausted(format!(
                "{} xDS streams are open, and no more are served (`xds.max_streams`)",
                streams.len()
            )));
        }
        streams.insert(id, None);
        Ok(Registered {
            registry: Arc::clone(self),
            id,
        })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<StreamId, Entry>> {
        // Nobody panics with it.
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A stream that is noted.
#[derive(Debug)]
pub(super) struct Registered {
    registry: Arc<Registry>,
    id: StreamId,
}

impl Registered {
    /// Says who it is; what comes to be asked of it.
    pub(super) fn is(&self, who: Arc<Who>) -> mpsc::Receiver<Question> {
        let (questions, asked) = mpsc::channel(1);
        let known = Known { who, questions };
        self.registry.lock().insert(self.id, Some(known));
        asked
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.registry.lock().remove(&self.id);
    }
}

/// How long a stream may take to say how it stands.
const PATIENCE: Duration = Duration::from_secs(1);
