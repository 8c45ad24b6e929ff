//! The summary for people.

use std::fmt::Write;

use crate::history::check::SectionChecked;
use crate::results::nodes::{NodeUsage, Role};
use crate::results::summary::Summary;
use crate::screen::{counted, grouped};
use crate::verdict::{CheckOutcome, Checked, Verdict, blind_spot};

/// The readable summary; its last line is `throughput N.NN ops/s`.
pub(crate) fn report(summary: &Summary) -> String {
    let mut text = String::from("\n");
    for part in [
        verdict,
        figures,
        histories,
        servers,
        nodes,
        checked,
        circumstances,
    ] {
        // Writing to a string cannot fail.
        let _ = part(summary, &mut text);
    }
    let _ = write!(text, "throughput {:.2} ops/s", summary.ops_per_sec);
    text
}

fn verdict(summary: &Summary, text: &mut String) -> std::fmt::Result {
    match summary.verdict {
        Verdict::Valid => writeln!(
            text,
            "verdict     VALID: no rule spoke, and each had what it looks at"
        )?,
        Verdict::Qualified => writeln!(
            text,
            "verdict     QUALIFIED: true, to be read with this in mind"
        )?,
        Verdict::Invalid => writeln!(text, "verdict     INVALID: wrong, or not provably right")?,
    }
    for reason in &summary.reasons {
        writeln!(text, "            - {reason}")?;
    }
    Ok(())
}

fn figures(summary: &Summary, text: &mut String) -> std::fmt::Result {
    let rate = |rate: f64| grouped(rate as u64);
    writeln!(
        text,
        "operations  {} ops/s over {} s ({} reads/s, {} writes/s)",
        rate(summary.ops_per_sec),
        summary.measured_secs,
        rate(summary.reads_per_sec),
        rate(summary.writes_per_sec),
    )?;
    match summary.hit_rate {
        Some(hits) => writeln!(
            text,
            "hit rate    {:.4} % of the gets found a value",
            hits * 100.0
        )?,
        None => writeln!(text, "hit rate    no gets")?,
    }
    latency(summary, text)?;
    writeln!(
        text,
        "checks      {} values checked, {} wrong; {} operations refused, {} of unknown outcome",
        grouped(summary.verified),
        grouped(summary.verify_failures),
        grouped(summary.errors),
        grouped(summary.unknown_ops),
    )
}

fn latency(summary: &Summary, text: &mut String) -> std::fmt::Result {
    let (Some(total), Some(parts)) = (summary.latency_us, summary.latency_parts_us) else {
        return Ok(());
    };
    write!(text, "{:<12}", "latency us")?;
    for name in ["mean", "p50", "p90", "p99", "p99.9", "max"] {
        write!(text, " {name:>10}")?;
    }
    writeln!(text)?;
    let lines = [
        ("fill", Some(parts.fill)),
        ("queue", Some(parts.queue)),
        ("service", Some(parts.service)),
        ("  server", parts.server),
        ("  network", parts.network),
        ("total", Some(total)),
    ];
    for (name, part) in lines {
        let Some(part) = part else { continue };
        write!(text, "  {name:<10}")?;
        for micros in [part.mean, part.p50, part.p90, part.p99, part.p999, part.max] {
            write!(text, " {micros:>10.0}")?;
        }
        writeln!(text)?;
    }
    writeln!(
        text,
        "            of an operation in microseconds: fill until its batch was closed, queue until its frame was \
         written, service (network and server) until its answer was decoded; total is all of it"
    )?;
    if parts.server.is_some() {
        writeln!(
            text,
            "            server from the reading of a request's frame to the finishing of its answers' frame, \
             network the rest of the service, waiting in both ends' sockets included"
        )?;
    }
    pacing(summary, text)?;
    writeln!(
        text,
        "            {} operations in progress on average: {:.3} times throughput x mean total (1 by Little's law)",
        grouped(summary.in_progress_mean as u64),
        summary.littles_law_ratio.unwrap_or(f64::NAN),
    )
}

