//! Where the checkout, the launcher and the programs are.

use std::env;
use std::path::{Path, PathBuf, absolute};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::args::PlaceArgs;
use crate::launcher::Launcher;

const LAUNCHER: &str = "run-cluster.sh";

/// The directories that a study needs.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) checkout: PathBuf,
    pub(crate) launcher: PathBuf,
    pub(crate) studies: PathBuf,
}

impl Place {
    /// Finds the checkout: around the working directory, else where this program was built.
    ///
    /// # Errors
    /// When there is no launcher.
    pub(crate) fn find(typed: &PlaceArgs) -> Result<Self> {
        let here = env::current_dir().context("the working directory is gone")?;
        let built = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
        let mut candidates = here.ancestors().chain(built);
        let found = candidates.find(|dir| dir.join(LAUNCHER).is_file());
        let checkout = found.map_or_else(|| here.clone(), Path::to_owned);
        let launcher = match &typed.launcher {
            Some(path) => absolute(path)?,
            None => checkout.join(LAUNCHER),
        };
        if !launcher.is_file() {
            bail!(
                "{} is missing: go to the checkout, or name it with --launcher",
                launcher.display()
            );
        }
        let studies = match &typed.studies {
            Some(path) => absolute(path)?,
            None => checkout.join("studies"),
        };
        Ok(Self {
            checkout,
            launcher,
            studies,
        })
    }

    /// The launcher for all runs of a study. It takes the programs beside this one, if they are there:
    /// a study measures one build, whatever becomes of the sources meanwhile. Reports draw, not runs.
    pub(crate) fn launcher(&self, launcher_args: &[String]) -> Launcher {
        let mut words = vec!["--no-plots".to_owned()];
        let given = launcher_args
            .iter()
            .any(|word| word.starts_with("--bin-dir"));
        if let Some(dir) = programs().filter(|_| !given) {
            words.extend(["--bin-dir".to_owned(), dir]);
        }
        words.retain(|word| !launcher_args.contains(word));
        Launcher {
            path: self.launcher.clone(),
            words,
        }
    }

    /// How many machines the launcher would use; 0 when all programs run on this one.
    ///
    /// # Errors
    /// With the launcher's words when it cannot tell.
    pub(crate) fn nodes(&self, launcher_args: &[String]) -> Result<usize> {
        let mut command = Command::new(&self.launcher);
        command.args(launcher_args).arg("--list-nodes");
        let output = command
            .output()
            .with_context(|| format!("{} cannot be run", self.launcher.display()))?;
        if !output.status.success() {
            bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).lines().count())
    }
}

/// The directory of this program, if the server and the client lie in it.
fn programs() -> Option<String> {
    let program = env::current_exe().ok()?;
    let dir = program.parent()?;
    let whole = ["batchkv-server", "batchkv-client"]
        .iter()
        .all(|name| dir.join(name).is_file());
    dir.to_str().filter(|_| whole).map(str::to_owned)
}
