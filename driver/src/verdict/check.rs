//! A rule at work: how much it could look at, and what came of it.

use serde::{Deserialize, Serialize};

use super::rule::{Finding, Rule};

/// How much a rule could look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Extent {
    /// This much: `1,234 values, every one that was read`.
    On(String),
    /// It is of no use here, or was not asked for; why. Another rule speaks if that matters.
    NotAsked(String),
    /// What it needs, or a part of that, is missing; a sentence that says what and where to look.
    Missing(String),
}

/// A rule with its two functions of what is known.
pub(super) struct Check<F> {
    rule: Rule,
    extent: fn(&F) -> Extent,
    /// What is wrong, in a sentence.
    fault: fn(&F) -> Option<String>,
}

impl<F> Check<F> {
    pub(super) const fn new(
        rule: Rule,
        extent: fn(&F) -> Extent,
        fault: fn(&F) -> Option<String>,
    ) -> Self {
        Self {
            rule,
            extent,
            fault,
        }
    }

    pub(super) fn rule(&self) -> Rule {
        self.rule
    }
}

/// What came of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum CheckOutcome {
    NotAsked,
    Fine,
    NotMade,
    Spoke,
}

/// A rule's line in the section *what was checked*.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Checked {
    pub(crate) rule: Rule,
    pub(crate) outcome: CheckOutcome,
    /// On how much it looked, or why it did not.
    pub(crate) on: String,
}

/// What all rules of a kind came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Judgement {
    pub(crate) findings: Vec<Finding>,
    pub(crate) checked: Vec<Checked>,
}

impl Judgement {
    pub(crate) fn add(&mut self, other: Self) {
        self.findings.extend(other.findings);
        self.checked.extend(other.checked);
    }
}

pub(super) fn apply<F>(checks: &[Check<F>], facts: &F) -> Judgement {
    let mut judgement = Judgement::default();
    let mut not_made: Vec<(String, Vec<Rule>)> = Vec::new();
    for Check {
        rule,
        extent,
        fault,
    } in checks
    {
        let reason = fault(facts);
        let (outcome, on) = match extent(facts) {
            Extent::On(on) => (CheckOutcome::Fine, on),
            Extent::NotAsked(why) => (CheckOutcome::NotAsked, why),
            Extent::Missing(why) => {
                match not_made.iter_mut().find(|(same, _)| *same == why) {
                    Some((_, rules)) => rules.push(*rule),
                    None => not_made.push((why.clone(), vec![*rule])),
                }
                (CheckOutcome::NotMade, why)
            }
        };
        let outcome = reason.as_ref().map_or(outcome, |_| CheckOutcome::Spoke);
        judgement.checked.push(Checked {
            rule: *rule,
            outcome,
            on,
        });
        judgement.findings.extend(reason.map(|reason| Finding {
            rule: *rule,
            reason,
        }));
    }
    let findings = not_made
        .into_iter()
        .map(|(why, rules)| not_checked(&rules, &why));
    judgement.findings.extend(findings);
    judgement
}

/// What was not looked at is no proof: a finding that names the rules.
fn not_checked(rules: &[Rule], why: &str) -> Finding {
    let names: Vec<String> = rules.iter().map(Rule::to_string).collect();
    Finding {
        rule: Rule::NotChecked,
        reason: format!("Not checked: {}. {why}", names.join(", ")),
    }
}
