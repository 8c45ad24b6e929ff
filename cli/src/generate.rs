//! The subcommands `completions SHELL` and `man DIR`.

use std::fs;
use std::path::PathBuf;

use clap::{Arg, ArgMatches, Command, ValueHint, value_parser};
use clap_complete::Shell;

/// Adds both subcommands.
pub(crate) fn extend(command: Command) -> Command {
    let shell = Arg::new("shell")
        .required(true)
        .value_parser(value_parser!(Shell))
        .help("The shell that they are for");
    let completions = Command::new("completions")
        .about("Prints completions, to be read by a shell's start-up file")
        .arg(shell);
    let dir = Arg::new("dir")
        .required(true)
        .value_parser(value_parser!(PathBuf))
        .value_hint(ValueHint::DirPath)
        .help("Made if it is absent");
    let man = Command::new("man")
        .about("Writes the manual pages into a directory")
        .arg(dir);
    command.subcommand(completions).subcommand(man)
}

/// What the subcommand that was typed prints; none when it was neither.
pub(crate) fn generated(
    command: &mut Command,
    matches: &ArgMatches,
) -> Option<Result<String, String>> {
    match matches.subcommand()? {
        ("completions", matches) => {
            let shell: Shell = *matches.get_one("shell")?;
            Some(Ok(completions(command, shell)))
        }
        ("man", matches) => Some(pages(command, matches.get_one("dir")?)),
        _ => None,
    }
}

fn completions(command: &mut Command, shell: Shell) -> String {
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(shell, command, name, &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

/// Writes a page for the program and one for each of its subcommands.
fn pages(command: &Command, dir: &PathBuf) -> Result<String, String> {
    let written =
        fs::create_dir_all(dir).and_then(|()| clap_mangen::generate_to(command.clone(), dir));
    let page = dir.join(format!("{}.1", command.get_name()));
    match written {
        Ok(()) => Ok(format!("wrote {}\n", page.display())),
        Err(error) => Err(format!("man {}: {error}", dir.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(line: &str) -> Option<Result<String, String>> {
        let flag = Arg::new("theta").long("theta");
        let mut command = extend(Command::new("example").arg(flag));
        let matches = command.clone().get_matches_from(line.split(' '));
        generated(&mut command, &matches)
    }

    #[test]
    fn completions_know_the_flags() {
        for shell in ["bash", "zsh", "fish"] {
            let script = typed(&format!("example completions {shell}"))
                .unwrap()
                .unwrap();
            assert!(script.contains("theta"), "{shell}: {script}");
        }
        assert_eq!(typed("example --theta 1"), None);
    }

    #[test]
    fn pages_describe_the_flags_and_name_a_directory_that_cannot_be() {
        let dir = std::env::temp_dir().join(format!("batchkv-man-{}", std::process::id()));
        let said = typed(&format!("example man {}", dir.display()))
            .unwrap()
            .unwrap();
        let page = fs::read_to_string(dir.join("example.1")).unwrap();
        fs::remove_dir_all(&dir).unwrap();
        assert!(said.ends_with("example.1\n"), "{said}");
        assert!(page.contains(r"\fB\-\-theta\fR"), "{page}");
        let error = typed("example man /dev/null/pages").unwrap().unwrap_err();
        assert!(error.starts_with("man /dev/null/pages: "), "{error}");
    }
}
