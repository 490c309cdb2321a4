//! Standard output and error. A reader that went away (`| head`) ends the command quietly.

use std::io::{self, IsTerminal, Write};
use std::ops::ControlFlow;

/// Writes an answer.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    print_next(text).map(|_| ())
}

/// Writes one answer of several. `Break`: nobody reads any more.
pub(crate) fn print_next(text: &str) -> anyhow::Result<ControlFlow<()>> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(ControlFlow::Continue(())),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ControlFlow::Break(())),
        Err(error) => Err(anyhow::Error::new(error).context("write to standard output")),
    }
}

/// Writes a line to standard error.
pub(crate) fn complain(line: &str) {
    // There is nowhere left to say that this failed.
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// Whether a person looks at standard output in colour (<https://no-color.org/>).
pub(crate) fn is_colourful() -> bool {
    is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Whether standard output is a terminal.
pub(crate) fn is_terminal() -> bool {
    io::stdout().is_terminal()
}
