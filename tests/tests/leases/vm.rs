//! A filter's VM by hand: what it says, under which number, and when.

use berth_proto::session::v1::acquire_response::Outcome;
use berth_proto::session::v1::sessions_client::SessionsClient;
use berth_proto::session::v1::{
    AcquireRequest, EndCause, Ended, Fence, Grant, Owner, Session, SyncRequest, Vm as Origin,
};
use berth_tests::World;
use tonic::transport::Channel;

/// One more VM of the world's first Envoy, which has acknowledged the instances that this one is given.
#[derive(Clone)]
pub(crate) struct Vm {
    calls: SessionsClient<Channel>,
    id: String,
}

impl Vm {
    pub(crate) async fn new(world: &World, id: &str) -> Self {
        let url = format!("http://{}", world.berth().xds());
        let channel = Channel::from_shared(url).unwrap().connect().await;
        Self {
            calls: SessionsClient::new(channel.unwrap()),
            id: id.to_owned(),
        }
    }

    /// Asks for an instance of the pool `web`; `Err` is the reason of a refusal.
    pub(crate) async fn acquire(
        &self,
        sequence: u64,
        session: &str,
        subject: &str,
    ) -> Result<Grant, String> {
        let request = AcquireRequest {
            vm: Some(self.origin(sequence)),
            session: session.to_owned(),
            pool: "web".to_owned(),
            owner: Some(owner(subject)),
            client_address: "192.0.2.1".to_owned(),
            check_only: false,
            ..AcquireRequest::default()
        };
        let answer = self.calls.clone().acquire(request).await.unwrap();
        match answer.into_inner().outcome.unwrap() {
            Outcome::Grant(grant) => Ok(grant),
            Outcome::Refusal(refusal) => Err(refusal.reason),
            Outcome::Available(_) => panic!("an Acquire was answered like a check"),
        }
    }

    /// Says that a session ended before it was granted anything.
    pub(crate) async fn hint(&self, sequence: u64, session: &str) {
        let ended = Ended {
            session: session.to_owned(),
            fence: None,
            cause: EndCause::NotEstablished.into(),
        };
        self.sync(sequence, false, Vec::new(), vec![ended]).await;
    }

    /// States that these sessions are all there is.
    pub(crate) async fn full(&self, sequence: u64, sessions: Vec<Session>) {
        self.sync(sequence, true, sessions, Vec::new()).await;
    }

    async fn sync(&self, sequence: u64, full: bool, sessions: Vec<Session>, ended: Vec<Ended>) {
        let request = SyncRequest {
            vm: Some(self.origin(sequence)),
            full,
            sessions,
            ended,
        };
        self.calls.clone().sync(request).await.unwrap();
    }

    fn origin(&self, sequence: u64) -> Origin {
        Origin {
            node: "envoy-0".to_owned(),
            id: self.id.clone(),
            sequence,
        }
    }
}

/// A session as a full Sync lists it: pending without a grant, established with one.
pub(crate) fn listed(session: &str, subject: &str, grant: Option<&Grant>) -> Session {
    Session {
        session: session.to_owned(),
        pool: "web".to_owned(),
        owner: Some(owner(subject)),
        client_address: "192.0.2.1".to_owned(),
        fence: grant.map(fence),
        instance: grant
            .map(|grant| grant.instance.clone())
            .unwrap_or_default(),
        established: grant.is_some(),
    }
}

fn fence(grant: &Grant) -> Fence {
    grant.fence.unwrap()
}

fn owner(subject: &str) -> Owner {
    Owner {
        issuer: "https://login.example".to_owned(),
        subject: subject.to_owned(),
        tenant: String::new(),
        resume_key: String::new(),
    }
}
