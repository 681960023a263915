//! A filter's VM by hand: what it says, under which number, and when.

use berth_proto::session::v1::acquire_response::Outcome;
use berth_proto::session::v1::sessions_client::SessionsClient;
use berth_proto::session::v1::{
    AcquireRequest, EndCause, Ended, Fence, Grant, Header, Owner, Refusal, Session, SyncRequest,
    Unverified, Vm as Origin,
};
use tonic::Status;
use tonic::transport::Channel;

use crate::{Error, World};

/// One more VM of the world's first Envoy, which has acknowledged the instances that this one is given. Clones share
/// its connection.
#[derive(Clone, Debug)]
pub struct Vm {
    calls: SessionsClient<Channel>,
    id: String,
}

impl Vm {
    /// A VM of this id, with a connection of its own.
    ///
    /// # Errors
    /// [`Error::Call`].
    pub async fn new(world: &World, id: &str) -> Result<Self, Error> {
        let url = format!("http://{}", world.berth().xds());
        let unavailable = |why: String| Error::call(Status::unavailable(why));
        let endpoint = Channel::from_shared(url);
        let endpoint = endpoint.map_err(|error| unavailable(error.to_string()))?;
        let channel = endpoint.connect().await;
        Ok(Self {
            calls: SessionsClient::new(channel.map_err(|error| unavailable(error.to_string()))?),
            id: id.to_owned(),
        })
    }

    /// Asks for an instance of the pool `web`, and waits for as long as it is let wait; inside, `Err` is a refusal.
    ///
    /// # Errors
    /// [`Error::Call`], [`Error::Unreadable`].
    pub async fn acquire(
        &self,
        sequence: u64,
        session: &str,
        subject: &str,
    ) -> Result<Result<Grant, Refusal>, Error> {
        self.ask(AcquireRequest {
            vm: Some(self.origin(sequence)),
            session: session.to_owned(),
            pool: POOL.to_owned(),
            owner: Some(owner(subject)),
            client_address: CLIENT.to_owned(),
            ..AcquireRequest::default()
        })
        .await
    }

    /// The same for a client of this address, whose token this VM could not check.
    ///
    /// # Errors
    /// [`Error::Call`], [`Error::Unreadable`].
    pub async fn acquire_unverified(
        &self,
        sequence: u64,
        session: &str,
        client: &str,
        token: &str,
    ) -> Result<Result<Grant, Refusal>, Error> {
        let authorization = Header {
            name: "authorization".to_owned(),
            value: format!("Bearer {token}").into_bytes(),
        };
        self.ask(AcquireRequest {
            vm: Some(self.origin(sequence)),
            session: session.to_owned(),
            client_address: client.to_owned(),
            unverified: Some(Unverified {
                path: format!("/{POOL}/sign_in").into_bytes(),
                headers: vec![authorization],
            }),
            ..AcquireRequest::default()
        })
        .await
    }

    async fn ask(&self, request: AcquireRequest) -> Result<Result<Grant, Refusal>, Error> {
        let answer = self.calls.clone().acquire(request).await;
        match answer.map_err(Error::call)?.into_inner().outcome {
            Some(Outcome::Grant(grant)) => Ok(Ok(grant)),
            Some(Outcome::Refusal(refusal)) => Ok(Err(refusal)),
            other @ (Some(Outcome::Available(_)) | None) => Err(Error::Unreadable {
                what: "the answer to an Acquire".to_owned(),
                why: format!("{other:?}"),
            }),
        }
    }

    /// Says that a session ended before it was granted anything.
    ///
    /// # Errors
    /// [`Error::Call`].
    pub async fn hint(&self, sequence: u64, session: &str) -> Result<(), Error> {
        self.end(sequence, session, None).await
    }

    /// Says that a session ended, as its client's doing if it had been granted something.
    ///
    /// # Errors
    /// [`Error::Call`].
    pub async fn end(
        &self,
        sequence: u64,
        session: &str,
        grant: Option<&Grant>,
    ) -> Result<(), Error> {
        let cause = match grant {
            Some(_) => EndCause::Client,
            None => EndCause::NotEstablished,
        };
        let ended = Ended {
            session: session.to_owned(),
            fence: grant.and_then(fence),
            cause: cause.into(),
        };
        self.sync(sequence, false, Vec::new(), vec![ended]).await
    }

    /// States that these sessions are all there is.
    ///
    /// # Errors
    /// [`Error::Call`].
    pub async fn full(&self, sequence: u64, sessions: Vec<Session>) -> Result<(), Error> {
        self.sync(sequence, true, sessions, Vec::new()).await
    }

    async fn sync(
        &self,
        sequence: u64,
        full: bool,
        sessions: Vec<Session>,
        ended: Vec<Ended>,
    ) -> Result<(), Error> {
        let request = SyncRequest {
            vm: Some(self.origin(sequence)),
            full,
            sessions,
            ended,
        };
        let answer = self.calls.clone().sync(request).await;
        answer.map(drop).map_err(Error::call)
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
#[must_use]
pub fn listed(session: &str, subject: &str, grant: Option<&Grant>) -> Session {
    Session {
        session: session.to_owned(),
        pool: POOL.to_owned(),
        owner: Some(owner(subject)),
        client_address: CLIENT.to_owned(),
        fence: grant.and_then(fence),
        instance: grant
            .map(|grant| grant.instance.clone())
            .unwrap_or_default(),
        established: grant.is_some(),
        ..Session::default()
    }
}

fn fence(grant: &Grant) -> Option<Fence> {
    grant.fence
}

fn owner(subject: &str) -> Owner {
    Owner {
        issuer: "https://login.example".to_owned(),
        subject: subject.to_owned(),
        tenant: String::new(),
        resume_key: String::new(),
    }
}

const POOL: &str = "web";
/// RFC 5737's first network for documentation.
const CLIENT: &str = "192.0.2.1";
