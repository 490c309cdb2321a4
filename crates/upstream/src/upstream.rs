//! One provider's pool and credential, and the sending of one request.

use std::time::Duration;

use http::header::{HeaderMap, HeaderValue, USER_AGENT};
use http::{Request, StatusCode, Uri, uri};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::client::legacy::connect::capture_connection;
use meridian_providers::{Provider as Codec, UpstreamRequest};
use meridian_resilience::{Timeline, within};
use meridian_types::Provider;

use crate::connect::Connector;
use crate::credential::Credential;
use crate::transport::{POOL_MAX_IDLE, Pool};
use crate::{BuildError, CredentialError, SendError, Transport};

const AGENT: &str = concat!("meridian/", env!("CARGO_PKG_VERSION"));

/// One provider, ready to be called.
pub struct Upstream {
    provider: Provider,
    codec: &'static dyn Codec,
    base: uri::Parts,
    pool: Pool,
    credential: Credential,
    transport: Transport,
}

impl std::fmt::Debug for Upstream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upstream").field("provider", &self.provider.name).finish_non_exhaustive()
    }
}

/// The head of an answer, with its body still to come.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body; dropping it cancels the call.
    pub body: Incoming,
    /// How long things took.
    pub timings: Timings,
}

/// How long the steps before the answer's head took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timings {
    /// Until a connection was there; short if one was pooled.
    pub connected: Duration,
    /// Until the answer's head was there, from the same start.
    pub answered: Duration,
}

impl Upstream {
    /// A pool without connections. A credential in a file is read before the first request, and then by
    /// [`Upstream::refresh_credential`].
    ///
    /// # Errors
    /// When the base URL cannot be called.
    pub fn new(transport: &Transport, provider: Provider, codec: &'static dyn Codec) -> Result<Self, BuildError> {
        let base: Uri = provider.base_url.parse().map_err(|_| BuildError::BaseUrl)?;
        let base = base.into_parts();
        if base.scheme.is_none() || base.authority.is_none() {
            return Err(BuildError::BaseUrl);
        }
        Ok(Self {
            pool: transport.pool(transport.connector(provider.deadlines.connect), POOL_MAX_IDLE),
            credential: Credential::new(provider.credential.clone(), transport.environment.as_ref()),
            transport: transport.clone(),
            provider,
            codec,
            base,
        })
    }

    /// The provider as configured: what it was built from.
    pub fn provider(&self) -> &Provider {
        &self.provider
    }

    /// Its codec.
    pub fn codec(&self) -> &'static dyn Codec {
        self.codec
    }

    /// Reads the credential's file again. Call it every [`crate::CREDENTIAL_INTERVAL`]. `true` if it changed.
    pub async fn refresh_credential(&self) -> bool {
        self.credential.refresh(self.transport.files.as_ref()).await
    }

    /// Whether there is a credential to send, or none is needed.
    ///
    /// # Errors
    /// Why not.
    pub fn credential(&self) -> Result<(), CredentialError> {
        self.credential.current().as_ref().as_ref().map(|_| ()).map_err(Clone::clone)
    }

    /// Sends `request` and waits for the answer's head, within the timeline's connect and response-header deadlines.
    /// `traced` are the trace headers.
    ///
    /// # Errors
    /// When no head came.
    pub async fn send(
        &self,
        request: UpstreamRequest,
        traced: impl IntoIterator<Item = (http::HeaderName, HeaderValue)>,
        timeline: &mut Timeline,
    ) -> Result<Answer, SendError> {
        self.credential.ensure_read(self.transport.files.as_ref()).await;
        let mut request = self.build(request)?;
        request.headers_mut().extend(traced);
        let mut captured = capture_connection(&mut request);
        let answering = self.pool.request(request);
        tokio::pin!(answering);
        let early = within(timeline.connect(), async {
            tokio::select! {
                biased;
                answer = &mut answering => Some(answer),
                _ = captured.wait_for_connection_metadata() => None,
            }
        });
        let early = early.await.map_err(|expired| SendError::Deadline(expired.stage))?;
        timeline.connected();
        let connected = timeline.elapsed();
        let answer = match early {
            Some(answer) => answer,
            None => within(timeline.response_headers(), answering)
                .await
                .map_err(|expired| SendError::Deadline(expired.stage))?,
        };
        let answer = answer.map_err(|error| match error.is_connect() {
            true => SendError::Connect(error),
            false => SendError::Broken(error),
        })?;
        let (head, body) = answer.into_parts();
        let timings = Timings { connected, answered: timeline.elapsed() };
        Ok(Answer { status: head.status, headers: head.headers, body, timings })
    }

    pub(crate) fn base(&self) -> &uri::Parts {
        &self.base
    }

    /// How a connection is made that no pool knows.
    pub(crate) fn connector(&self) -> Connector {
        self.transport.connector(self.provider.deadlines.connect)
    }

    fn build(&self, request: UpstreamRequest) -> Result<Request<Full<bytes::Bytes>>, SendError> {
        let UpstreamRequest { method, path_and_query, mut headers, body, .. } = request;
        let prefix = self.base.path_and_query.as_ref().map_or("", uri::PathAndQuery::path).trim_end_matches('/');
        let mut parts = uri::Parts::default();
        parts.scheme = self.base.scheme.clone();
        parts.authority = self.base.authority.clone();
        parts.path_and_query = Some(format!("{prefix}{path_and_query}").parse().map_err(|_| SendError::Url)?);
        if let Some(secret) = self.credential.current().as_ref().as_ref().map_err(Clone::clone)? {
            let unusable = |_| SendError::Credential(CredentialError::Unusable(self.credential.place()));
            self.codec.authorize(&mut headers, secret.expose()).map_err(unusable)?;
        }
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        let mut built = Request::new(Full::new(body));
        *built.method_mut() = method;
        *built.uri_mut() = Uri::from_parts(parts).map_err(|_| SendError::Url)?;
        *built.headers_mut() = headers;
        Ok(built)
    }
}
