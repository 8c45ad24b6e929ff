use super::*;
use crate::command::args::Args;
use crate::command::offer::Arrivals;
use batchkv_cli::parse_with_config;
use std::time::Duration;

fn config(line: &str) -> Result<Config, String> {
    let words = line.split_whitespace().map(str::to_owned);
    let typed = std::iter::once("batchkv-client".into()).chain(words);
    let args = parse_with_config::<Args>(typed).map_err(|error| {
        assert_eq!(error.exit_code(), 2);
        error.to_string()
    })?;
    Config::new(&args.run).map_err(|error| error.to_string())
}

/// The line, one flag and its value, is refused with a complaint that names both, and all `words`.
fn refused(line: &str, words: &[&str]) {
    let text = config(line).unwrap_err();
    let (flag, value) = line.split_once(' ').unwrap();
    let named = format!("value '{value}' for '{flag}");
    assert!(text.contains(&named), "{text}");
    for word in words {
        assert!(text.contains(word), "{word}: {text}");
    }
}

#[test]
fn nothing_typed_is_the_standard_job() {
    let config = config("").unwrap();
    assert_eq!(config.hosts, ["127.0.0.1:8080"]);
    assert_eq!(
        (config.tasks, config.batch_size, config.window),
        (128, 8192, 1)
    );
    assert_eq!(
        (config.measured_secs, config.spec.records()),
        (30, 1_000_000)
    );
    assert_eq!(config.spec.theta(), 0.99);
    assert!(config.load && config.verify);
    assert_eq!(config.connections, Connections::CoverServer);
}

#[test]
fn the_course_command_line_works() {
    let line =
        "-hosts a:8080,b:8080 -theta 0.5 -workload YCSB-A -secs 7 -numClients 4 -batchSize 16";
    let config = config(line).unwrap();
    assert_eq!(config.hosts, ["a:8080", "b:8080"]);
    assert_eq!(
        (config.measured_secs, config.tasks, config.batch_size),
        (7, 4, 16)
    );
    assert_eq!(config.spec.theta(), 0.5);
    assert_eq!(config.spec.mix().share(Kind::Update), 0.5);
}

#[test]
fn numbers_outside_their_range_are_refused() {
    refused("--theta -1", &["numbers from 0 up"]);
    refused("--theta nan", &["numbers from 0 up"]);
    refused("--theta much", &["numbers from 0 up"]);
    refused("--records 0", &["from 1 to 1099511627776"]);
    refused("--records -5", &["from 1 to"]);
    refused("--batch-size 0", &["from 1 to 65536"]);
    refused("--batch-size 65537", &["from 1 to 65536"]);
    refused("--tasks 0", &["from 1 to 65536"]);
    refused("--window 0", &["from 1 to 1024"]);
    refused("--threads 0", &["from 1 to 1024"]);
    refused("--connections 0", &["from 1 to 65536"]);
    refused("--secs 0", &["from 1 to 86400"]);
    refused("--warmup-secs x", &["from 0 to 3600"]);
    refused("--secs 1.5", &["whole seconds from 1 to 86400", "30s"]);
    refused("--seed -1", &["from 0 to 18446744073709551615"]);
}

#[test]
fn what_can_mean_only_one_thing_is_taken() {
    let config = config("--records 1e6 --tasks 1k --secs 2m --rate 1.5M --linger 500us").unwrap();
    assert_eq!((config.spec.records(), config.tasks), (1_000_000, 1000));
    assert_eq!(config.measured_secs, 120);
    let offer = config.offer.unwrap();
    assert_eq!(
        (offer.ops_per_sec, offer.linger),
        (1.5e6, Duration::from_micros(500))
    );
}

#[test]
fn workloads_that_cannot_be_are_refused() {
    refused("--workload X", &["A, B, C, D and F"]);
    refused("--workload E", &["ordered scans, not supported"]);
    refused("--mix read=0.9,update=0.2", &["do not add up to 1"]);
    refused("--mix scan=1", &["unknown"]);
    refused("--chooser pareto", &["zipf, ycsb, uniform"]);
    refused("--keys hex", &["decimal and user"]);
    refused("--value-bytes 0", &["1 to 1048576"]);
    refused("--value-bytes 9..3", &["above the greatest"]);
    let ycsb = config("--chooser ycsb --theta 1.2").unwrap_err();
    assert!(
        ycsb.contains("'1.2' for '--theta'") && ycsb.contains("below 1"),
        "{ycsb}"
    );
    let scatter = config("--chooser uniform --scatter").unwrap_err();
    assert!(scatter.contains("zipf and hotspot"), "{scatter}");
}

#[test]
fn a_read_modify_write_needs_room_for_two() {
    let text = config("--workload F --batch-size 1").unwrap_err();
    assert!(
        text.contains("'1' for '--batch-size': allowed are 2 and more"),
        "{text}"
    );
}

