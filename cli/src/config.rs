//! `--config FILE`: flags from a TOML file, whose keys are the names of the long flags.
//!
//! ```toml
//! hosts = ["10.10.1.1:8080", "10.10.1.2:8080"]   # a list is joined by commas
//! theta = 0.99
//! no-verify = true                               # a switch; false leaves it out
//! ```

use std::ffi::OsString;
use std::fs;

use clap::{Arg, ArgAction, Command, ValueHint};
use toml::{Table, Value};

const FLAG: &str = "config";

/// Adds the flag `--config`. It is of the program's main task, as is every flag that no subcommand
/// declares.
pub(crate) fn extend(command: Command) -> Command {
    let flag = Arg::new(FLAG)
        .long(FLAG)
        .value_name("FILE")
        .value_hint(ValueHint::FilePath)
        .help("Takes flags from a TOML file whose keys are their names; flags given here win");
    command
        .arg(flag)
        .args_override_self(true)
        .args_conflicts_with_subcommands(true)
        .mut_subcommands(|inner| inner.args_override_self(true))
}

/// Puts the file's flags before the typed ones, behind the program's name: of a flag given twice
/// the last counts.
pub(crate) fn insert(command: &Command, mut typed: Vec<OsString>) -> Result<Vec<OsString>, String> {
    let Some(path) = path(&typed) else {
        return Ok(typed);
    };
    let name = path.display();
    let text = fs::read_to_string(&path).map_err(|error| format!("--config {name}: {error}"))?;
    let words = words(command, &text).map_err(|error| format!("--config {name}: {error}"))?;
    let place = typed.len().min(1);
    typed.splice(place..place, words.into_iter().map(OsString::from));
    Ok(typed)
}

/// The last file that the typed words name.
fn path(typed: &[OsString]) -> Option<OsString> {
    let mut found = None;
    let mut words = typed.iter().take_while(|word| *word != "--");
    while let Some(word) = words.next() {
        if word == "--config" {
            found = words.next().cloned();
        } else if let Some(path) = word
            .to_str()
            .and_then(|word| word.strip_prefix("--config="))
        {
            found = Some(path.into());
        }
    }
    found
}

/// The file's flags as words of a command line.
fn words(command: &Command, text: &str) -> Result<Vec<String>, String> {
    let table: Table = text.parse().map_err(|error| format!("{error}"))?;
    let mut words = Vec::new();
    for (key, value) in &table {
        let flag = flag(command, key)?;
        words.extend(word(flag, key, value)?);
    }
    Ok(words)
}

fn flag<'a>(command: &'a Command, key: &str) -> Result<&'a Arg, String> {
    let flags = || command.get_arguments().filter(|flag| flag.get_id() != FLAG);
    let found = flags().find(|flag| flag.get_long() == Some(key));
    found.ok_or_else(|| {
        let allowed: Vec<&str> = flags().filter_map(Arg::get_long).collect();
        format!(
            "{key:?} is no flag of {}; allowed are {}",
            command.get_name(),
            allowed.join(", ")
        )
    })
}

fn word(flag: &Arg, key: &str, value: &Value) -> Result<Option<String>, String> {
    let switch = matches!(flag.get_action(), ArgAction::SetTrue);
    match value {
        Value::Boolean(on) if switch => Ok(on.then(|| format!("--{key}"))),
        _ if switch => Err(format!("{key} is {value}; allowed are true and false")),
        _ => match scalars(value) {
            Some(text) => Ok(Some(format!("--{key}={text}"))),
            None => Err(format!(
                "{key} is {value}; allowed are a number, a text and a list of these"
            )),
        },
    }
}

/// Numbers and texts as they are typed; lists of them joined by commas.
fn scalars(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Float(number) => Some(number.to_string()),
        Value::Array(items) => {
            let items: Option<Vec<String>> = items.iter().map(scalars).collect();
            Some(items?.join(","))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Command {
        let flag = |name: &'static str| Arg::new(name).long(name);
        let command = Command::new("example")
            .arg(flag("hosts"))
            .arg(flag("theta"))
            .arg(flag("scatter").action(ArgAction::SetTrue));
        extend(command)
    }

    #[test]
    fn keys_become_flags() {
        let text = "hosts = ['a:1', 'b:2']\ntheta = -0.5\nscatter = true";
        let found = words(&example(), text).unwrap();
        assert_eq!(found, ["--hosts=a:1,b:2", "--theta=-0.5", "--scatter"]);
        assert!(words(&example(), "scatter = false").unwrap().is_empty());
    }

    #[test]
    fn what_is_wrong_is_named_with_what_is_allowed() {
        for (text, named) in [
            (
                "thta = 1",
                "\"thta\" is no flag of example; allowed are hosts, theta, scatter",
            ),
            ("config = 'other.toml'", "\"config\" is no flag"),
            ("scatter = 1", "allowed are true and false"),
            ("theta = true", "theta is true; allowed are a number"),
            ("theta = { a = 1 }", "allowed are a number"),
            ("theta 1", "line 1"),
        ] {
            let error = words(&example(), text).unwrap_err();
            assert!(error.contains(named), "{text}: {error}");
        }
    }

    #[test]
    fn the_file_is_found_before_the_end_of_flags() {
        let found = |line: &str| path(&line.split(' ').map(OsString::from).collect::<Vec<_>>());
        assert_eq!(found("x --config a --theta 1"), Some("a".into()));
        assert_eq!(found("x --config=b"), Some("b".into()));
        assert_eq!(found("x -- --config a"), None);
    }
}
