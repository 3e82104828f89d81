//! Add-ons: programs of containers that talk to the API, each as its pod's service account.

use std::{net::IpAddr, sync::Arc, time::Duration};

use k8s_openapi::api::{
    authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec},
    core::v1::ServiceAccount,
};
use kubelab_add_ons::{AddOn, Connection as Incoming, Container as Place, Dialer, Program};
use kubelab_client::{Client, Token, clock, process::Connection};
use tokio::sync::watch;

use super::{Container, PodRef, Process, Shared, Timer};
use crate::{behavior::images, network::proxy::Proxy, runtime::console::Console, shell::streams::Fd};

/// How long a token is asked for. Source: what the ServiceAccount admission plugin puts into pods, an hour and 7 s.
const TOKEN_SECONDS: i64 = 3607;
/// When a token is exchanged for a new one. Source: the kubelet's token manager, at 80 % of its life.
const TOKEN_REFRESH: Duration = Duration::from_secs(TOKEN_SECONDS as u64 * 8 / 10);
/// How soon a token is asked for again after an error.
const RETRY: Duration = Duration::from_secs(1);

/// What a node gives its containers of the world outside.
#[derive(Clone)]
pub struct Outside {
    /// The API, as the node.
    pub client: Client,
    /// How to reach it.
    pub connection: Connection,
    /// The pod network.
    pub proxy: Proxy,
    /// The node's own address.
    pub address: IpAddr,
}

/// A container's add-on, while it runs. Dropped, it is gone.
#[derive(Default)]
pub(super) struct Running {
    program: Option<watch::Receiver<Option<Arc<dyn Program>>>>,
    /// Ends with it.
    _task: Timer,
}

impl Running {
    /// Serves a connection, once the program has begun.
    pub(super) fn serve(&self, connection: Incoming) -> Option<impl Future<Output = ()> + Send + use<>> {
        let mut program = self.program.clone()?;
        Some(async move {
            let begun = program.wait_for(Option::is_some).await.ok().and_then(|program| program.clone());
            if let Some(program) = begun {
                program.serve(connection).await;
            }
        })
    }
}

impl Shared {
    /// Starts the add-on that a container's image is, if it is one.
    pub(super) fn begin_add_on(
        self: &Arc<Self>,
        pod: &PodRef,
        address: IpAddr,
        container: &Container,
        process: &mut Process,
    ) {
        let (repository, tag) = images::parts(&container.image);
        let Some(add_on) = AddOn::of_repository(repository).filter(|_| process.is_add_on()) else { return };
        let (Some(outside), Some(console)) = (&self.outside, &process.console) else { return };
        let (tell, program) = watch::channel(None);
        let place = Begin {
            add_on,
            pod: pod.clone(),
            account: process.setup.service_account.clone(),
            version: tag.to_owned(),
            arguments: process.setup.arguments.clone(),
            outside: outside.clone(),
            console: console.clone(),
            network: self.network(pod, address),
        };
        let task = tokio::spawn(place.run(tell));
        process.add_on = Running { program: Some(program), _task: Timer(Some(task.abort_handle())) };
    }
}

/// What an add-on begins with.
struct Begin {
    add_on: AddOn,
    pod: PodRef,
    account: String,
    version: String,
    arguments: Vec<String>,
    outside: Outside,
    console: Arc<Console>,
    network: Arc<dyn Dialer>,
}

impl Begin {
    async fn run(self, tell: watch::Sender<Option<Arc<dyn Program>>>) {
        let token = loop {
            match self.token().await.map(|text| Token::new(&text)) {
                Ok(Ok(token)) => break token,
                Ok(Err(error)) => tracing::warn!(pod = %self.pod, %error, "a token cannot be used"),
                Err(error) => tracing::debug!(pod = %self.pod, %error, "no token for an add-on yet"),
            }
            clock::sleep(RETRY).await;
        };
        let client = match Client::with_token(&self.outside.connection, token.clone()) {
            Ok(client) => client,
            Err(error) => {
                tracing::error!(pod = %self.pod, %error, "an add-on cannot reach the API");
                return;
            }
        };
        let console = self.console.clone();
        let program = self.add_on.start(Place {
            client,
            namespace: self.pod.namespace.clone(),
            pod: self.pod.name.clone(),
            version: self.version.clone(),
            arguments: self.arguments.clone(),
            network: self.network.clone(),
            log: Arc::new(move |line| console.write(Fd::Stdout, format!("{line}\n").as_bytes())),
        });
        tell.send_replace(Some(program.clone()));
        tokio::select! {
            () = program.run() => {}
            () = self.refresh(&token) => {}
        }
    }

    async fn refresh(&self, token: &Token) {
        loop {
            clock::sleep(TOKEN_REFRESH).await;
            while let Err(error) = self.token().await.map(|text| token.set(&text)) {
                tracing::debug!(pod = %self.pod, %error, "no new token for an add-on yet");
                clock::sleep(RETRY).await;
            }
        }
    }

    /// A token of the pod's service account, bound to the pod.
    async fn token(&self) -> Result<String, kubelab_client::Error> {
        let bound = BoundObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Pod".to_owned()),
            name: Some(self.pod.name.clone()),
            uid: Some(self.pod.uid.clone()),
        };
        let spec = TokenRequestSpec {
            bound_object_ref: Some(bound),
            expiration_seconds: Some(TOKEN_SECONDS),
            ..TokenRequestSpec::default()
        };
        let request = TokenRequest { spec: Some(spec), ..TokenRequest::default() };
        let client = &self.outside.client;
        let issued = client
            .create_subresource::<ServiceAccount, TokenRequest>(&self.pod.namespace, &self.account, "token", &request)
            .await?;
        Ok(issued.status.and_then(|status| status.token).unwrap_or_default())
    }
}