fn pacing(summary: &Summary, text: &mut String) -> std::fmt::Result {
    writeln!(text, "            {}", summary.pacing)?;
    let Some(offered) = summary.offered else {
        return Ok(());
    };
    let (blocked_us, tardy_us) = offered.waits_us();
    writeln!(
        text,
        "            {} operations arrived, all of which are in the total: {} were answered behind the window's end, {} not \
         as long as was waited, {} never sent, which took at least that; total is the response time from the intended \
         start, service the service time",
        grouped(offered.arrived),
        grouped(offered.late),
        grouped(offered.unanswered),
        grouped(offered.dropped),
    )?;
    writeln!(
        text,
        "            ready batches waited for room in the window {blocked_us:.0} us, and for the client itself {tardy_us:.0} \
         us on average of the operations"
    )
}

fn histories(summary: &Summary, text: &mut String) -> std::fmt::Result {
    let Some(checked) = &summary.linearizability else {
        return Ok(());
    };
    let behind = "small batches on the hottest sampled records behind it";
    let parts = [
        ("histories", "warm-up and window", checked.window.as_ref()),
        ("", behind, checked.closing.as_ref()),
    ];
    for (label, name, part) in parts {
        let Some(part) = part else { continue };
        writeln!(
            text,
            "{label:<11} {name}: {} operations on {} records, {} pairs of a write and a later read; \
             median interval {:.0} us",
            grouped(part.operations),
            grouped(part.records),
            grouped(part.ordered_pairs),
            part.median_interval_us,
        )?;
    }
    let (window, closing) = (checked.window.as_ref(), checked.closing.as_ref());
    let skipped = |part: Option<&SectionChecked>| part.map_or(0, |part| part.deleted_records);
    writeln!(
        text,
        "            checked for linearizability; {:.3} % of all operations were to be recorded, {} found \
         no room, {} records were skipped because they saw a delete",
        100.0 * checked.share,
        grouped(checked.left_out + window.map_or(0, |part| part.behind_cut)),
        skipped(window) + skipped(closing),
    )
}

fn servers(summary: &Summary, text: &mut String) -> std::fmt::Result {
    for (k, server) in summary.per_server.iter().enumerate() {
        writeln!(
            text,
            "server {k:<4} {}: {} ops/s, {:.1} % of all operations",
            server.address,
            grouped(server.ops_per_sec as u64),
            server.share * 100.0
        )?;
    }
    if let Some(hottest) = summary.hottest_server {
        writeln!(
            text,
            "hottest     server {}: {:.1} % of all operations; when it is at its limit, all servers together do {:.3} \
             of what they could with an even load",
            hottest.server,
            hottest.share * 100.0,
            hottest.ceiling,
        )?;
    }
    let ops = summary.counts.ops();
    if ops > 0 {
        let each = |bytes: u64| bytes as f64 / ops as f64;
        writeln!(
            text,
            "network     {:.1} bytes sent and {:.1} received for each operation",
            each(summary.bytes_sent),
            each(summary.bytes_received),
        )?;
    }
    if let Some(framing) = summary.framing_bytes {
        writeln!(
            text,
            "framing     {:.2} of these bytes for each operation sent, {:.2} for each answer; the rest is keys and values",
            framing.per_operation, framing.per_answer,
        )?;
    }
    if let Some(references) = summary.reference_answers {
        writeln!(
            text,
            "repeats     {:.1} % of the answers refer to the same value in their frame (--dedup-answers)",
            100.0 * references as f64 / summary.counts.asked().max(1) as f64,
        )?;
    }
    Ok(())
}

fn nodes(summary: &Summary, text: &mut String) -> std::fmt::Result {
    for node in &summary.nodes {
        let usage = &node.usage;
        writeln!(
            text,
            "node        {}: {:.2} of {} cores busy; for each operation {:.0} ns of its program's CPU time and \
             {:.1} bytes over its interfaces, both ways; {:.0} MB of memory",
            named(node),
            usage.busy_cores(),
            usage.cores,
            node.cpu_ns_per_op,
            node.bytes_per_op,
            usage.process_memory_bytes / 1e6,
        )?;
    }
    let told = summary.per_server.iter().filter_map(|part| part.told);
    let busiest = told.filter_map(|told| told.busiest_thread).reduce(f64::max);
    let server = busiest.map_or("unknown".into(), |part| format!("{:.0} %", 100.0 * part));
    writeln!(
        text,
        "threads     part of the window in which the busiest worked: of a client {:.0} %, of a server {server}",
        100.0 * summary.busiest_worker
    )
}

