//! One key at a time, for people who want to look.

use anyhow::{Context, bail};
