//! What people type and scripts in circulation write, brought into the form that clap reads.

use std::collections::VecDeque;
use std::ffi::OsString;

use clap::{Arg, ArgAction, Command};

/// Gives long flags with one dash their second (`-secs 30`, `-theta=0.5`), and puts flags that stand
/// before a subcommand behind its name where it has them.
///
/// Only names that the command or the subcommand has are touched; the value of a flag is left as it
/// is, and so is everything behind `--`.
pub(crate) fn arranged(command: &Command, typed: Vec<OsString>) -> Vec<OsString> {
    let mut rest = VecDeque::from(typed);
    let mut done: Vec<OsString> = rest.pop_front().into_iter().collect();
    let Some(place) = subcommand_place(command, &rest) else {
        done.extend(doubled(command, rest));
        return done;
    };
    let name = rest[place].clone();
    let inner = command.find_subcommand(&name);
    let inner = inner.expect("the place is that of a subcommand's name");
    let behind = rest.split_off(place + 1);
    rest.pop_back();
    let (stay, moved) = sorted(command, inner, rest);
    done.extend(stay);
    done.push(name);
    done.extend(moved);
    done.extend(doubled(inner, behind));
    done
}

/// Where the subcommand stands, if what is before it are flags of the command.
fn subcommand_place(command: &Command, words: &VecDeque<OsString>) -> Option<usize> {
    let mut place = 0;
    while let Some(word) = words.get(place) {
        match Flag::read(command, word) {
            Some(flag) => place += flag.words(),
            None => return command.find_subcommand(word).map(|_| place),
        }
    }
    None
}

/// The flags in front of the subcommand `inner`: those that stay, and those that are its own.
fn sorted(
    command: &Command,
    inner: &Command,
    mut words: VecDeque<OsString>,
) -> (Vec<OsString>, Vec<OsString>) {
    let (mut stay, mut moved) = (Vec::new(), Vec::new());
    while let Some(word) = words.pop_front() {
        let flag = Flag::read(command, &word);
        let own = flag.as_ref().is_some_and(|flag| flag.is_of(inner));
        let target = if own { &mut moved } else { &mut stay };
        let value = flag.as_ref().is_some_and(Flag::takes_next);
        target.push(flag.map_or(word, |flag| flag.text));
        if value {
            target.extend(words.pop_front());
        }
    }
    (stay, moved)
}

/// The words with each long flag of `command` behind two dashes.
fn doubled(command: &Command, mut words: VecDeque<OsString>) -> Vec<OsString> {
    let mut done = Vec::with_capacity(words.len());
    while let Some(word) = words.pop_front() {
        if word == "--" {
            done.push(word);
            done.extend(words);
            break;
        }
        let flag = Flag::read(command, &word);
        let value = flag.as_ref().is_some_and(Flag::takes_next);
        done.push(flag.map_or(word, |flag| flag.text));
        if value {
            done.extend(words.pop_front());
        }
    }
    done
}

/// A word that is a long flag.
struct Flag<'a> {
    arg: &'a Arg,
    name: String,
    /// With two dashes, and its value if that is in the same word.
    text: OsString,
    /// Whether a value stands behind an equals sign.
    with_value: bool,
}

impl<'a> Flag<'a> {
    /// The flag of `command` that this word is, with one dash or two.
    fn read(command: &'a Command, word: &OsString) -> Option<Self> {
        let text = word.to_str()?.strip_prefix('-')?;
        let text = text.strip_prefix('-').unwrap_or(text);
        let name = text.split_once('=').map_or(text, |(name, _)| name);
        Some(Self {
            arg: find(command, name)?,
            name: name.to_owned(),
            text: format!("--{text}").into(),
            with_value: name.len() < text.len(),
        })
    }

    /// Whether the next word is its value.
    fn takes_next(&self) -> bool {
        let takes = matches!(self.arg.get_action(), ArgAction::Set | ArgAction::Append);
        takes && !self.with_value
    }

    fn words(&self) -> usize {
        1 + usize::from(self.takes_next())
    }

    fn is_of(&self, inner: &Command) -> bool {
        find(inner, &self.name).is_some()
    }
}

fn find<'a>(command: &'a Command, name: &str) -> Option<&'a Arg> {
    command.get_arguments().find(|arg| {
        let aliases = arg.get_all_aliases().unwrap_or_default();
        arg.get_long() == Some(name) || aliases.contains(&name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Command {
        let flag = |name: &'static str| Arg::new(name).long(name);
        let key = Arg::new("key").required(true);
        Command::new("x")
            .arg(flag("hosts"))
            .arg(flag("theta").allow_hyphen_values(true))
            .arg(flag("tasks").alias("numClients"))
            .arg(flag("strict").action(ArgAction::SetTrue))
            .subcommand(Command::new("get").arg(key).arg(flag("hosts")))
    }

    #[track_caller]
    fn becomes(typed: &str, expected: &str) {
        let words = format!("x {typed}");
        let words = words.split_whitespace().map(OsString::from).collect();
        let found = arranged(&example(), words);
        let found: Vec<_> = found.iter().filter_map(|word| word.to_str()).collect();
        assert_eq!(found.join(" "), format!("x {expected}"));
    }

    #[test]
    fn one_dash_becomes_two_where_the_flag_exists() {
        becomes("-theta 0.5 -strict", "--theta 0.5 --strict");
        becomes("-theta=0.5 -numClients 4", "--theta=0.5 --numClients 4");
        becomes("-h -x -frob --tasks 1", "-h -x -frob --tasks 1");
        becomes("-", "-");
    }

    #[test]
    fn values_and_what_follows_two_dashes_stay() {
        becomes("-theta -strict", "--theta -strict");
        becomes("--strict -- -theta", "--strict -- -theta");
        becomes("get -hosts a:1 -- -hosts", "get --hosts a:1 -- -hosts");
    }

    #[test]
    fn flags_go_behind_the_subcommand_that_has_them() {
        becomes("--hosts a:1 get k", "get --hosts a:1 k");
        becomes(
            "-hosts=a:1 get k -hosts b:1",
            "get --hosts=a:1 k --hosts b:1",
        );
        becomes("--hosts get get k", "get --hosts get k");
        becomes("--strict --hosts a:1 get k", "--strict get --hosts a:1 k");
        becomes("get k --theta 1", "get k --theta 1");
    }

    #[test]
    #[cfg(unix)]
    fn words_that_are_no_text_stay() {
        use std::os::unix::ffi::OsStringExt as _;
        let odd = OsString::from_vec(vec![b'-', 0xFF]);
        let words: Vec<OsString> = vec!["x".into(), "-strict".into(), odd.clone()];
        assert_eq!(
            arranged(&example(), words),
            ["x".into(), "--strict".into(), odd]
        );
    }
}
