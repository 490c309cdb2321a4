//! How a command fails: one clear text on standard error, and an exit code.

use std::fmt;
use std::process::ExitCode;

use tonic::{Code, Status};

use crate::output;

/// The operator asked for something that cannot be meant: exit code 2.
#[derive(Debug)]
pub(crate) struct Usage(pub(crate) String);

/// Mistakes in what was to be applied, each with its place: printed as they are.
#[derive(Debug)]
pub(crate) struct Mistakes {
    pub(crate) lines: Vec<String>,
    pub(crate) what: &'static str,
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.lines.len();
        let plural = if count == 1 { "" } else { "s" };
        write!(f, "{count} mistake{plural}; {}", self.what)
    }
}

impl std::error::Error for Usage {}
impl std::error::Error for Mistakes {}

/// Tells the operator, and chooses the exit code.
pub(crate) fn report(error: &anyhow::Error) -> ExitCode {
    if let Some(mistakes) = error.downcast_ref::<Mistakes>() {
        for line in &mistakes.lines {
            output::complain(line);
        }
    }
    // `{:#}` puts the causes behind the message, on the same line.
    output::complain(&format!("error: {error:#}"));
    if error.is::<Usage>() { ExitCode::from(2) } else { ExitCode::FAILURE }
}

/// What the control plane said, as a person wants to read it.
pub(crate) fn refused(status: &Status) -> anyhow::Error {
    let message = if status.message().is_empty() { status.code().description() } else { status.message() };
    match status.code() {
        Code::Aborted => anyhow::anyhow!("{message}; nothing was changed: look again, then repeat"),
        Code::DeadlineExceeded | Code::Cancelled => anyhow::anyhow!("the control plane did not answer in time"),
        Code::Unauthenticated => anyhow::anyhow!("{message}; give --admin-ca, --admin-cert and --admin-key"),
        Code::Unimplemented => anyhow::anyhow!("the control plane is of a build that cannot do this"),
        _ => anyhow::anyhow!("{message}"),
    }
}
