//! The admin API: where it is, who we are, and writes that may be repeated.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use meridian_control_client::admin::{self, Client};
use meridian_host::Host;
use meridian_identity::{ClientTls, PemFiles, Role};
use meridian_proto::NOT_ATTEMPTED;
use meridian_proto::admin::v1::HistoryRequest;
use meridian_types::RequestId;
use tonic::{Code, Response, Status};

use crate::cli::AdminArgs;
use crate::failure::{Usage, refused};
use meridian_dev::Instance;

/// How often one write is sent before its outcome is called unknown: enough for a replica that restarts.
const ATTEMPTS: u32 = 4;
/// Before the second attempt; doubled for each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(300);

/// A connection to one control replica.
pub(crate) struct Connection {
    pub(crate) client: Client,
    pub(crate) host: Host,
    tls: Option<ClientTls>,
}

impl Connection {
    /// Connects to where the arguments, the environment or a running `meridian dev` say.
    pub(crate) async fn open(args: &AdminArgs) -> anyhow::Result<Self> {
        let host = Host::real();
        let endpoints = endpoint(args)?;
        let tls = match tls_files(args)? {
            Some(files) => Some(ClientTls::from_files(host.files.clone(), files, Role::Control).await?),
            None => None,
        };
        let mut failed = None;
        for endpoint in endpoints.split(',').map(str::trim) {
            match admin::connect(endpoint, tls.clone(), &host).await {
                Ok(client) => return Ok(Self { client, host, tls }),
                // The first one's failure says most.
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        Err(failed.map_or_else(|| Usage("--admin names no address".to_owned()).into(), Into::into))
    }

    /// The commit that is head now: what a change is decided on.
    pub(crate) async fn head(&self) -> anyhow::Result<u64> {
        let history = self.read(async |mut client| client.history(HistoryRequest { limit: 1 }).await).await?;
        Ok(history.commits.first().map_or(0, |commit| commit.commit))
    }

    /// A call that changes nothing.
    pub(crate) async fn read<T>(&self, call: impl AsyncFn(Client) -> Result<Response<T>, Status>) -> anyhow::Result<T> {
        call(self.client.clone()).await.map(Response::into_inner).map_err(|status| self.refused(&status))
    }

    /// A call that changes something. It carries a request id, so that sending it again after a lost answer is
    /// harmless.
    pub(crate) async fn write<T>(
        &self,
        call: impl AsyncFn(Client) -> Result<Response<T>, Status>,
    ) -> anyhow::Result<T> {
        let mut pause = FIRST_PAUSE;
        let mut left = ATTEMPTS;
        // Of any attempt: a later one that was refused says nothing about it.
        let mut is_unknown = false;
        loop {
            left -= 1;
            match call(self.client.clone()).await {
                Ok(response) => return Ok(response.into_inner()),
                Err(status) if !may_be_lost(&status) => return Err(self.refused(&status)),
                Err(status) => {
                    is_unknown |= !was_not_attempted(&status);
                    if left == 0 {
                        return Err(self.refused(&status)).context(match is_unknown {
                            true => "whether it was done is unknown; look before you repeat it",
                            false => "refused, nothing was changed",
                        });
                    }
                }
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
    }

    /// What the control plane said, or why nothing came back.
    pub(crate) fn refused(&self, status: &Status) -> anyhow::Error {
        // What speaks TLS answers a plain connection with an alert, which is no HTTP/2, and hangs up.
        if self.tls.is_none() && is_broken(status) {
            const HINT: &str = "if the control plane serves TLS, give --admin-ca, --admin-cert and --admin-key";
            return anyhow::anyhow!("{}; {HINT}", refused(status));
        }
        refused(status)
    }

    /// A new id for a write.
    pub(crate) fn request_id(&self) -> String {
        let mut random = [0; 16];
        self.host.entropy.fill(&mut random);
        RequestId::from_random(random).to_string()
    }
}

/// Codes that tonic makes of a broken connection.
pub(crate) fn may_be_lost(status: &Status) -> bool {
    matches!(status.code(), Code::Unavailable | Code::Unknown | Code::DeadlineExceeded | Code::Cancelled)
}

/// Whether nothing was asked of the store: the control plane says so, or it was not reached.
fn was_not_attempted(status: &Status) -> bool {
    let mut causes = std::iter::successors(status.source(), |&error| error.source());
    status.metadata().contains_key(NOT_ATTEMPTED) || causes.any(|error| error.is::<tonic::ConnectError>())
}

/// Whether the connection broke: a status that was received has no cause, and one of a deadline is no break.
fn is_broken(status: &Status) -> bool {
    status.source().is_some() && !matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled)
}

fn tls_files(args: &AdminArgs) -> Result<Option<PemFiles>, Usage> {
    match (&args.admin_ca, &args.admin_cert, &args.admin_key) {
        (Some(ca), Some(certificate), Some(key)) => {
            Ok(Some(PemFiles { ca: Some(ca.clone()), certificate: certificate.clone(), key: key.clone() }))
        }
        (None, None, None) => Ok(None),
        _ => Err(Usage("--admin-ca, --admin-cert and --admin-key belong together".to_owned())),
    }
}

fn endpoint(args: &AdminArgs) -> Result<String, Usage> {
    match &args.admin {
        Some(endpoint) => Ok(endpoint.clone()),
        None => from_instance(Instance::well_known_path()),
    }
}

fn from_instance(path: Option<PathBuf>) -> Result<String, Usage> {
    const HINT: &str = "start one with `meridian dev`, or say where the control plane is: --admin HOST:PORT";
    let path =
        path.ok_or_else(|| Usage(format!("there is no home directory to look for a dev instance in; {HINT}")))?;
    let instance = Instance::read(&path).map_err(|_| Usage(format!("no dev instance is running; {HINT}")))?;
    if instance.is_alive() { Ok(instance.admin) } else { Err(stale(&path, instance.pid, HINT)) }
}

fn stale(path: &Path, pid: u32, hint: &str) -> Usage {
    Usage(format!("the dev instance of {} (process {pid}) is gone; {hint}", path.display()))
}