#[test]
fn hosts_that_are_none_are_refused() {
    for typed in [
        "",
        "a",
        "a:",
        ":80",
        "a:0",
        "a:65536",
        "a:80,",
        "a:80,,b:80",
    ] {
        let text = config(&format!("--hosts={typed}")).unwrap_err();
        assert!(text.contains("allowed are HOST:PORT"), "{text}");
    }
    refused("--hosts a:80,b:80,a:80", &["'a:80' stands there twice"]);
}

#[test]
fn a_client_has_its_place() {
    for typed in ["2/2", "1", "a/b", "0/0", "-1/2"] {
        let text = config(&format!("--client={typed}")).unwrap_err();
        let named = format!("'{typed}' for '--client <I/N>': allowed is I/N");
        assert!(text.contains(&named), "{text}");
    }
    let alone = config("--client 0/2").unwrap_err();
    assert!(alone.contains("--barrier HOST:PORT"), "{alone}");
    refused("--barrier nowhere", &["HOST:PORT"]);
    let member = config("--client 1/2 --barrier a:9000").unwrap().member;
    assert_eq!((member.client, member.clients), (1, 2));
    assert_eq!(member.barrier.as_deref(), Some("a:9000"));
    let many = config("--client 0/65536 --barrier a:9000 --threads 2").unwrap_err();
    assert!(many.contains("65536 workers"));
}

#[test]
fn workers_connections_and_tasks_fit_each_other() {
    assert_eq!(config("--tasks 1 --threads 8").unwrap().threads, 1);
    assert_eq!(config("--connections 1").unwrap().threads, 1);
    let text = config("--threads 4 --connections 3").unwrap_err();
    assert!(text.contains("'3' for '--connections': each of the 4 workers needs one"));
}

#[test]
fn the_last_one_counts() {
    assert!(!config("--load --no-load").unwrap().load);
    assert!(config("--no-load --load").unwrap().load);
    assert_eq!(config("--secs 5 --secs 7").unwrap().measured_secs, 7);
}

#[test]
fn clients_agree_on_all_but_their_own() {
    let agreement = |line: &str| config(line).unwrap().agreement();
    let second = "--client 1/2 --barrier a:9 --threads 1";
    assert_eq!(agreement(second), agreement("--client 0/2 --barrier a:9"));
    assert_ne!(agreement("--theta 0.5"), agreement(""));
    assert!(!agreement("").contains('\n'));
}

#[test]
fn a_rate_makes_the_loop_open() {
    assert_eq!(config("").unwrap().offer, None);
    let offer = config("--rate 20_000 --arrivals poisson --linger 0.5")
        .unwrap()
        .offer;
    let expected = Offer {
        ops_per_sec: 20_000.0,
        arrivals: Arrivals::Poisson,
        linger: Duration::from_micros(500),
    };
    assert_eq!(offer, Some(expected));
    let standard = config("--rate 5").unwrap();
    let offer = standard.offer.unwrap();
    assert_eq!(
        (offer.arrivals, offer.linger),
        (Arrivals::Constant, Duration::from_millis(1))
    );
    for flag in [("rate", "5"), ("arrivals", "constant"), ("linger", "1")] {
        assert!(
            standard.flags().contains(&(flag.0, flag.1.into())),
            "{flag:?}"
        );
    }
    refused("--rate 0", &["from 0.01 to 10000000000"]);
    refused("--rate fast", &["numbers from"]);
    for alone in ["--arrivals poisson", "--linger 1"] {
        let text = config(alone).unwrap_err();
        assert!(text.contains("--rate <OPS_PER_SEC>"), "{text}");
    }
    let text = config("--rate 5 --arrivals uniform").unwrap_err();
    let named = "'uniform' for '--arrivals <LAW>': allowed are constant and poisson";
    assert!(text.contains(named), "{text}");
}

#[test]
fn metrics_are_not_public_unless_asked_for() {
    for (typed, word) in [("0.0.0.0:1", "--allow-public"), ("nowhere", "HOST:PORT")] {
        let text = config(&format!("--metrics-listen {typed}")).unwrap_err();
        let named = text.contains(&format!("'{typed}' for '--metrics-listen'"));
        assert!(named && text.contains(word), "{text}");
    }
    for line in [
        "--metrics-listen 127.0.0.1:0",
        "--metrics-listen 0.0.0.0:1 --allow-public",
    ] {
        assert!(config(line).unwrap().metrics_listen.is_some());
    }
}

#[test]
fn histories_need_sampled_records_and_stamps() {
    let list = |line| config(line).unwrap().watch_list;
    assert_eq!(list(""), None);
    let share = list("--check-linearizability 0.001").unwrap().share();
    assert!(share > 0.0005 && share <= 0.001, "{share}");
    for (line, word) in [
        ("--check-linearizability 0", "larger shares"),
        ("--check-linearizability 2", "from 0 to 1"),
        (
            "--check-linearizability 1 --records 2",
            "with more --records",
        ),
        ("--check-linearizability 0.1 --no-verify", "--no-verify"),
        ("--check-linearizability 0.1 --value-bytes 8", "16 bytes"),
    ] {
        let text = config(line).unwrap_err();
        assert!(
            text.contains("for '--check-linearizability") && text.contains(word),
            "{text}"
        );
    }
}
