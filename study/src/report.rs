//! Starts what draws a study's report.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};
use batchkv_cli::screen::say;

/// Makes `report.html` and its pictures in a study's directory, and says where it is.
///
/// # Errors
/// A sentence that says why it could not be made.
pub(crate) fn make(checkout: &Path, study: &Path) -> Result<()> {
    let python = checkout.join(".venv/bin/python");
    if !checkout.join("plots/report.py").is_file() {
        bail!(
            "no report could be drawn: {} has no plots/report.py",
            checkout.display()
        );
    }
    if !python.is_file() {
        bail!(
            "no report could be drawn, because {} is missing: python3 -m launcher.tools \
             plots/requirements.txt, in the checkout, makes it",
            python.display()
        );
    }
    let mut command = Command::new(python);
    command
        .current_dir(checkout)
        .args(["-m", "plots.report"])
        .arg(study);
    match command.status()? {
        status if status.success() => {
            say(format_args!(
                "report: {}",
                study.join("report.html").display()
            ));
            Ok(())
        }
        status => bail!("the report could not be drawn ({status}): see above"),
    }
}
