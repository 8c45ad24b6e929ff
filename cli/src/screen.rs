//! What people see. Writing never panics: when nobody reads any more, a program goes on, for what it
//! serves and for its result files.

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

/// Prints a line at once.
pub fn say(line: impl Display) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{line}");
    let _ = out.flush();
}

/// Prints bytes as they are, and a line's end.
pub fn show(bytes: &[u8]) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(bytes);
    let _ = writeln!(out);
    let _ = out.flush();
}

/// Prints a complaint of the program of this name.
pub fn complain(program: &str, line: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{program}: {line}");
}

/// Prints what reading a command line ended with, its fault or the help that was asked for; the
/// program's exit code, 2 or 0.
pub fn end(said: &clap::Error) -> ExitCode {
    let _ = said.print();
    ExitCode::from(if said.use_stderr() { 2 } else { 0 })
}
