//! A kubeconfig, and connections to what it names: HTTP/1.1 with keep-alive over TLS, as most clients have.

use std::{path::Path, sync::Arc};

use anyhow::{Context, bail};
use base64::{Engine, prelude::BASE64_STANDARD};
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::{
    body::{Bytes, Incoming},
    client::conn::http1::{SendRequest, handshake},
};
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// An endpoint and who asks. Cheap to clone.
#[derive(Clone)]
pub struct Target {
    address: String,
    name: ServerName<'static>,
    tls: TlsConnector,
    token: Option<String>,
}

impl Target {
    /// Reads the current context of a kubeconfig. Certificates and keys may stand in it or in files; a token too.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let config: Value =
            serde_saphyr::from_str(&text).with_context(|| format!("{} is not a kubeconfig", path.display()))?;
        let named = |list: &str, name: &Value| -> anyhow::Result<Value> {
            let entries = config[list].as_array().into_iter().flatten();
            let entry = entries.into_iter().find(|entry| entry["name"] == *name);
            entry.cloned().with_context(|| format!("{} has no {name} among its {list}", path.display()))
        };
        let context = named("contexts", &config["current-context"])?["context"].clone();
        let cluster = named("clusters", &context["cluster"])?["cluster"].clone();
        let user = named("users", &context["user"])?["user"].clone();

        let server = cluster["server"].as_str().context("the cluster has no server")?;
        let Some(address) = server.strip_prefix("https://").map(|rest| rest.trim_end_matches('/')) else {
            bail!("only https servers can be measured, not {server}");
        };
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        let mut roots = RootCertStore::empty();
        if let Some(pem) = pem(&cluster, "certificate-authority")? {
            for certificate in CertificateDer::pem_slice_iter(&pem) {
                roots.add(certificate?)?;
            }
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots);
        let tls = match (pem(&user, "client-certificate")?, pem(&user, "client-key")?) {
            (Some(certificate), Some(key)) => {
                let chain = CertificateDer::pem_slice_iter(&certificate).collect::<Result<Vec<_>, _>>()?;
                builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(&key)?)?
            }
            _ => builder.with_no_client_auth(),
        };
        Ok(Self {
            address: if address.contains(':') { address.to_owned() } else { format!("{address}:443") },
            name: ServerName::try_from(host.to_owned())?,
            tls: TlsConnector::from(Arc::new(tls)),
            token: user["token"].as_str().map(String::from),
        })
    }

    /// A connection of one's own.
    pub async fn connect(&self) -> anyhow::Result<Connection> {
        let stream = TcpStream::connect(&self.address).await;
        let stream = stream.with_context(|| format!("cannot reach {}", self.address))?;
        stream.set_nodelay(true)?;
        let stream = self.tls.connect(self.name.clone(), stream).await?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Connection { sender, host: self.address.clone(), token: self.token.clone() })
    }
}

/// `<field>-data` decoded, or the file that `<field>` names.
fn pem(section: &Value, field: &str) -> anyhow::Result<Option<Vec<u8>>> {
    if let Some(data) = section[format!("{field}-data")].as_str() {
        return Ok(Some(BASE64_STANDARD.decode(data).with_context(|| format!("{field}-data is not base64"))?));
    }
    let Some(path) = section[field].as_str() else { return Ok(None) };
    Ok(Some(std::fs::read(path).with_context(|| format!("cannot read {path}"))?))
}

/// One connection; one request at a time.
pub struct Connection {
    sender: SendRequest<Full<Bytes>>,
    host: String,
    token: Option<String>,
}

impl Connection {
    /// Sends a request and waits for the answer's head.
    pub async fn open(&mut self, method: Method, path: &str, body: Bytes) -> anyhow::Result<http::Response<Incoming>> {
        let mut request = Request::builder()
            .method(&method)
            .uri(path)
            .header(header::HOST, &self.host)
            .header(header::USER_AGENT, "kubelab-bench")
            .header(header::ACCEPT, "application/json");
        if !body.is_empty() {
            let media = if method == Method::PATCH { "application/merge-patch+json" } else { "application/json" };
            request = request.header(header::CONTENT_TYPE, media);
        }
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        self.sender.ready().await?;
        Ok(self.sender.send_request(request.body(Full::new(body))?).await?)
    }

    /// Sends a request and reads the whole answer; a refusal is an error with the server's words.
    pub async fn call(&mut self, method: Method, path: &str, body: impl Into<Bytes>) -> anyhow::Result<Bytes> {
        let response = self.open(method, path, body.into()).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        if status.is_success() { Ok(body) } else { Err(refusal(status, &body)) }
    }
}

fn refusal(status: StatusCode, body: &[u8]) -> anyhow::Error {
    let answer: Value = serde_json::from_slice(body).unwrap_or_default();
    anyhow::anyhow!("{status}: {}", answer["message"].as_str().unwrap_or("no words"))
}
