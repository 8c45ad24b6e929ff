//! What the command lines of batchkv's programs share, all made from the flags that a program declares.
//!
//! ```text
//! words     one dash or two, flags before a subcommand or behind it
//! config    flags from a file                      values    counts, durations, sizes
//! generate  shell completions and man pages        listen    addresses that are not public
//! screen    what people see                        stop      SIGINT and SIGTERM
//! ```
//! Start at [`parse_with_config`]. It knows no flag of any program.

mod config;
mod generate;
pub mod listen;
pub mod screen;
pub mod stop;
pub mod values;
mod words;

use std::ffi::OsString;

use clap::error::ErrorKind;
use clap::{CommandFactory, Error, FromArgMatches};

/// A program's command line with the subcommands `completions` and `man`.
pub fn command<Args: CommandFactory>() -> clap::Command {
    generate::extend(Args::command())
}

/// [`command`], with `--config FILE`, and of a flag given twice the last counts: scripts add flags
/// behind their own.
pub fn command_with_config<Args: CommandFactory>() -> clap::Command {
    config::extend(command::<Args>())
}

/// Reads a command line, the program's name first. Long flags may have one dash, and flags of a
/// subcommand may stand before its name.
///
/// # Errors
/// A usage error; what `--help`, `completions` and `man` print is one too, with exit code 0.
pub fn parse<Args>(typed: impl IntoIterator<Item = impl Into<OsString>>) -> Result<Args, Error>
where
    Args: CommandFactory + FromArgMatches,
{
    let command = command::<Args>();
    let typed = words::arranged(&command, typed.into_iter().map(Into::into).collect());
    read(command, typed)
}

/// As [`parse`], and takes the flags that `--config FILE` holds and the command line does not.
///
/// # Errors
/// Those of [`parse`], and a usage error that names what is wrong in the file.
pub fn parse_with_config<Args>(
    typed: impl IntoIterator<Item = impl Into<OsString>>,
) -> Result<Args, Error>
where
    Args: CommandFactory + FromArgMatches,
{
    let mut command = command_with_config::<Args>();
    let typed = words::arranged(&command, typed.into_iter().map(Into::into).collect());
    let typed = config::insert(&command, typed)
        .map_err(|text| command.error(ErrorKind::ValueValidation, text))?;
    let typed = words::arranged(&command, typed);
    read(command, typed)
}

fn read<Args: FromArgMatches>(
    mut command: clap::Command,
    typed: Vec<OsString>,
) -> Result<Args, Error> {
    let matches = command.try_get_matches_from_mut(typed)?;
    match generate::generated(&mut command, &matches) {
        Some(Ok(text)) => Err(shown(text)),
        Some(Err(text)) => Err(command.error(ErrorKind::Io, text)),
        None => Args::from_arg_matches(&matches).map_err(|error| error.format(&mut command)),
    }
}

/// A text that is printed as it is, as `--help` prints its own.
fn shown(text: String) -> Error {
    let mut command = clap::Command::new("text").override_help(text);
    let asked = command.try_get_matches_from_mut(["text", "--help"]);
    asked.expect_err("help always ends the reading of a command line")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_shown_as_it_is() {
        let text = "_f() {\n\n    local  i\n}\n";
        let error = shown(text.into());
        assert_eq!((error.to_string().as_str(), error.exit_code()), (text, 0));
    }
}