/// What was checked, on how much, and what that leaves open.
fn checked(summary: &Summary, text: &mut String) -> std::fmt::Result {
    let mut label = "checked";
    for Checked { rule, outcome, on } in &summary.checked {
        let outcome = match outcome {
            CheckOutcome::Fine => "fine",
            CheckOutcome::Spoke => "SPOKE",
            CheckOutcome::NotMade => "NOT CHECKED",
            CheckOutcome::NotAsked => "-",
        };
        let name = rule.to_string();
        writeln!(
            text,
            "{label:<11} {name:<20} {outcome:<11} {on}; does not see: {}",
            blind_spot(*rule)
        )?;
        label = "";
    }
    Ok(())
}

/// A node with its part in the run, where its name does not tell.
fn named(node: &NodeUsage) -> String {
    let role = match node.role {
        Role::Client => "client",
        Role::Server => "server",
    };
    match node.name.starts_with(role) {
        true => node.name.clone(),
        false => format!("{} ({role})", node.name),
    }
}

fn circumstances(summary: &Summary, text: &mut String) -> std::fmt::Result {
    let workload = |name: &str| summary.workload.get(name).map_or("?", String::as_str);
    let loaded = match flag(summary, "load") {
        "true" => "loaded by this run",
        _ => "not loaded by this run",
    };
    writeln!(text, "workload    {}", workload("line"))?;
    writeln!(
        text,
        "            {loaded}; seed {}, fingerprint {}",
        flag(summary, "seed"),
        workload("fingerprint")
    )?;
    if summary.counts.read_modify_writes > 0 {
        writeln!(
            text,
            "            a read-modify-write is a get and a put in one batch, one operation; not atomic"
        )?;
    }
    let host = &summary.host;
    writeln!(
        text,
        "run         {}; {}, {}, Linux {}; commit {}",
        counted(summary.clients as usize, "client"),
        host.cpu_model,
        counted(host.cores, "core"),
        host.kernel,
        summary.commit
    )
}

fn flag<'a>(summary: &'a Summary, name: &str) -> &'a str {
    summary.flags.get(name).map_or("?", String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::summary::tests::example;

    #[test]
    fn the_servers_part_is_shown_where_it_is_told() {
        let mut summary = example(1, 3).summary;
        assert!(!report(&summary).contains("network the rest"));
        let parts = summary.latency_parts_us.as_mut().unwrap();
        parts.server = Some(parts.fill);
        parts.network = Some(parts.queue);
        let text = report(&summary);
        for words in [
            "\n    server           20 ",
            "\n    network          30 ",
            "network the rest",
        ] {
            assert!(text.contains(words), "{words}: {text}");
        }
    }

    #[test]
    fn the_verdict_comes_first_and_the_throughput_last() {
        let mut summary = example(2, 3).summary;
        summary.verdict = Verdict::Qualified;
        summary.reasons.push("Because.".into());
        summary.offered.as_mut().unwrap().dropped = 30;
        let text = report(&summary);
        assert!(text.starts_with(
            "\nverdict     QUALIFIED: true, to be read with this in mind\n            - Because.\n"
        ));
        assert_eq!(text.lines().last(), Some("throughput 1000.00 ops/s"));
        assert!(text.contains("10.10.1.2:8080: 0 ops/s, 0.0 % of all operations"));
        assert!(text.contains(
            "framing     2.50 of these bytes for each operation sent, 2.25 for each answer"
        ));
        assert!(text.contains("\n  service           200 "), "{text}");
        assert!(text.contains("closed loop, window 1\n"), "{text}");
        assert!(text.contains("3,000 operations arrived"), "{text}");
        assert!(text.contains("30 never sent"), "{text}");
        assert!(text.contains("in the window 2 us, and for the client itself 1 us"));
    }
}
